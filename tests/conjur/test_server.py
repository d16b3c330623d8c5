"""The in-repo server against what was measured on a real Conjur 1.22, through the SDK and by bare HTTP."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import logging
import ssl
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from operator import methodcaller
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from conjur_api import Client
from conjur_api.errors.errors import HttpStatusError
from conjur_api.models import ConjurConnectionInfo, CredentialsData, SslVerificationMode
from conjur_api.providers import AuthnAuthenticationStrategy, SimpleCredentialsProvider

from rotator.testing.conjur import ConjurServer
from tests.conjur.places import RING, Ground

POLICY = f"/policies/dev/policy/{quote('rotator', safe='')}"


class Bare:
    """Bare HTTP to a server, as a host."""

    def __init__(self, server: ConjurServer, login: str, key: str) -> None:
        self._address = urlsplit(server.url)
        self.token = ""
        status, body, headers = self(
            "POST", f"/authn/dev/{quote(login, safe='')}/authenticate", key
        )
        assert (status, headers["Content-Type"].split(";")[0]) == (200, "application/json")
        self.token = base64.b64encode(body).decode("ascii")

    def __call__(
        self, method: str, path: str, body: str | bytes | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Make one call."""
        host, port = self._address.hostname, self._address.port
        assert host is not None
        connection = http.client.HTTPConnection(host, port, timeout=60)
        if self.token:
            headers.setdefault("Authorization", f'Token token="{self.token}"')
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.putrequest(method, path, skip_accept_encoding=True)
        content = body.encode() if isinstance(body, str) else body
        if content is not None:
            named["Content-Length"] = str(len(content))
        for name, value in named.items():
            connection.putheader(name, value)
        connection.endheaders(content)
        answer = connection.getresponse()
        found = (answer.status, answer.read(), dict(answer.getheaders()))
        connection.close()
        return found


@pytest.fixture
def key(conjur: Ground) -> str:
    """The API key of the host that may use `orders`."""
    return (conjur.scratch / "rotator.key").read_text(encoding="ascii")


@pytest.fixture
def bare(conjur: Ground, key: str) -> Bare:
    """The host that may use `orders`."""
    return Bare(conjur.server, "host/rotator", key)


@pytest.fixture(autouse=True)
def quiet_sdk() -> Iterator[None]:
    """Take back what the SDK does to the root logger."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


def by_sdk(server: ConjurServer, login: str, key: str, do: Callable[[Any], Awaitable[Any]]) -> Any:
    """Do something with the SDK's client."""
    provider = SimpleCredentialsProvider()
    provider.save(CredentialsData(machine=server.url, username=login, api_key=key))
    client = Client(
        ConjurConnectionInfo(conjur_url=server.url, account=server.account),
        authn_strategy=AuthnAuthenticationStrategy(provider),
    )

    async def run() -> Any:
        return await do(client)

    return asyncio.run(run())


def status_of(server: ConjurServer, key: str, do: Callable[[Any], Awaitable[Any]]) -> int:
    """Do something with the SDK's client that fails; return the status."""
    with pytest.raises(HttpStatusError) as caught:
        by_sdk(server, "host/rotator", key, do)
    return int(caught.value.status)


def test_the_sdk_reads_what_it_wrote(conjur: Ground, key: str) -> None:
    """Set, get, get by version, list, privileges, whoami: the calls that the SDK makes."""

    async def work(client: Any) -> None:
        await client.set(RING, "one")
        await client.set(RING, "two")
        assert await client.get(RING) == b"two"
        assert await client.get(RING, 1) == b"one"
        resource = await client.get_resource("variable", RING)
        assert [one["version"] for one in resource["secrets"]] == [1, 2]
        assert await client.check_privilege("variable", RING, "update")
        assert not await client.check_privilege("variable", "nowhere", "update")
        assert (await client.whoami())["username"] == "host/rotator"
        assert f"dev:variable:{RING}" in await client.list({"kind": "variable"})
        assert (await client.get_many(RING)) == {RING: "two"}

    by_sdk(conjur.server, "host/rotator", key, work)


def test_twenty_versions_are_kept(conjur: Ground, bare: Bare) -> None:
    """Numbers go on growing, and what is pruned is not found."""
    for number in range(25):
        conjur.server.set(RING, f"value {number}".encode())
    assert list(conjur.server.versions(RING)) == list(range(6, 26))
    path = f"/secrets/dev/variable/{quote(RING, safe='')}"
    assert bare("GET", f"{path}?version=5")[0] == 404
    assert bare("GET", f"{path}?version=6")[:2] == (200, b"value 5")


def test_the_same_value_makes_no_version(conjur: Ground, bare: Bare) -> None:
    """Only while it is the latest."""
    path = f"/secrets/dev/variable/{quote(RING, safe='')}"
    for value in ("a", "a", "b", "a"):
        assert bare("POST", path, value, Content_Type="text/plain")[:2] == (201, b"")
    assert list(conjur.server.versions(RING).values()) == [b"a", b"b", b"a"]


@pytest.mark.parametrize("value", ["", " \n"])
def test_an_empty_value_is_refused(bare: Bare, value: str) -> None:
    """Blanks count as nothing."""
    path = f"/secrets/dev/variable/{quote(RING, safe='')}"
    status, body, _ = bare("POST", path, value, Content_Type="text/plain")
    assert status == 422
    assert json.loads(body)["error"]["message"] == "'value' may not be empty"


def test_without_a_content_type_the_value_is_lost(bare: Bare) -> None:
    """The body is parsed as a form, and nothing is left of it."""
    assert bare("POST", f"/secrets/dev/variable/{quote(RING, safe='')}", "value")[0] == 422


@pytest.mark.parametrize(("version", "status"), [("x", 422), ("", 422), ("0", 404), ("9", 404)])
def test_versions_that_are_none(conjur: Ground, bare: Bare, version: str, status: int) -> None:
    """What is no number is an error; a number that is not there is not found."""
    conjur.server.set(RING, b"value")
    path = f"/secrets/dev/variable/{quote(RING, safe='')}?version={version}"
    assert bare("GET", path)[0] == status


def test_racing_writes_fail_with_500(conjur: Ground, key: str) -> None:
    """Of 24 at once some are written and the others get a 500 without a body."""

    conjur.server._variables._commit_delay = 0.05  # seconds; however they are scheduled, some meet

    async def work(client: Any) -> list[Any]:
        await client.whoami()
        writes = (client.set(RING, f"value {number}") for number in range(24))
        return await asyncio.gather(*writes, return_exceptions=True)

    said = by_sdk(conjur.server, "host/rotator", key, work)
    failed = [one for one in said if isinstance(one, HttpStatusError)]
    assert {one.status for one in failed} == {500}
    assert {one.response for one in failed} == {""}
    assert max(conjur.server.versions(RING)) == 24 - len(failed)


def test_what_is_invisible_is_not_found(conjur: Ground, key: str) -> None:
    """No privilege: 404; some privilege, but not the one: 403 with an empty body."""
    conjur.server.load_policy(
        "- !variable hidden\n- !variable seen\n"
        "- !permit {role: !host rotator, privilege: read, resource: !variable seen}\n"
    )
    for variable, expected in (("hidden", 404), ("seen", 403)):
        conjur.server.set(variable, b"value")
        assert status_of(conjur.server, key, methodcaller("get", variable)) == expected
        assert status_of(conjur.server, key, methodcaller("set", variable, "x")) == expected
    assert status_of(conjur.server, key, lambda c: c.get("never-declared")) == 404
    assert status_of(conjur.server, key, lambda c: c.get(RING)) == 404, "declared, never set"


def test_batches(conjur: Ground, key: str, bare: Bare) -> None:
    """One that is missing spoils all; binary needs base64; twice the same is a fault of the server."""
    conjur.server.load_policy("- !variable hidden\n")
    conjur.server.set(RING, b"\xff")
    full = f"dev:variable:{RING}"
    assert status_of(conjur.server, key, lambda c: c.get_many(RING)) == 406
    assert status_of(conjur.server, key, lambda c: c.get_many(RING, "nowhere")) == 404
    assert status_of(conjur.server, key, lambda c: c.get_many("hidden")) == 403
    assert bare("GET", f"/secrets?variable_ids={full},{full}")[0] == 500
    assert bare("GET", "/secrets?variable_ids=")[0] == 422
    status, body, _ = bare("GET", f"/secrets?variable_ids={full}", Accept_Encoding="base64")
    assert (status, json.loads(body)) == (200, {full: "/w==\n"})


def test_tokens(conjur: Ground, bare: Bare, key: str) -> None:
    """Missing, malformed, forged and expired ones, in the server's words."""
    assert bare("GET", "/whoami", Authorization="Basic x")[:2] == (401, b"Authorization missing")
    assert bare("GET", "/whoami", Authorization='Token token="%"')[:2] == (
        401,
        b"Malformed authorization token",
    )
    assert bare("GET", "/whoami")[0] == 200
    conjur.server.expire_tokens()
    assert bare("GET", "/whoami")[:2] == (401, b"Unauthorized: Invalid token")
    issued = json.loads(base64.b64decode(Bare(conjur.server, "host/rotator", key).token))
    claims = json.loads(base64.urlsafe_b64decode(issued["payload"]))
    assert claims["sub"] == "host/rotator"
    assert claims["exp"] - claims["iat"] == 480


def test_a_token_really_expires(tmp_path: Path) -> None:
    """By the clock, without anybody's help."""
    from tests.conjur.places import ground

    with ground(tmp_path, token_ttl=-1) as found:
        key = (tmp_path / "rotator.key").read_text(encoding="ascii")
        assert Bare(found.server, "host/rotator", key)("GET", "/whoami")[0] == 401


@pytest.mark.parametrize(
    "path", ["/authn/dev/host%2Frotator", "/authn/dev/nobody", "/authn/no/admin"]
)
def test_a_wrong_key_is_refused(bare: Bare, path: str) -> None:
    """Wrong key, unknown user, unknown account: all the same, without a body."""
    assert bare("POST", f"{path}/authenticate", "wrong")[:2] == (401, b"")


def test_an_api_key_can_be_changed(bare: Bare, key: str) -> None:
    """One's own only with the key; tokens that were issued stay good."""
    status, body, _ = bare("PUT", "/authn/dev/api_key")
    assert (status, json.loads(body)["error"]["message"]) == (
        401,
        "Credential strength is insufficient",
    )
    pair = base64.b64encode(f"host/rotator:{key}".encode()).decode()
    status, new, _ = bare("PUT", "/authn/dev/api_key", Authorization=f"Basic {pair}")
    assert (status, bare("GET", "/whoami")[0]) == (200, 200)
    login = "/authn/dev/host%2Frotator/authenticate"
    assert bare("POST", login, key)[0] == 401
    assert bare("POST", login, new)[0] == 200


def test_policy(conjur: Ground) -> None:
    """Loaded by who may, checked as a whole; deleting a variable drops its history."""
    admin = Bare(conjur.server, "admin", conjur.server.admin_key)
    conjur.server.set(RING, b"value")
    status, body, _ = admin("POST", POLICY, "- !host new\n")
    assert (status, list(json.loads(body)["created_roles"])) == (201, ["dev:host:rotator/new"])
    status, body, _ = admin("POST", POLICY, "- !variable a\n- !variable [\n")
    assert (status, json.loads(body)["error"]["code"]) == (422, "policy_invalid")
    assert json.loads(body)["error"]["innererror"]["line"] == 3
    assert admin("POST", POLICY, "- !grant {role: !group no, member: !host new}\n")[0] == 404
    assert admin("POST", f"{POLICY}?dryRun=true", "- !variable b\n")[0] == 200
    assert admin("GET", "/resources/dev/variable/rotator%2Fb")[0] == 404
    gone = "- !delete {record: !variable orders/ring}\n"
    assert admin("POST", POLICY, gone)[0] == 422, "deleting takes PATCH"
    assert admin("PATCH", POLICY, gone)[0] == 201
    assert conjur.server.versions(RING) == {}
    assert admin("PUT", POLICY, "- !variable only\n")[0] == 201
    kept = json.loads(admin("GET", "/resources/dev?kind=variable")[1])
    assert [one["id"] for one in kept] == ["dev:variable:rotator/only"]


def test_policy_is_not_for_everybody(bare: Bare) -> None:
    """Who may not load it is told that there is none."""
    assert bare("POST", POLICY, "- !variable mine\n")[0] == 404


def test_a_follower_refuses_writes(conjur: Ground, bare: Bare) -> None:
    """Writing is for the Leader."""
    conjur.server.read_only = True
    path = f"/secrets/dev/variable/{quote(RING, safe='')}"
    status, body, _ = bare("POST", path, "value", Content_Type="text/plain")
    assert (status, json.loads(body)["error"]["code"]) == (405, 405)


def test_what_it_is(conjur: Ground, bare: Bare) -> None:
    """The status page names the version; `/info` is for the enterprise."""
    assert b"1.22.3" in bare("GET", "/")[1]
    assert bare("GET", "/info")[0] == 404
    conjur.server.load_policy(
        "- !variable {id: typed, annotations: {conjur/mime_type: text/x-test}}\n"
        "- !permit {role: !host rotator, privilege: [read, execute], resource: !variable typed}\n"
    )
    conjur.server.set("typed", b"value")
    headers = bare("GET", "/secrets/dev/variable/typed")[2]
    assert headers["Content-Type"] == "text/x-test"
    assert headers["Content-Disposition"] == "attachment"


def test_tls(tmp_path: Path) -> None:
    """With a certificate it speaks HTTPS, and the SDK agrees."""
    pem = certificate(tmp_path)
    with ConjurServer(certificate=pem) as server:
        context = ssl.create_default_context(cafile=str(pem))
        connection = http.client.HTTPSConnection(
            "127.0.0.1", urlsplit(server.url).port, context=context, timeout=60
        )
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
        provider = SimpleCredentialsProvider()
        provider.save(CredentialsData(server.url, "admin", api_key=server.admin_key))
        client = Client(
            ConjurConnectionInfo(server.url, "dev", cert_file=str(pem)),
            ssl_verification_mode=SslVerificationMode.CA_BUNDLE,
            authn_strategy=AuthnAuthenticationStrategy(provider),
        )
        assert asyncio.run(client.whoami())["username"] == "admin"


def certificate(directory: Path) -> Path:
    """Make a certificate for 127.0.0.1, with its key in one file."""
    pem = directory / "server.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", pem.with_suffix(".key"), "-out", pem, "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    with pem.open("ab") as file:
        file.write(pem.with_suffix(".key").read_bytes())
    return pem
