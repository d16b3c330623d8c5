"""Every way to log in, one token for all, a new one when it is refused, and nothing of the SDK's manners."""

from __future__ import annotations

import contextlib
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from rotator.errors import StoreDenied, StoreUnavailable
from tests.conjur.answering import Reply, answering
from tests.conjur.places import Ground, ground

SERVICE = """
- !policy
  id: conjur/{kind}/{name}
  body:
    - !webservice
    - !variable public-keys
    - !variable issuer
    - !variable audience
    - !variable token-app-property
    - !variable identity-path
    - !group apps
    - !permit
      role: !group apps
      privilege: [ read, authenticate ]
      resource: !webservice
- !host
  id: ci/rotator
  annotations:
    {kind}/{name}/project: shop
- !grant
  role: !group conjur/{kind}/{name}/apps
  member: !host ci/rotator
- !policy
  id: rotator
  body:
    - !permit
      role: !host /ci/rotator
      privileges: [ read, execute, update ]
      resource: !variable orders/ring
"""


class Issuer:
    """An issuer of JWT, and the service of a Conjur that trusts it."""

    def __init__(self, found: Ground, kind: str, name: str) -> None:
        from joserfc.jwk import ECKey

        self.key = ECKey.generate_key("P-256", {"kid": "k"})
        self.ground = found
        found.server.load_policy(SERVICE.format(kind=kind, name=name))
        keys = {"type": "jwks", "value": {"keys": [self.key.as_dict(private=False)]}}
        branch = f"conjur/{kind}/{name}"
        found.server.set(f"{branch}/public-keys", json.dumps(keys).encode())
        found.server.set(f"{branch}/issuer", b"https://ci.example")
        found.server.set(f"{branch}/audience", b"conjur")
        found.server.set(f"{branch}/token-app-property", b"workload")
        found.server.set(f"{branch}/identity-path", b"ci")

    def token(self, **claims: Any) -> str:
        """Return a token that is good, but for the claims given."""
        from joserfc import jwt

        good = {
            "iss": "https://ci.example",
            "aud": "conjur",
            "exp": int(time.time()) + 60,
            "workload": "rotator",
            "project": "shop",
        }
        return jwt.encode({"alg": "ES256", "kid": "k"}, {**good, **claims}, self.key)


@pytest.fixture
def issuer(conjur: Ground) -> Issuer:
    """A CI system that Conjur trusts."""
    return Issuer(conjur, "authn-jwt", "ci")


def jwt_auth(file: Path) -> dict[str, str]:
    """The options of a login by JWT."""
    return {"method": "jwt", "service_id": "ci", "jwt_file": str(file)}


def test_jwt(conjur: Ground, issuer: Issuer, tmp_path: Path) -> None:
    """The token is read again at each login, as platforms replace it."""
    file = tmp_path / "token"
    file.write_text(issuer.token(), encoding="ascii")
    store = conjur.store(auth=jwt_auth(file))
    store.rings("orders").save(b"one", replacing=None)
    file.write_text(issuer.token(project="other"), encoding="ascii")
    store.rings("orders").load()
    conjur.server.expire_tokens()
    with pytest.raises(StoreDenied, match="refused the login"):
        store.rings("orders").load()
    file.write_text(issuer.token(), encoding="ascii")
    assert store.rings("orders").load() is not None
    assert next(one.text for one in store.inspect().findings).startswith(
        "logs in as host/ci/rotator"
    )


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"aud": "another"},
        {"iss": "https://elsewhere.example"},
        {"project": "other"},
        {"workload": "nobody"},
    ],
    ids=lambda claims: next(iter(claims)),
)
def test_a_jwt_that_does_not_hold(
    conjur: Ground, issuer: Issuer, tmp_path: Path, claims: dict[str, Any]
) -> None:
    """The refusal says what to check; neither it nor its traceback holds the token."""
    file = tmp_path / "token"
    file.write_text(issuer.token(**claims), encoding="ascii")
    with pytest.raises(StoreDenied, match="refused the login of the host of the JWT") as caught:
        conjur.store(auth=jwt_auth(file)).rings("orders").load()
    assert "annotations" in caught.value.hint
    assert caught.value.__cause__ is None


def test_a_forged_jwt_is_refused(conjur: Ground, issuer: Issuer, tmp_path: Path) -> None:
    """Signed by another key of the same kid."""
    from joserfc.jwk import ECKey

    issuer.key = ECKey.generate_key("P-256", {"kid": "k"})
    file = tmp_path / "token"
    file.write_text(issuer.token(), encoding="ascii")
    with pytest.raises(StoreDenied):
        conjur.store(auth=jwt_auth(file)).rings("orders").load()


def test_gcp(conjur: Ground) -> None:
    """The identity token comes from the metadata server, for the audience of account and host."""
    issuer = Issuer(conjur, "authn-jwt", "gcp")
    asked: list[tuple[str, str | None]] = []

    def metadata(_: str, path: str, headers: Mapping[str, str]) -> Reply:
        asked.append((unquote(path), headers.get("Metadata-Flavor")))
        return 200, {}, issuer.token().encode()

    with answering(metadata) as url:
        auth = {"method": "gcp", "login": "host/ci/rotator", "identity_url": f"{url}/identity"}
        assert conjur.store(auth=auth).rings("orders").load() is None
    assert asked == [("/identity?audience=conjur/dev/host/ci/rotator&format=full", "Google")]


def test_azure(conjur: Ground) -> None:
    """The access token comes from the instance metadata service."""
    issuer = Issuer(conjur, "authn-azure", "prod")
    asked: list[tuple[str, str | None]] = []

    def metadata(_: str, path: str, headers: Mapping[str, str]) -> Reply:
        asked.append((path, headers.get("Metadata")))
        return 200, {}, json.dumps({"access_token": issuer.token()}).encode()

    with answering(metadata) as url:
        auth = {
            "method": "azure",
            "login": "host/ci/rotator",
            "service_id": "prod",
            "client_id": "c",
            "imds_url": url,
        }
        assert conjur.store(auth=auth).rings("orders").load() is None
    ((path, header),) = asked
    assert header == "true"
    assert "client_id=c" in path


@pytest.mark.parametrize(
    "answer", [(500, {}, b"no"), (404, {}, b""), (200, {}, b"{}"), (200, {}, b"")]
)
def test_a_platform_without_proof(conjur: Ground, answer: Reply) -> None:
    """Whatever the metadata service says, it ends in an error of ours."""
    with answering(lambda *_: answer) as url:
        auth = {
            "method": "azure",
            "login": "host/ci/rotator",
            "service_id": "prod",
            "imds_url": url,
        }
        expected = StoreUnavailable if answer[0] == 500 else StoreDenied
        with pytest.raises(expected) as caught:
            conjur.store(auth=auth, attempts=1).rings("orders").load()
    assert caught.value.__cause__ is None


IAM = """
- !policy
  id: conjur/authn-iam/prod
  body:
    - !webservice
- !host ci/111122223333/rotator
- !permit
  role: !host ci/111122223333/rotator
  privilege: authenticate
  resource: !webservice conjur/authn-iam/prod
- !permit
  role: !host ci/111122223333/rotator
  privilege: [ read, execute, update ]
  resource: !variable rotator/orders/ring
"""


@pytest.mark.parametrize("region", ["eu-central-1", "global"])
@pytest.mark.parametrize("secret", ["right", "wrong"])
def test_iam(conjur: Ground, monkeypatch: pytest.MonkeyPatch, region: str, secret: str) -> None:
    """A request for GetCallerIdentity is signed here, and the signature is really checked there."""
    conjur.server.load_policy(IAM)
    conjur.server.elsewhere.aws["AKIDEXAMPLE"] = ("right", "111122223333/rotator")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    auth = {"method": "iam", "login": "host/ci/111122223333/rotator", "region": region}
    rings = conjur.store(auth=auth).rings("orders")
    if secret == "right":
        assert rings.load() is None
    else:
        with pytest.raises(StoreDenied, match=r"refused the login of host/ci/1111.* by iam"):
            rings.load()


def test_iam_without_credentials(conjur: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform has none to give."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    auth = {"method": "iam", "login": "host/ci/111122223333/rotator"}
    with pytest.raises(StoreDenied, match="has nothing to log in"):
        conjur.store(auth=auth).rings("orders").load()


LDAP = """
- !policy
  id: conjur/authn-ldap/corp
  body:
    - !webservice
- !user alice
- !permit
  role: !user alice
  privilege: authenticate
  resource: !webservice conjur/authn-ldap/corp
- !permit
  role: !user alice
  privilege: [ read, execute, update ]
  resource: !variable rotator/orders/ring
"""


def test_ldap(conjur: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """The password goes to the directory, and an API key comes back."""
    conjur.server.load_policy(LDAP)
    conjur.server.elsewhere.ldap["alice"] = "correct horse"
    auth = {
        "method": "ldap",
        "login": "alice",
        "service_id": "corp",
        "password_env": "LDAP_PASSWORD",
    }
    monkeypatch.setenv("LDAP_PASSWORD", "correct horse")
    assert conjur.store(auth=auth).rings("orders").load() is None
    monkeypatch.setenv("LDAP_PASSWORD", "wrong")
    with pytest.raises(StoreDenied, match="refused the login of alice by ldap"):
        conjur.store(auth=auth).rings("orders").load()


def test_an_api_key_from_the_environment(conjur: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """And without it, the message names the variable."""
    key = (conjur.scratch / "rotator.key").read_text(encoding="ascii")
    auth = {"method": "api-key", "login": "host/rotator", "api_key_env": "CONJUR_API_KEY"}
    monkeypatch.setenv("CONJUR_API_KEY", key)
    assert conjur.store(auth=auth).rings("orders").load() is None
    monkeypatch.delenv("CONJUR_API_KEY")
    with pytest.raises(StoreDenied, match="CONJUR_API_KEY is not set"):
        conjur.store(auth=auth).rings("orders").load()


def test_one_login_for_all(conjur: Ground) -> None:
    """Ten threads and four key sets that begin at once log in once; so does everybody after a refusal."""
    issued = conjur.server._answers.logins.tokens
    count = Counting(issued.issue)
    issued.issue = count  # type: ignore[method-assign]  # the server counts what it gives out
    store = conjur.store()
    with ThreadPoolExecutor(10) as pool:
        for expected in (1, 2):
            list(pool.map(lambda _: store.rings("orders").load(), range(10)))
            assert count.times == expected
            conjur.server.expire_tokens()


class Counting:
    """Counts the tokens that a server gives out."""

    def __init__(self, issue: Callable[[str], bytes]) -> None:
        self.times = 0
        self._issue = issue

    def __call__(self, login: str) -> bytes:
        """Give out one."""
        self.times += 1
        return self._issue(login)


def test_a_token_is_renewed_before_it_expires(tmp_path: Path) -> None:
    """Two thirds of its life are used, by its own dates: a server that gives little is asked often."""
    with ground(tmp_path, token_ttl=2) as found:
        count = Counting(found.server._answers.logins.tokens.issue)
        found.server._answers.logins.tokens.issue = count  # type: ignore[method-assign]
        rings = found.store().rings("orders")
        deadline = time.monotonic() + 60
        while count.times < 2:
            assert time.monotonic() < deadline
            rings.load()


def test_credentials_that_were_revoked(conjur: Ground) -> None:
    """A token that was given is good until it expires; then the login is refused."""
    rings = conjur.store().rings("orders")
    rings.load()
    conjur.server.load_policy("- !delete {record: !host rotator}\n")
    with pytest.raises(StoreDenied, match="refused the login of host/rotator by api-key") as caught:
        rings.load()
    assert caught.value.exit_code == 77


@contextlib.contextmanager
def bare_root() -> Iterator[logging.Logger]:
    """The root logger without any handler, as a program that did not configure logging has it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers.clear()
    try:
        yield root
    finally:
        root.handlers[:], root.level = handlers, level


def test_the_sdk_changes_nothing_in_this_process(conjur: Ground) -> None:
    """No handler at the root logger, no warning switched off, no telemetry sent."""
    before = list(warnings.filters)
    headers: list[Mapping[str, str]] = []

    def conjur_like(_: str, path: str, given: Mapping[str, str]) -> Reply:
        headers.append(given)
        if path.endswith("/authenticate"):
            return 200, {}, conjur.server._answers.logins.tokens.issue("host/rotator")
        return 200, {}, b'{"secrets": []}'

    with answering(conjur_like) as url, bare_root() as root:
        store = conjur.store(url=url)
        assert store.rings("orders").load() is None
        assert root.handlers == []
    assert list(warnings.filters) == before
    assert len(headers) == 2
    assert {name.lower() for one in headers for name in one} <= {
        *("host", "user-agent", "accept", "accept-encoding", "authorization"),
        *("content-length", "content-type"),
    }
