"""OpenID discovery documents, hosts, and what the JWKS is called for verifiers that are particular."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rotator.errors import ConfigError
from rotator.publication import FilePublication
from rotator.server import ServerProcess, Site
from rotator.server.configured import configured_site
from rotator.server.site import DISCOVERY, parse_site
from rotator.settings import load_settings
from rotator.stores import Document
from tests.unit.test_server import jwks


def issuers(default: str | None = None, **named: str) -> dict[tuple[str | None, str], str]:
    """Return where a site of these issuers serves discovery documents, and their `jwks_uri`."""
    site = Site(Path("/p"), tuple(named), default, issuers=named)
    assert parse_site(site.render()) == site
    return {(item.host, item.path): item.jwks_uri for item in site.discoveries()}


def test_an_issuer_without_a_path_is_served_at_its_host_and_if_alone_at_any() -> None:
    here = "https://a.example/web/jwks.json"
    assert issuers(web="https://a.example") == {
        ("a.example", DISCOVERY): here,
        (None, DISCOVERY): here,
    }
    assert issuers("web", web="https://A.example:8443/") == {
        ("a.example:8443", DISCOVERY): "https://A.example:8443/.well-known/jwks.json",
        (None, DISCOVERY): "https://A.example:8443/.well-known/jwks.json",
    }


def test_an_issuer_with_the_path_of_its_key_set_is_served_below_it() -> None:
    assert issuers(web="https://a.example/web", jobs="https://a.example/jobs/") == {
        (None, f"/web{DISCOVERY}"): "https://a.example/web/jwks.json",
        (None, f"/jobs{DISCOVERY}"): "https://a.example/jobs/jwks.json",
    }


def test_two_hosts_have_a_document_each_and_one_issuer_of_two_key_sets_none() -> None:
    assert set(issuers(web="https://a.example", jobs="https://b.example")) == {
        ("a.example", DISCOVERY),
        ("b.example", DISCOVERY),
    }
    assert issuers(web="https://a.example", jobs="https://a.example") == {}
    assert set(issuers("web", web="https://a.example", jobs="https://a.example")) == {
        ("a.example", DISCOVERY),
        (None, DISCOVERY),
    }


@pytest.mark.parametrize(
    "issuer",
    [
        "accounts.example",
        "urn:example:issuer",
        "https://a.example/other",
        "https://a.example/web/more",
        "https://a.example/?x=1",
        "https://a.example/#x",
        "https://user@a.example",
        "https://",
        "https://[::1",
        "https://a.example:99999",
    ],
)
def test_an_issuer_that_does_not_fit_has_no_document(issuer: str) -> None:
    assert issuers(web=issuer) == {}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of two issuers on two hosts; `later` was never published."""
    public = tmp_path_factory.mktemp("edge") / "public"
    site = Site(
        public,
        ("web", "jobs", "later"),
        "web",
        issuers={
            "web": "https://a.example",
            "jobs": "https://b.example",
            "later": "https://a.example/later",
        },
        json=("jobs",),
    )
    for name in ("web", "jobs"):
        public.mkdir(exist_ok=True)
        document = Document(jwks(name), name, 1, max_age=60, stale=90)
        FilePublication(public / name / "jwks.json", name).write(document, replacing=None)
    made = ServerProcess("127.0.0.1", 0, site)
    made.start()
    yield made
    made.stop()


def ask(
    server: ServerProcess, path: str, host: str = "a.example", **headers: str
) -> tuple[int, dict[str, str], Any]:
    """Send one request to a host."""
    connection = http.client.HTTPConnection(*server.address, timeout=10)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", path, headers={"Host": host, **named})
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.headers.items()}
        body = response.read()
        return response.status, found, json.loads(body) if body else None
    finally:
        connection.close()


def test_the_document_is_that_of_an_issuer_that_only_signs(server: ServerProcess) -> None:
    for host in ("a.example", "A.EXAMPLE", "anything.else"):
        status, headers, document = ask(server, DISCOVERY, host)
        assert status == 200
        assert document == {
            "issuer": "https://a.example",
            "jwks_uri": "https://a.example/.well-known/jwks.json",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["EdDSA"],
        }
        assert headers["content-type"] == "application/json"
        assert headers["cache-control"].startswith("public, max-age=60, ")
        assert headers["access-control-allow-origin"] == "*"
        assert ask(server, DISCOVERY, host, If_None_Match=headers["etag"])[0] == 304


def test_another_host_has_its_own_document_and_its_own_well_known_jwks(
    server: ServerProcess,
) -> None:
    assert ask(server, DISCOVERY, "b.example")[2]["issuer"] == "https://b.example"
    well_known = "/.well-known/jwks.json"
    assert ask(server, well_known, "b.example")[2]["keys"][0]["kid"] == "jobs"
    assert ask(server, well_known, "a.example")[2]["keys"][0]["kid"] == "web"
    assert ask(server, well_known, "c.example")[2]["keys"][0]["kid"] == "web"
    # What a proxy says of the host is not believed.
    forwarded = ask(server, well_known, X_Forwarded_Host="b.example", Forwarded="host=b.example")
    assert forwarded[2]["keys"][0]["kid"] == "web"


def test_there_is_none_before_there_is_a_jwks(server: ServerProcess) -> None:
    status, headers, document = ask(server, f"/later{DISCOVERY}")
    assert (status, document) == (404, {"error": "no document yet"})
    assert headers["cache-control"] == "no-store"


def test_the_jwks_is_plain_json_where_a_verifier_asks_for_nothing_else(
    server: ServerProcess,
) -> None:
    assert ask(server, "/jobs/jwks.json")[1]["content-type"] == "application/json"
    assert ask(server, "/web/jwks.json")[1]["content-type"] == "application/jwk-set+json"


def test_the_configuration_says_who_has_an_issuer_and_hmac_never_does(tmp_path: Path) -> None:
    policy = {"token_ttl": "15m", "signer_lag": "5m"}
    deliver = [{"to": "files", "path": "signing"}]
    document = {
        "version": 1,
        "stores": {"local": {"backend": "file", "path": "store"}},
        "server": {"listen": "unix:/run/rotator/jwks.sock", "connections": 20_000},
        "key_sets": {
            "web": {
                "algorithm": "RS256",
                "issuer": "https://a.example",
                "verifiers": ["spring"],
                "policy": policy,
                "deliver": deliver,
            },
            "mac": {
                "algorithm": "HS256",
                "issuer": "https://mac.example",
                "policy": policy,
                "deliver": [
                    {"to": "files", "path": "mac"},
                    {"to": "files", "path": "check", "document": "verification"},
                ],
            },
        },
    }
    path = tmp_path / "rotator.json"
    path.write_text(json.dumps(document))
    settings = load_settings(path, {})
    site = configured_site(settings)
    assert settings.server is not None
    assert (settings.server.host, settings.server.connections) == (
        "unix:/run/rotator/jwks.sock",
        20_000,
    )
    assert (site.key_sets, site.json) == (("web",), ("web",))
    assert dict(site.issuers) == {"web": "https://a.example"}


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({"listen": "unix:jwks.sock"}, "absolute path"),
        ({"listen": "unix:/" + "a" * 107}, "at most 107 bytes"),
        ({"listen": "127.0.0.1:1", "cert_file": "cert.pem"}, "belong together"),
        ({"listen": "unix:/a", "cert_file": "c", "key_file": "k"}, "speaks plain HTTP"),
        ({"listen": "127.0.0.1:1", "connections": 1}, "16"),
    ],
)
def test_a_server_that_cannot_be_is_refused(
    tmp_path: Path, server: dict[str, object], said: str
) -> None:
    path = tmp_path / "rotator.json"
    path.write_text(json.dumps({"version": 1, "server": server}))
    with pytest.raises(ConfigError) as refused:
        load_settings(path, {})
    assert said in str(refused.value)
