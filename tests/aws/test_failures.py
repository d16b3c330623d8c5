"""Every way in which AWS, its network or its login fails: error class, exit code, words and what is retried."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rotator.errors import ConfigError, RotatorError, StoreDenied, StoreError, StoreUnavailable
from rotator.secret import Secret
from rotator.stores import Document, RingStore
from tests.aws.conftest import Opener, is_call
from tests.servers import free_port, misdeeds
from tests.servers.proxy import Action, Proxy
from tests.servers_e2e.certificates import authority

AGAIN = {"attempts": 3, "read_timeout": "60s", "connect_timeout": "60s", "patience": "60s"}
"""For exact counts of tries: no moment in which this machine stands still is one more."""

HASTY = {"attempts": 3, "read_timeout": "300ms", "connect_timeout": "300ms"}
"""Where only time ends a call."""


def refusing(code: str, status: int = 400, **headers: str) -> Action:
    """An error as Secrets Manager gives it; its message must never be looked at nor passed on."""
    body = json.dumps({"__type": f"com.amazonaws#{code}", "message": "hunter2"}).encode()
    return misdeeds.answering(status, body, headers=headers)


@dataclass(frozen=True)
class Row:
    """One code and what becomes of it."""

    code: str
    status: int
    error: type[RotatorError]
    said: str
    tries: int = 1


ROWS = [
    Row("AccessDeniedException", 400, StoreDenied, "secretsmanager:GetSecretValue on "),
    Row("AccessDenied", 403, StoreDenied, "rotator policy"),
    Row("UnrecognizedClientException", 400, StoreDenied, "the access key does not exist", 2),
    Row("InvalidClientTokenId", 403, StoreDenied, "the access key does not exist", 2),
    Row("ExpiredTokenException", 400, StoreDenied, "the session token has expired", 2),
    Row("InvalidSignatureException", 400, StoreDenied, "not that of the access key id", 2),
    Row("RequestExpired", 400, StoreDenied, "the clock of this host", 2),
    Row("DecryptionFailure", 400, StoreDenied, "kms:Decrypt"),
    Row("LimitExceededException", 400, StoreUnavailable, "a quota of"),
    Row("ThrottlingException", 400, StoreUnavailable, "asked too often", 3),
    Row("RequestLimitExceeded", 503, StoreUnavailable, "asked too often", 3),
    Row("", 429, StoreUnavailable, "asked too often (429", 3),
    Row("InternalServiceError", 500, StoreUnavailable, "failed (InternalServiceError", 3),
    Row("", 502, StoreUnavailable, "failed (502", 3),
    Row("ServiceUnavailable", 503, StoreUnavailable, "failed (ServiceUnavailable", 3),
    Row("NobodyKnowsThisException", 400, StoreUnavailable, "(NobodyKnowsThisException)"),
    Row("", 404, StoreUnavailable, "refused secretsmanager:GetSecretValue"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.code or 'no code'} {row.status}")
def test_a_code_has_its_meaning(proxy: Proxy, open_store: Opener, row: Row) -> None:
    """By its code alone; what a wait or a new login may mend is tried again, within bounds."""
    ring = open_store(proxy.url, **AGAIN).rings("orders")
    ring.save(b"{}", replacing=None)
    before = len(proxy.seen)
    action = refusing(row.code, row.status) if row.code else misdeeds.answering(row.status, b"<p>")
    with (
        proxy.misbehaving(action, when=is_call("GetSecretValue")),
        pytest.raises(RotatorError) as caught,
    ):
        ring.load()
    assert type(caught.value) is row.error
    assert row.said in str(caught.value)
    assert "eu-central-1" in caught.value.message
    assert "hunter2" not in str(caught.value)
    assert len(proxy.seen) - before == row.tries
    assert caught.value.exit_code == {StoreDenied: 77, StoreUnavailable: 69}[row.error]
    assert ring.load() is not None, "when the fault ends, all is well"


def test_no_code_but_one_means_that_nothing_is_there(proxy: Proxy, open_store: Opener) -> None:
    """A 404 of something else in the way is no answer, and so is an empty page."""
    ring = open_store(proxy.url, **AGAIN).rings("orders")
    for action in (
        misdeeds.answering(404, b"<h1>Not found</h1>"),
        misdeeds.answering(404, b'{"message": "ResourceNotFoundException"}'),
        misdeeds.answering(200, b""),
        misdeeds.answering(200, b"{}"),
        misdeeds.answering(200, b"<html>log in to this network</html>"),
        misdeeds.answering(200, b"[]"),
        misdeeds.answering(200, b"null"),
        misdeeds.answering(302, b"", headers={"Location": "/"}),
    ):
        with proxy.misbehaving(action), pytest.raises(StoreUnavailable):
            ring.load()
    assert ring.load() is None


@pytest.mark.parametrize(
    "action",
    [misdeeds.garbage, misdeeds.truncated, misdeeds.reset_before, misdeeds.reset_after],
    ids=["garbage", "truncated", "reset before", "reset after"],
)
def test_an_answer_that_is_spoilt_tells_nothing(
    proxy: Proxy, open_store: Opener, action: Action
) -> None:
    """Half a key in an error would be half a leak."""
    material = open_store(proxy.url, **AGAIN).material("orders")
    key = Secret(b"hunter2 " * 40)
    material.put("kid", "kid", key)
    with proxy.misbehaving(action), pytest.raises(StoreUnavailable) as caught:
        material.get("kid", "kid")
    error: BaseException | None = caught.value
    while error is not None:
        assert "aHVudGVy" not in f"{error!s} {error.args}", "the base64 of it"
        error = error.__cause__ or error.__context__
    assert material.get("kid", "kid") == key


@pytest.mark.parametrize(
    "operation", ["PutSecretValue", "UpdateSecretVersionStage", "CreateSecret"]
)
def test_a_write_that_was_not_confirmed_is_none(
    proxy: Proxy, open_store: Opener, operation: str
) -> None:
    """A page that says 200 and is not AWS's has written nothing, and is found out."""
    ring = open_store(proxy.url, **AGAIN).rings("orders")
    version = None if operation == "CreateSecret" else ring.save(b"1", replacing=None)
    page = misdeeds.answering(200, b"<html></html>")
    with (
        proxy.misbehaving(page, when=is_call(operation)),
        pytest.raises(StoreUnavailable, match="is not what AWS answers"),
    ):
        ring.save(b"2", replacing=version)
    with proxy.misbehaving(page, when=is_call(operation), times=1):
        ring.save(b"2", replacing=version)
    found = ring.load()
    assert found is not None
    assert found.document == b"2"


@pytest.mark.parametrize(
    "action", [misdeeds.hang, misdeeds.drip(0.1)], ids=["hang", "ten bytes a second"]
)
def test_no_server_holds_a_call_for_long(proxy: Proxy, open_store: Opener, action: Action) -> None:
    """An exchange has its time as a whole, however busily the server sends."""
    open_store().rings("orders").save(b"{}", replacing=None)
    ring = open_store(proxy.url, **{**HASTY, "attempts": 1}).rings("orders")
    done = threading.Event()
    errors: list[StoreError] = []

    def load() -> None:
        try:
            ring.load()
        except StoreError as error:
            errors.append(error)
        done.set()

    with proxy.misbehaving(action):
        threading.Thread(target=load, daemon=True).start()
        assert done.wait(60), "the call never ended"
    assert [type(error) for error in errors] == [StoreUnavailable]
    assert "did not answer in time" in errors[0].message
    assert loaded_in_the_end(ring)


def loaded_in_the_end(ring: RingStore) -> bool:
    """Load a ring, again where a hasty store meets a moment in which the server stands still."""
    for _ in range(100):
        with contextlib.suppress(StoreUnavailable):
            return ring.load() is not None
    return False


def test_a_server_that_is_not_there(open_store: Opener) -> None:
    """The message has its address, and the wait is bounded."""
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
        open_store(url, **HASTY).rings("orders").load()
    assert url in caught.value.message


def test_a_retry_after_is_kept(proxy: Proxy, open_store: Opener) -> None:
    """A server that asks for more patience than there is, is left to the next tick."""
    ring = open_store(proxy.url, **AGAIN).rings("orders")
    action = refusing("ThrottlingException", 429, **{"Retry-After": "86400"})
    with proxy.misbehaving(action), pytest.raises(StoreUnavailable) as caught:
        ring.load()
    assert caught.value.retry_after == 86_400
    assert len(proxy.seen) == 1


@pytest.fixture
def secured(server: Any, tmp_path: Path) -> Iterator[tuple[Proxy, Path]]:
    """The server behind TLS, and the file of its authority."""
    right = authority(tmp_path, "right")
    with Proxy(server.url, tls=right.context) as between:
        yield between, right.ca_file


def test_tls_is_checked(secured: tuple[Proxy, Path], open_store: Opener, tmp_path: Path) -> None:
    """The right authority is trusted; another is refused at once, with the option that names one."""
    proxy, ca_file = secured
    assert open_store(proxy.url, ca_file=str(ca_file)).rings("orders").load() is None
    wrong = authority(tmp_path, "wrong").ca_file
    with pytest.raises(StoreUnavailable, match="certificate") as caught:
        open_store(proxy.url, ca_file=str(wrong)).rings("orders").load()
    assert caught.value.lasting
    assert "ca_file" in caught.value.hint


def test_a_ca_file_that_is_not_there(secured: tuple[Proxy, Path], open_store: Opener) -> None:
    """Said as what it is."""
    proxy, ca_file = secured
    with pytest.raises(ConfigError, match="is not a file"):
        open_store(proxy.url, ca_file=f"{ca_file}.gone").rings("orders").load()


def test_tls_that_is_none(proxy: Proxy, open_store: Opener) -> None:
    """Speaking TLS to a server that does not."""
    with pytest.raises(StoreUnavailable, match=r"TLS|reached|in time"):
        open_store(proxy.url.replace("http:", "https:"), **HASTY).rings("orders").load()


def test_what_the_sdk_does_not_send_is_configuration(open_store: Opener) -> None:
    """An option that no service takes; the SDK's words are left out, for they quote what was to be sent."""
    store = open_store(tags={"": "AWS wants a name"})
    with pytest.raises(ConfigError, match="did not send secretsmanager:CreateSecret") as caught:
        store.documents().write("orders/signing", Document(b"hunter2", "orders", 1), replacing=None)
    assert "hunter2" not in str(caught.value)
