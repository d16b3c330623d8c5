"""Every way to log in: for real where the built server has the method, else against the documented exchange."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from rotator.errors import BackendMissing, ConfigError, StoreDenied
from rotator_vault.settings import VaultSettings
from rotator_vault.store import VaultStore
from tests.servers.exchange import Exchange, Request
from tests.servers.proxy import Proxy
from tests.vault.bench import QUICK, RING, Bench, below, granted, logins, reply


def works(store: VaultStore) -> None:
    """Save and load a ring."""
    store.rings("orders").save(RING, replacing=None)
    assert store.rings("orders").load() is not None


def approle(bench: Bench, **role: Any) -> tuple[str, str]:
    """Make a role; return the mount, and the role-id."""
    mount = bench.enable("approle")
    policy = bench.policy(bench.store())
    body = {"token_policies": policy, "token_ttl": "1h", **role}
    bench.server.do("POST", f"auth/{mount}/role/rotator", body)
    role_id = bench.server.do("GET", f"auth/{mount}/role/rotator/role-id")["data"]["role_id"]
    return mount, str(role_id)


def secret_id(bench: Bench, mount: str, *, wrap: str | None = None) -> str:
    """Issue a secret-id, or a wrapping token around one."""
    from http.client import HTTPConnection

    connection = HTTPConnection("127.0.0.1", bench.server.port)
    headers = {"X-Vault-Token": bench.server.token} | ({"X-Vault-Wrap-TTL": wrap} if wrap else {})
    connection.request("POST", f"/v1/auth/{mount}/role/rotator/secret-id", "{}", headers)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return str(answer["wrap_info"]["token"] if wrap else answer["data"]["secret_id"])


def test_token_from_a_file(bench: Bench) -> None:
    """It is read again as soon as it is refused, so whoever renews the file is heard."""
    policy = bench.policy(bench.store())
    made = [
        bench.server.do("POST", "auth/token/create", {"policies": [policy]})["auth"]["client_token"]
        for _ in range(2)
    ]
    file = bench.secret("token", made[0])
    store = bench.store(auth={"method": "token", "token_file": str(file)})
    works(store)
    bench.server.do("POST", "auth/token/revoke", {"token": made[0]})
    with pytest.raises(StoreDenied, match="no longer accepts the token in the file"):
        store.rings("orders").load()
    bench.secret("token", made[1])
    assert store.rings("orders").load() is not None


def test_token_from_the_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is read because it is named; unset, the message says so."""
    monkeypatch.setenv("MY_TOKEN", bench.server.token)
    auth = {"method": "token", "token_env": "MY_TOKEN"}
    works(bench.store(auth=auth))
    monkeypatch.delenv("MY_TOKEN")
    with pytest.raises(StoreDenied, match="the environment variable MY_TOKEN is not set"):
        bench.store(auth=auth).rings("orders").load()


def test_wrapped_token(bench: Bench) -> None:
    """A wrapping token is unwrapped once, and the token in it is ours to end."""
    policy = bench.policy(bench.store())
    with Proxy(bench.server.url) as proxy:
        made = wrapped(bench, "auth/token/create", {"policies": [policy]})
        file = bench.secret("wrapping", made)
        auth = {"method": "token", "token_file": str(file), "wrapped": True}
        works(bench.store(address=proxy.url, auth=auth))
        assert sum(request.path.endswith("unwrap") for request in proxy.seen) == 1
    with pytest.raises(StoreDenied, match="was unwrapped before") as refused:
        bench.store(auth=auth).rings("orders").load()
    assert "somebody else has the secret" in refused.value.hint


def wrapped(bench: Bench, path: str, body: dict[str, Any]) -> str:
    """Ask for something, wrapped."""
    from http.client import HTTPConnection

    connection = HTTPConnection("127.0.0.1", bench.server.port)
    headers = {"X-Vault-Token": bench.server.token, "X-Vault-Wrap-TTL": "60s"}
    connection.request("POST", f"/v1/{path}", json.dumps(body), headers)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return str(answer["wrap_info"]["token"])


def test_approle(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Role-id in the configuration or a file; secret-id in a file or the environment."""
    mount, role_id = approle(bench)
    file = bench.secret("secret-id", secret_id(bench, mount))
    auth = {"method": "approle", "mount": mount, "role_id": role_id, "secret_id_file": str(file)}
    works(bench.store(auth=auth))
    monkeypatch.setenv("MY_SECRET_ID", secret_id(bench, mount))
    auth = {
        "method": "approle",
        "mount": mount,
        "role_id_file": str(bench.secret("role-id", role_id)),
        "secret_id_env": "MY_SECRET_ID",
    }
    assert bench.store(auth=auth).rings("orders").load() is not None


def test_approle_refused(bench: Bench) -> None:
    """The message names the method and its mount, never the secret-id."""
    mount, role_id = approle(bench)
    file = bench.secret("secret-id", "not-the-secret-id")
    auth = {"method": "approle", "mount": mount, "role_id": role_id, "secret_id_file": str(file)}
    with pytest.raises(StoreDenied, match="refuses the login by approle") as refused:
        bench.store(auth=auth).rings("orders").load()
    assert f"auth/{mount}" in refused.value.message
    assert "secret-id expired" in refused.value.hint
    assert "not-the-secret-id" not in str(refused.value)
    with pytest.raises(StoreDenied, match="refuses the login") as refused:
        bench.store(auth=auth | {"mount": "elsewhere"}).rings("orders").load()
    assert "is the method mounted at auth/elsewhere" in refused.value.hint
    with pytest.raises(StoreDenied, match=r"the secret-id cannot be read from .*gone"):
        bench.store(auth=auth | {"secret_id_file": str(bench.home / "gone")}).rings("o").load()


def test_wrapped_secret_id(bench: Bench) -> None:
    """Unwrapped once, and kept for the next login; a new wrapping token in the file is unwrapped too."""
    mount, role_id = approle(bench, token_ttl="1h")
    file = bench.secret("wrapped", secret_id(bench, mount, wrap="60s"))
    auth = {
        "method": "approle",
        "mount": mount,
        "role_id": role_id,
        "secret_id_file": str(file),
        "wrapped": True,
    }
    store = bench.store(auth=auth)
    works(store)
    for replaced in (False, True):
        if replaced:
            bench.secret("wrapped", secret_id(bench, mount, wrap="60s"))
        revoke(bench, store)
        assert store.rings("orders").load() is not None
    assert bench.home.joinpath("wrapped").read_text().startswith("hvs.")


def revoke(bench: Bench, store: VaultStore) -> None:
    """End the token of a store behind its back."""
    token = store._identity.token().reveal().decode()
    bench.server.do("POST", "auth/token/revoke", {"token": token})


def test_a_wrapping_token_of_another_origin_is_not_unwrapped(bench: Bench) -> None:
    """Who put his own in the place of the real one is found by the path that made it."""
    mount, role_id = approle(bench)
    forged = wrapped(bench, "sys/wrapping/wrap", {"secret_id": "of-the-thief"})
    auth = {
        "method": "approle",
        "mount": mount,
        "role_id": role_id,
        "secret_id_file": str(bench.secret("wrapped", forged)),
        "wrapped": True,
    }
    with pytest.raises(StoreDenied, match="was made at sys/wrapping/wrap") as refused:
        bench.store(auth=auth).rings("orders").load()
    assert "investigate" in refused.value.hint


def jwt_role(bench: Bench) -> tuple[str, Callable[[str], str]]:
    """Mount JWT login with a key of our own; return the mount, and what signs a JWT for an audience."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from joserfc import jwt
    from joserfc.jwk import ECKey

    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    mount = bench.enable("jwt")
    bench.server.do(
        "POST",
        f"auth/{mount}/config",
        {"jwt_validation_pubkeys": public.decode(), "jwt_supported_algs": "ES256"},
    )
    bench.server.do(
        "POST",
        f"auth/{mount}/role/rotator",
        {
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": "vault",
            "token_policies": bench.policy(bench.store()),
        },
    )
    signer = ECKey.import_key(key)

    def sign(audience: str) -> str:
        now = int(time.time())
        claims = {"sub": "ci", "aud": audience, "iat": now, "nbf": now - 60, "exp": now + 600}
        return jwt.encode({"alg": "ES256"}, claims, signer)

    return mount, sign


def test_jwt(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is read anew at each login, for the platform replaces it."""
    mount, sign = jwt_role(bench)
    file = bench.secret("jwt", sign("vault"))
    auth = {"method": "jwt", "mount": mount, "role": "rotator", "jwt_file": str(file)}
    store = bench.store(auth=auth)
    works(store)
    bench.secret("jwt", sign("somebody else"))
    revoke(bench, store)
    with pytest.raises(StoreDenied, match="refuses the login by jwt") as refused:
        store.rings("orders").load()
    assert "audience" in refused.value.hint
    monkeypatch.setenv("CI_JWT", sign("vault"))
    auth = {"method": "jwt", "mount": mount, "role": "rotator", "jwt_env": "CI_JWT"}
    assert bench.store(auth=auth).rings("orders").load() is not None


def test_userpass(bench: Bench) -> None:
    """A user of Vault itself; the mount is named like the method unless said otherwise."""
    mount = bench.enable("userpass")
    policy = bench.policy(bench.store())
    body = {"password": "corréct horse", "token_policies": policy}
    bench.server.do("POST", f"auth/{mount}/users/rota", body)
    file = bench.secret("password", "corréct horse")
    auth = {"method": "userpass", "mount": mount, "username": "rota", "password_file": str(file)}
    works(bench.store(auth=auth))
    bench.secret("password", "wrong")
    with pytest.raises(StoreDenied, match="refuses the login by userpass") as refused:
        bench.store(auth=auth).rings("orders").load()
    assert "locks the user" in refused.value.hint


# Methods that the built server does not have: the exchange as Vault's API documentation has it.


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


# What the environment may not do


def test_nothing_is_taken_from_the_environment(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables and files that Vault's CLI, hvac and requests read are not read."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".vault-token").write_text(bench.server.token)
    (home / ".netrc").write_text("machine 127.0.0.1 login thief password secret\n")
    (home / ".netrc").chmod(0o600)
    for name, value in {
        "HOME": str(home),
        "VAULT_TOKEN": bench.server.token,
        "VAULT_ADDR": "http://127.0.0.1:1",
        "VAULT_NAMESPACE": "elsewhere",
        "VAULT_CACERT": "/nowhere",
        "REQUESTS_CA_BUNDLE": "/nowhere",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "ALL_PROXY": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    token = bench.secret("token", bench.token(None))
    with Proxy(bench.server.url) as proxy:
        auth = {"method": "token", "token_file": str(token)}
        with pytest.raises(StoreDenied, match="does not permit reading"):
            bench.store(address=proxy.url, auth=auth).rings("orders").load()
        sent = {request.header("X-Vault-Token") for request in proxy.seen}
        assert sent == {token.read_text().strip()}
        assert {request.header("Authorization") for request in proxy.seen} == {""}
        assert {request.header("X-Vault-Namespace") for request in proxy.seen} == {""}


def test_the_address_may_be_in_the_environment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Because it is named; what does not hold an address is a fault of configuration."""
    monkeypatch.setenv("VAULT_ADDR", f"{bench.server.url}/")
    works(bench.store(address=None, address_env="VAULT_ADDR"))
    for value in ("", "vault:8200", "http://user:pw@vault"):
        monkeypatch.setenv("VAULT_ADDR", value)
        with pytest.raises(ConfigError, match="VAULT_ADDR does not hold the address") as refused:
            bench.store(address=None, address_env="VAULT_ADDR")
        assert "pw" not in str(refused.value)


def test_namespace_and_proxy(bench: Bench) -> None:
    """The namespace goes along with every call, the login's included; an HTTP proxy is used when named."""
    mount, role_id = approle(bench)
    file = bench.secret("secret-id", secret_id(bench, mount))
    auth = {"method": "approle", "mount": mount, "role_id": role_id, "secret_id_file": str(file)}
    seen: list[Request] = []

    def forward(exchange: Exchange) -> None:
        seen.append(exchange.request)
        exchange.send(exchange.forward())

    with Proxy(bench.server.url) as proxy, proxy.misbehaving(forward):
        store = bench.store(address=proxy.url, namespace="team/keys/", auth=auth, **QUICK)
        assert store.rings("orders").load() is None  # the free edition takes no notice
        assert {request.header("X-Vault-Namespace") for request in seen} == {"team/keys"}
        seen.clear()
        works(bench.store(proxy=proxy.url, auth=auth))
        assert seen
        assert all(request.path.startswith("http://127.0.0.1") for request in seen)


def test_one_login_for_all_key_sets(bench: Bench) -> None:
    """However many key sets and calls."""
    mount, role_id = approle(bench)
    file = bench.secret("secret-id", secret_id(bench, mount))
    auth = {"method": "approle", "mount": mount, "role_id": role_id, "secret_id_file": str(file)}
    store = bench.store(auth=auth)
    with capture_logs() as logged:
        for number in range(50):
            assert store.rings(f"set-{number}").load() is None
        store.close()
        store.close()
    assert list(logins(logged)) == ["login.approle", "logout"]


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ({"method": "token"}, "needs exactly one of token_file and token_env"),
        ({"method": "token", "token_file": "a", "token_env": "B"}, "needs exactly one of"),
        ({"method": "approle", "secret_id_file": "s"}, "needs exactly one of role_id"),
        ({"method": "approle", "role_id": "r"}, "needs exactly one of secret_id_file"),
        ({"method": "jwt", "role": "r"}, "needs exactly one of jwt_file"),
        ({"method": "userpass", "username": "u"}, "needs exactly one of password_file"),
        ({"method": "userpass", "username": "a/b", "password_env": "P"}, "username"),
        ({"method": "cert"}, "needs cert_file and key_file"),
        ({"method": "github"}, "method"),
        ({"method": "token", "token": "hvs.secret"}, "token"),
    ],
)
def test_settings_that_cannot_be(auth: dict[str, Any], said: str) -> None:
    """Each with a sentence; a secret in the text is no option."""
    with pytest.raises(ValueError, match=said):
        VaultSettings(address="https://vault", auth=auth)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"address": "vault:8200"},
        {"address": "ftp://vault"},
        {"address": "https://vault?x=1"},
        {"address": "https://user:pw@vault"},
        {"address": "https://vault", "address_env": "VAULT_ADDR"},
        {"address": "https://vault", "prefix": "../x"},
        {"address": "https://vault", "prefix": "a//b"},
        {"address": "https://vault", "prefix": "a*"},
        {"address": "https://vault", "mount": ""},
        {"address": "https://vault", "cert_file": "c"},
    ],
)
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    """A path that Vault's policies would read as a pattern is none."""
    auth: Any = {"method": "token", "token_env": "T"}
    with pytest.raises(ValueError):  # noqa: PT011 - pydantic's, in many words
        VaultSettings(**options, auth=auth)


def test_below_is_a_part_of_the_path() -> None:
    """The helper that these tests stand on."""
    assert below("/login")(Request(1, "POST", "/v1/auth/x/login", (), b""))
