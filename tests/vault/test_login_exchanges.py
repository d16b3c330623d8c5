"""Login methods that the built server does not have: the exchange as the documentation of Vault's API has it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from rotator.errors import BackendMissing, StoreDenied
from tests.servers.exchange import Exchange, Request
from tests.servers.proxy import Proxy
from tests.vault.bench import QUICK, Bench, granted, reply
from tests.vault.roles import works


class Exchanged:
    """Answers one login as documented if the request is as documented, and remembers its body."""

    def __init__(self, path: str, check: Callable[[dict[str, Any]], bool], token: str) -> None:
        self.path = path
        self.check = check
        self.token = token
        self.bodies: list[dict[str, Any]] = []

    def when(self, request: Request) -> bool:
        """Match logins."""
        return request.path.startswith("/v1/auth/") and "token" not in request.path

    def __call__(self, exchange: Exchange) -> None:
        """Grant, or refuse with 400 as Vault does."""
        request = exchange.request
        body = json.loads(request.body)
        self.bodies.append(body)
        sound = (
            (request.method, request.path) == ("POST", self.path)
            and not request.header("X-Vault-Token")
            and request.header("X-Vault-Request") == "true"
            and self.check(body)
        )
        refused = reply(400, {"errors": ["not as documented"]})
        (reply(200, granted(self.token)) if sound else refused)(exchange)


def exchange(bench: Bench, exchanged: Exchanged, auth: dict[str, Any]) -> None:
    """Log in through a documented exchange, and use the token for real."""
    with (
        Proxy(bench.server.url) as proxy,
        proxy.misbehaving(exchanged, when=exchanged.when),
    ):
        works(bench.store(address=proxy.url, auth=auth, **QUICK))


def test_kubernetes(bench: Bench) -> None:
    """POST auth/kubernetes/login with role and jwt."""
    file = bench.secret("token", "eyJ.projected.token")
    exchanged = Exchanged(
        "/v1/auth/k8s/prod/login",
        lambda body: body == {"role": "rotator", "jwt": "eyJ.projected.token"},
        bench.server.token,
    )
    auth = {"method": "kubernetes", "mount": "k8s/prod", "role": "rotator", "jwt_file": str(file)}
    exchange(bench, exchanged, auth)
    assert len(exchanged.bodies) == 1


def test_ldap(bench: Bench) -> None:
    """POST auth/ldap/login/USER with the password."""
    file = bench.secret("password", "hunter2")
    exchanged = Exchanged(
        "/v1/auth/ldap/login/rota%40corp",
        lambda body: body == {"password": "hunter2"},
        bench.server.token,
    )
    auth = {"method": "ldap", "username": "rota@corp", "password_file": str(file)}
    exchange(bench, exchanged, auth)


def test_aws(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """POST auth/aws/login with a GetCallerIdentity whose signature AWS would accept."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the-session")
    exchanged = Exchanged("/v1/auth/aws/login", caller_identity, bench.server.token)
    auth = {"method": "aws", "role": "rotator", "region": "eu-central-1", "server_id": "vault.corp"}
    exchange(bench, exchanged, auth)
    assert exchanged.bodies[0]["role"] == "rotator"


def caller_identity(body: dict[str, Any]) -> bool:
    """Check the members that Vault's AWS method documents, signing again what was signed."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    def plain(name: str) -> str:
        return base64.b64decode(body[name], validate=True).decode()

    headers = {name: values[0] for name, values in json.loads(plain("iam_request_headers")).items()}
    signed = headers.pop("Authorization")
    content = plain("iam_request_body")
    again = AWSRequest("POST", plain("iam_request_url"), headers=dict(headers), data=content)
    again.context["timestamp"] = headers["X-Amz-Date"]
    auth = SigV4Auth(
        Credentials(
            "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "the-session"
        ),
        "sts",
        "eu-central-1",
    )
    signature = auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again)
    return (
        body["iam_http_request_method"] == "POST"
        and plain("iam_request_url") == "https://sts.eu-central-1.amazonaws.com/"
        and content == "Action=GetCallerIdentity&Version=2011-06-15"
        and headers["X-Vault-AWS-IAM-Server-ID"] == "vault.corp"
        and headers["X-Amz-Security-Token"] == "the-session"
        and "x-vault-aws-iam-server-id" in signed
        and signed.endswith(f"Signature={signature}")
    )


def test_aws_without_credentials_or_botocore(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a sentence."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(bench.home / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(bench.home / "none"))
    with pytest.raises(StoreDenied, match="no AWS credentials"):
        bench.store(auth={"method": "aws"}).rings("orders").load()
    monkeypatch.setitem(__import__("sys").modules, "botocore.auth", None)
    with pytest.raises(BackendMissing, match="needs botocore") as missing:
        bench.store(auth={"method": "aws"}).rings("orders").load()
    assert "jwks-rotator[aws,vault]" in missing.value.hint
