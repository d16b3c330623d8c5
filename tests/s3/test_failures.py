"""What a bucket, the way to it, or storage that is not quite S3 may do to a look and a write."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from rotator.errors import (
    Conflict,
    RotatorError,
    StoreCorrupt,
    StoreDenied,
    StoreMisconfigured,
    StoreUnavailable,
)
from rotator.fence import writing
from rotator.objects import Object
from rotator.stores import VersionToken
from rotator_aws.objects import Bucket
from tests.s3.conftest import KEY, Place, client, is_method, jwks
from tests.servers import misdeeds
from tests.servers.exchange import Exchange
from tests.servers.moto import AwsServer
from tests.servers.proxy import Action, Proxy

ONE = Object(b"one", "application/jwk-set+json", "public, max-age=1", {"rotator-revision": "1"})
TWO = Object(b"two", "application/jwk-set+json", "public, max-age=1", {"rotator-revision": "2"})
HASTY = {"connect_timeout": "500ms", "read_timeout": "500ms"}


def said(code: str, status: int, **more: str) -> Action:
    """Refuse as S3 does."""
    inside = "".join(f"<{name}>{text}</{name}>" for name, text in more.items())
    body = (
        f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>hunter2</Message>{inside}</Error>"
    )
    return misdeeds.answering(status, body.encode(), headers={"Content-Type": "application/xml"})


@pytest.fixture
def bucket(place: Place, proxy: Proxy) -> Bucket:
    """A bucket behind the proxy, with one object, of a process that has written there before."""
    found = place.open(endpoint_url=proxy.url, attempts=3)
    found.put(KEY, ONE, replacing=None)
    return found


Refusal = tuple[str, int, dict[str, str], type[RotatorError], str]
REFUSALS: list[Refusal] = [
    ("AccessDenied", 403, {}, StoreDenied, "s3:ListBucket"),
    ("AllAccessDisabled", 403, {}, StoreDenied, "s3:GetObject"),
    ("InvalidObjectState", 403, {}, StoreDenied, "archive"),
    ("NoSuchBucket", 404, {}, StoreMisconfigured, "no bucket"),
    ("PermanentRedirect", 301, {}, StoreMisconfigured, "not in the region"),
    ("AuthorizationHeaderMalformed", 400, {"Region": "eu-west-3"}, StoreMisconfigured, "region: eu-west-3"),
    ("RequestTimeTooSkewed", 403, {}, StoreDenied, "clock of this host"),
    ("InvalidAccessKeyId", 403, {}, StoreDenied, "log in again"),
    ("SlowDown", 503, {}, StoreUnavailable, "asked too often"),
    ("InternalError", 500, {}, StoreUnavailable, "failed"),
    ("KMS.DisabledException", 400, {}, StoreDenied, "enable the key"),
    ("XMinioAdminBucketQuotaExceeded", 400, {}, StoreUnavailable, "no room left"),
    ("MethodNotAllowed", 405, {}, StoreUnavailable, "refused"),
]  # fmt: skip


@pytest.mark.parametrize("row", REFUSALS, ids=lambda row: row[0])
def test_refused(place: Place, proxy: Proxy, row: Refusal) -> None:
    """Each refusal in the words of the walls; never "nothing", and never with what the storage quoted."""
    code, status, more, kind, text = row
    found = place.open(endpoint_url=proxy.url, attempts=1)
    with proxy.misbehaving(said(code, status, **more)), pytest.raises(kind) as caught:
        found.get(KEY, 100)
    assert type(caught.value) is kind
    assert text in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert found.get(KEY, 100) is None


WRITES: list[Refusal] = [
    ("PreconditionFailed", 412, {}, Conflict, "changed"),
    ("ConditionalRequestConflict", 409, {}, Conflict, "changed"),
    ("NoSuchKey", 404, {}, Conflict, "changed"),
    ("AccessDenied", 403, {}, StoreDenied, "s3:PutObject"),
    ("NotImplemented", 501, {}, StoreMisconfigured, "conditional: false"),
    ("InvalidRequest", 400, {}, StoreMisconfigured, "conditional: false"),
    ("NoSuchBucket", 404, {}, StoreMisconfigured, "no bucket"),
]


@pytest.mark.parametrize("row", WRITES, ids=lambda row: row[0])
def test_a_write_is_refused(bucket: Bucket, proxy: Proxy, row: Refusal) -> None:
    """What is there stays, and it is said what to do."""
    code, status, more, kind, text = row
    there = bucket.get(KEY, 100)
    assert there is not None
    refusing = proxy.misbehaving(said(code, status, **more), when=is_method("PUT"))
    with refusing, pytest.raises(kind, match=text):
        bucket.put(KEY, TWO, replacing=there.token)
    found = bucket.get(KEY, 100)
    assert found is not None
    assert found.body == b"one"


def test_the_sdk_does_not_follow_to_another_region(place: Place, proxy: Proxy) -> None:
    """One request, and the answer names the region; the SDK would ask around and sign for another."""
    found = place.open(endpoint_url=proxy.url)
    moved = misdeeds.answering(
        301, b"<Error><Code>PermanentRedirect</Code></Error>", headers={"x-amz-bucket-region": "us-east-2"}
    )  # fmt: skip
    with proxy.misbehaving(moved), pytest.raises(StoreMisconfigured, match="us-east-2"):
        found.get(KEY, 100)
    assert len(proxy.seen) == 1


@pytest.mark.parametrize(
    "lost", [misdeeds.reset_after, misdeeds.truncated], ids=["reset", "truncated"]
)
def test_the_answer_to_a_write_is_lost(bucket: Bucket, proxy: Proxy, lost: Action) -> None:
    """It was carried out: the next try sees that, and is no conflict with itself."""
    there = bucket.get(KEY, 100)
    assert there is not None
    with proxy.misbehaving(lost, when=is_method("PUT"), times=1):
        bucket.put(KEY, TWO, replacing=there.token)
    found = bucket.get(KEY, 100)
    assert found is not None
    assert (found.body, found.metadata) == (b"two", TWO.metadata)
    with proxy.misbehaving(misdeeds.reset_before, when=is_method("PUT"), times=1):
        bucket.put(KEY, ONE, replacing=found.token)


def test_somebody_else_is_faster_while_the_answer_is_lost(
    bucket: Bucket, place: Place, proxy: Proxy
) -> None:
    """Then it is a conflict, and what the other wrote stays."""
    there = bucket.get(KEY, 100)
    assert there is not None

    def overtaken(exchange: Exchange) -> None:
        place.sdk.put_object(Bucket=place.bucket, Key=KEY, Body=b"theirs")
        exchange.reset()

    acting = proxy.misbehaving(overtaken, when=is_method("PUT"), times=1)
    with acting, pytest.raises(Conflict):
        bucket.put(KEY, TWO, replacing=there.token)
    assert place.read()["Body"].read() == b"theirs"


FAULTS: dict[str, Action] = {
    "hangs": misdeeds.hang,
    "drips": misdeeds.drip(0.05),
    "is cut off": misdeeds.truncated,
    "resets": misdeeds.reset_before,
    "is a page": misdeeds.answering(
        200, b"<html>welcome</html>", headers={"Content-Length": "9999"}
    ),
    "is an error page": misdeeds.answering(404, b"<html>not found</html>"),
    "is empty and 404": misdeeds.answering(404),
    "is empty and 403": misdeeds.answering(403),
}


ENDED_BY_TIME = {"hangs", "drips"}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_answer_is_never_nothing(place: Place, proxy: Proxy, fault: str) -> None:
    """Whatever stands in between: an error within its time, and afterwards all is well."""
    place.sdk.put_object(Bucket=place.bucket, Key=KEY, Body=b"one")
    hasty = HASTY if fault in ENDED_BY_TIME else {}
    found = place.open(endpoint_url=proxy.url, attempts=1, **hasty)
    with proxy.misbehaving(FAULTS[fault]), pytest.raises((StoreUnavailable, StoreDenied)):
        found.get(KEY, 100)
    there = None
    for _ in range(100 if hasty else 1):  # in a moment in which the server stands still, too
        with contextlib.suppress(*([StoreUnavailable] if hasty else [])):
            there = found.get(KEY, 100)
            break
    assert there is not None
    assert there.body == b"one"


def test_longer_than_any_document(place: Place) -> None:
    """It is not read whole, and is no document."""
    place.sdk.put_object(Bucket=place.bucket, Key=KEY, Body=bytes(5 << 20))
    with pytest.raises(StoreCorrupt, match="longer than"):
        place.target().look()
    found = place.open().get(KEY, 10)
    assert found is not None
    assert len(found.body) == 11


def without_conditions(exchange: Exchange) -> None:
    """Pass a write on as storage does that does not know conditions: they are ignored."""
    from dataclasses import replace

    request = exchange.request
    kept = tuple(
        one for one in request.headers if one[0].lower() not in ("if-match", "if-none-match")
    )
    exchange.send(exchange.proxy.ask_server(replace(request, headers=kept)))


def test_storage_that_ignores_conditions(place: Place, proxy: Proxy) -> None:
    """It is found out before anything depends on it, and refused each time, unless one says that it may."""
    place.open().put(KEY, ONE, replacing=None)
    with proxy.misbehaving(without_conditions, when=is_method("PUT")):
        found = place.open(endpoint_url=proxy.url)
        there = found.get(KEY, 100)
        assert there is not None
        for _ in range(2):
            with pytest.raises(StoreMisconfigured, match="does not heed") as caught:
                found.put(KEY, TWO, replacing=there.token)
            assert "conditional: false" in caught.value.hint
            assert found.get(KEY, 100) == there
        allowed = place.open(endpoint_url=proxy.url, conditional=False)
        allowed.put(KEY, TWO, replacing=VersionToken("whatever"))
        written = allowed.get(KEY, 100)
        assert written is not None
        assert written.body == b"two"
        assert any("unconditional" in one.text for one in allowed.inspect().findings)


def test_storage_is_asked_once(place: Place, proxy: Proxy) -> None:
    """Two requests more with the first write of a process, none with AWS."""
    found = place.open(endpoint_url=proxy.url)
    found.put("a", ONE, replacing=None)
    found.put("b", ONE, replacing=None)
    assert [request.method for request in proxy.seen] == ["GET", "PUT", "PUT", "PUT"]
    assert proxy.seen[1].header("If-Match")
    assert [proxy.seen[n].header("If-None-Match") for n in (2, 3)] == ["*", "*"]


def test_a_look_is_one_request(place: Place, proxy: Proxy) -> None:
    """However often."""
    target = place.target(place.open(endpoint_url=proxy.url))
    target.write(jwks(1), replacing=None)
    before = len(proxy.seen)
    for _ in range(3):
        target.look()
    assert [request.method for request in proxy.seen[before:]] == ["GET"] * 3


def test_what_a_write_sends(place: Place, proxy: Proxy) -> None:
    """Encryption, tags, owner and digest as configured; the bytes and headers that verifiers get."""
    found = place.open(
        endpoint_url=proxy.url, kms_key_id="alias/jwks", tags={"team": "a b"}, account_id="123456789012"
    )  # fmt: skip
    target = place.target(found)
    target.write(jwks(1), replacing=None)
    request = proxy.seen[-1]
    assert request.header("x-amz-server-side-encryption") == "aws:kms"
    assert request.header("x-amz-server-side-encryption-aws-kms-key-id") == "alias/jwks"
    assert request.header("x-amz-tagging") == "team=a+b"
    assert request.header("x-amz-expected-bucket-owner") == "123456789012"
    assert request.header("Content-MD5")
    assert request.header("Cache-Control") == (
        "public, max-age=300, stale-while-revalidate=21600, stale-if-error=21600"
    )
    assert request.header("Content-Type") == "application/jwk-set+json"
    assert any("anonymous" in one.text for one in found.inspect().findings)


def test_no_write_begins_after_its_window(bucket: Bucket, proxy: Proxy) -> None:
    """A process that stood still sends nothing more."""
    there = bucket.get(KEY, 100)
    assert there is not None
    before = len(proxy.seen)
    with writing(lambda: False), pytest.raises(StoreUnavailable, match="stood still"):
        bucket.put(KEY, TWO, replacing=there.token)
    assert len(proxy.seen) == before


def test_the_storages_clock_is_a_witness(
    bucket: Bucket, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its Date travels with what was read; only a server on this machine is none."""
    import rotator.calls

    assert bucket.get(KEY, 100).server_time is None  # type: ignore[union-attr]
    monkeypatch.setattr(rotator.calls, "_is_here", lambda *_: False)
    with proxy.misbehaving(misdeeds.skewed(timedelta(hours=1))):
        found = bucket.get(KEY, 100)
    assert found is not None
    assert found.server_time is not None
    assert found.server_time.date - datetime.now(UTC) > timedelta(minutes=59)
    assert format_datetime(found.server_time.date)


def test_no_secret_in_any_log(place: Place, proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at its loudest: neither the secret access key, nor a signature."""
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    logging.getLogger().addHandler(handler)
    try:
        with caplog.at_level(logging.DEBUG):
            target = place.target(place.open(endpoint_url=proxy.url))
            target.write(jwks(1), replacing=None)
            with proxy.misbehaving(said("AccessDenied", 403)), pytest.raises(StoreDenied):
                target.look()
    finally:
        logging.getLogger().removeHandler(handler)
    secret = place.server.environ["AWS_SECRET_ACCESS_KEY"]
    signature = proxy.seen[-1].header("Authorization").rpartition("Signature=")[2]
    assert signature
    for text in (heard.getvalue(), caplog.text):
        assert secret not in text
        assert signature not in text


def test_the_printed_policy_is_enough_and_no_more(
    place: Place, server: AwsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under IAM, a user with nothing but what is printed: all works with these keys, nothing with others."""
    from rotator.inspection import Role, Scope

    iam = client(server, "iam")
    scope = Scope("web", ring=False, documents=(KEY,))
    text = place.open().policy(Role.ROTATOR, (scope,))
    iam.create_user(UserName=place.bucket)
    iam.put_user_policy(UserName=place.bucket, PolicyName="rotator", PolicyDocument=text)
    made = iam.create_access_key(UserName=place.bucket)["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", made["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", made["SecretAccessKey"])
    server.enforce_iam(enforced=True)
    try:
        found = place.open()
        assert found.get(KEY, 100) is None
        found.put(KEY, ONE, replacing=None)
        assert found.get(KEY, 100) is not None
        _all_denied(
            lambda: found.get("web/other.json", 100),
            lambda: found.put("other", ONE, replacing=None),
        )
    finally:
        server.enforce_iam(enforced=False)


def _all_denied(*tries: Callable[[], Any]) -> None:
    for one in tries:
        with pytest.raises(StoreDenied):
            one()
