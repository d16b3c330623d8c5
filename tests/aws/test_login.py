"""Every way to log in, and what happens when a login ends: each secret is read again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from rotator.errors import StoreDenied, StoreUnavailable
from tests.aws.conftest import Opener, is_call
from tests.servers import misdeeds
from tests.servers.moto import ACCOUNT, AwsServer
from tests.servers.proxy import Proxy

ROLE = f"arn:aws:iam::{ACCOUNT}:role/rotator"


@pytest.fixture(autouse=True)
def no_login(server: AwsServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take the login out of the environment; what a test writes into the files of ~/.aws is removed."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    yield
    for name in ("config", "credentials"):
        (server.scratch / name).unlink(missing_ok=True)


@pytest.fixture
def sts(proxy: Proxy) -> dict[str, Any]:
    """Options that let STS be asked through the proxy, which sees what is sent."""
    return {"sts_endpoint_url": proxy.url, "assume_role": {"role_arn": ROLE}}


def asked(proxy: Proxy) -> list[dict[str, str]]:
    """Return the forms that STS was sent."""
    forms = [parse_qs(request.body.decode()) for request in proxy.seen]
    return [{name: values[0] for name, values in form.items()} for form in forms]


def keys_used(proxy: Proxy) -> list[str]:
    """Return the access key ids that requests were signed with."""
    scopes = [request.header("Authorization").partition("Credential=")[2] for request in proxy.seen]
    return [scope.partition("/")[0] for scope in scopes]


def write_credentials(server: AwsServer, section: str, key: str, *, more: str = "") -> None:
    """Write ~/.aws/credentials as `aws configure` does."""
    text = (
        f"[{section}]\naws_access_key_id = {key}\naws_secret_access_key = s3cret-of-nobody\n{more}"
    )
    (server.scratch / "credentials").write_text(text)


def test_no_credentials_at_all(open_store: Opener) -> None:
    """A permission error with the command that shows what the SDK finds, and no wait."""
    with pytest.raises(StoreDenied, match="there are no AWS credentials") as caught:
        open_store().rings("orders").load()
    assert "aws sts get-caller-identity" in caught.value.hint


def test_the_environment(proxy: Proxy, open_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default chain begins there."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT00000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    assert open_store(proxy.url).rings("orders").load() is None
    assert keys_used(proxy) == ["AKIAENVIRONMENT00000"]


def test_a_profile(server: AwsServer, proxy: Proxy, open_store: Opener) -> None:
    """The one that is named, and no other; one that is not there is a permission error."""
    write_credentials(server, "signing", "AKIAPROFILE000000000")
    assert open_store(proxy.url, profile="signing").rings("orders").load() is None
    assert keys_used(proxy) == ["AKIAPROFILE000000000"]
    for options in ({}, {"profile": "elsewhere"}):
        with pytest.raises(StoreDenied, match="there are no AWS credentials"):
            open_store(proxy.url, **options).rings("orders").load()


def test_credentials_that_come_later(server: AwsServer, open_store: Opener) -> None:
    """A process that started before its credentials were there takes them up."""
    ring = open_store().rings("orders")
    with pytest.raises(StoreDenied):
        ring.load()
    write_credentials(server, "default", "AKIALATE000000000000")
    assert ring.load() is None


def test_credentials_that_were_replaced(
    server: AwsServer, proxy: Proxy, open_store: Opener
) -> None:
    """When AWS no longer takes the old ones, the files are read again, within the same call."""
    write_credentials(server, "default", "AKIAOLD0000000000000")
    ring = open_store(proxy.url).rings("orders")
    ring.load()
    write_credentials(server, "default", "AKIANEW0000000000000")
    ring.load()
    assert keys_used(proxy)[-1] == "AKIAOLD0000000000000", "as long as they hold they are kept"
    expired = misdeeds.answering(400, b'{"__type": "ExpiredTokenException"}')
    old = proxy.misbehaving(
        expired, when=lambda request: "AKIAOLD" in request.header("Authorization")
    )
    with old:
        ring.load()
    assert keys_used(proxy)[-1] == "AKIANEW0000000000000"


def test_a_role_with_an_external_id(
    server: AwsServer,
    proxy: Proxy,
    open_store: Opener,
    sts: dict[str, Any],
    tmp_path: Path,
) -> None:
    """Taken on with the credentials of the chain; the external id is from a file."""
    write_credentials(server, "default", "AKIASOURCE0000000000")
    (tmp_path / "external").write_text("partner-42\n")
    sts["assume_role"] |= {
        "session_name": "rotator@prod",
        "external_id_file": str(tmp_path / "external"),
    }
    ring = open_store(proxy.url, **sts).rings("orders")
    assert ring.load() is None
    assert ring.load() is None
    form = asked(proxy)[0]
    assert (form["Action"], form["RoleArn"], form["ExternalId"], form["RoleSessionName"]) == (
        *("AssumeRole", ROLE),
        *("partner-42", "rotator@prod"),
    )
    source, *later = keys_used(proxy)
    assert source == "AKIASOURCE0000000000"
    assert len(later) == 2, "one login serves both"
    assert all(key.startswith("ASIA") for key in later)


def test_a_web_identity(
    proxy: Proxy, open_store: Opener, sts: dict[str, Any], tmp_path: Path
) -> None:
    """Needs no other credentials; the token is read at each login, for platforms replace it."""
    token = tmp_path / "token"
    sts["assume_role"]["web_identity_token_file"] = str(token)
    ring = open_store(proxy.url, **sts).rings("orders")
    with pytest.raises(StoreDenied, match="the web identity token cannot be read"):
        ring.load()
    token.write_text("first")
    assert ring.load() is None
    token.write_text("second")
    expired = misdeeds.answering(400, b'{"__type": "ExpiredTokenException"}')
    with proxy.misbehaving(expired, when=is_call("GetSecretValue"), times=1):
        assert ring.load() is None
    tokens = [form["WebIdentityToken"] for form in asked(proxy) if "WebIdentityToken" in form]
    assert tokens == ["first", "second"]


def test_the_web_identity_of_the_platform(
    proxy: Proxy, open_store: Opener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What EKS puts into the environment of a pod is part of the default chain."""
    (tmp_path / "token").write_text("projected")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", proxy.url)
    assert open_store(proxy.url).rings("orders").load() is None
    assert asked(proxy)[0]["WebIdentityToken"] == "projected"


def test_a_web_identity_of_the_platform_that_is_gone(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file that the SDK could not read is named."""
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "gone"))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    with pytest.raises(StoreDenied, match=str(tmp_path / "gone")):
        open_store().rings("orders").load()


def test_a_role_that_may_not_be_taken_on(
    server: AwsServer, proxy: Proxy, open_store: Opener, sts: dict[str, Any]
) -> None:
    """The message names the action and the role, and nothing is asked of Secrets Manager."""
    write_credentials(server, "default", "AKIASOURCE0000000000")
    denied = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>hunter2</Message></Error></ErrorResponse>"
    ring = open_store(**sts).rings("orders")
    with (
        proxy.misbehaving(misdeeds.answering(403, denied)),
        pytest.raises(StoreDenied, match=f"AWS STS does not allow sts:AssumeRole on {ROLE}"),
    ):
        ring.load()
    with proxy.refusing(), pytest.raises(StoreUnavailable, match="AWS STS cannot be reached"):
        ring.load()
    with (
        proxy.misbehaving(misdeeds.answering(200, b"<html></html>")),
        pytest.raises((StoreUnavailable, StoreDenied)),
    ):
        ring.load()
    assert ring.load() is None, "when the fault ends, all is well"


def test_an_external_id_that_is_not_there(
    server: AwsServer, open_store: Opener, sts: dict[str, Any]
) -> None:
    """An empty variable is as good as none."""
    write_credentials(server, "default", "AKIASOURCE0000000000")
    sts["assume_role"]["external_id_env"] = "NO_SUCH_VARIABLE"
    with pytest.raises(StoreDenied, match="NO_SUCH_VARIABLE is not set"):
        open_store(**sts).rings("orders").load()


def test_a_login_that_expires_is_renewed(
    server: AwsServer, proxy: Proxy, open_store: Opener, sts: dict[str, Any]
) -> None:
    """Credentials of a role have an end; before it comes, others are fetched."""
    write_credentials(server, "default", "AKIASOURCE0000000000")

    def short(exchange: Any) -> None:
        answer = exchange.forward()
        body = answer.body.decode()
        begin, end = body.index("<Expiration>"), body.index("</Expiration>")
        body = f"{body[:begin]}<Expiration>2001-01-01T00:00:00Z{body[end:]}"
        exchange.send(type(answer)(answer.status, answer.headers, body.encode()))

    ring = open_store(**sts).rings("orders")
    with proxy.misbehaving(short), pytest.raises(StoreDenied, match="have expired already"):
        ring.load()
    assert ring.load() is None
    logins = len(asked(proxy))
    ring.load()
    assert len(asked(proxy)) == logins, "one that holds is kept"


def test_nothing_secret_is_in_the_settings(open_store: Opener, sts: dict[str, Any]) -> None:
    """Options name where secrets are; the model has no place for one."""
    settings = open_store(**sts).settings
    assert "external_id" not in json.loads(settings.model_dump_json())["assume_role"]
