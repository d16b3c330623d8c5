"""Shows 5 and 7 of the fourth issue, with the real commands: files, and stores on a loopback server."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import jwt
import pytest

from rotator.stores import Document, find_backend
from tests.cli.bench import Bench, hold_against_schema
from tests.cli.forge import Forge, shared
from tests.servers import running
from tests.servers.proxy import Proxy

BACKEND: Final = "conjur"
AUDIENCE: Final = "api"


@pytest.fixture(scope="module")
def forge() -> Forge:
    """Return what runs commands in forked processes; the server's login is in its environment."""
    running(BACKEND)
    return shared()


def bench_of(
    path: Path, names: Sequence[str], *, url: Mapping[str, str] | None = None, **key_set: Any
) -> Bench:
    """Return a key set with its ring in files, and a signing document in each of some stores on one server."""
    server, prefix = running(BACKEND), uuid.uuid4().hex[:12]
    stores = {
        name: {
            "backend": BACKEND,
            **server.settings(f"{prefix}-{name}", url=url[name] if url is not None else None),
        }
        for name in names
    }
    stores["local"] = {"backend": "file", "path": "store"}
    targets = {
        "store": "local",
        "deliver": [{"to": "store", "store": name} for name in names],
        **key_set,
    }
    return Bench(path, names=("orders",), key_set=targets, more={"stores": stores})


def document(bench: Bench, store: str, kind: str) -> Document:
    """Return a document as a reader of that store gets it."""
    configured = json.loads(bench.config.read_bytes())["stores"][store]
    options = {name: value for name, value in configured.items() if name != "backend"}
    plug_in = find_backend(BACKEND)
    opened = plug_in.open(plug_in.settings()(**options))
    try:
        documents = opened.documents()
        assert documents is not None
        found = documents.read(f"orders/{kind}")
        assert found is not None
        return found
    finally:
        opened.close()


def token(signing: bytes, number: int) -> str:
    """Sign as an issuer does, with the PEM of its signing document."""
    held = json.loads(signing)
    claims = {"sub": str(number), "aud": AUDIENCE, "exp": datetime.now(UTC) + timedelta(minutes=15)}
    return jwt.encode(claims, held["pem"], held["alg"], headers={"kid": held["kid"]})


def verifies(jwks: bytes, presented: str) -> bool:
    """Verify as a service does, with the key of the token's kid from a JWKS."""
    keys = {key.key_id: key for key in jwt.PyJWKSet.from_json(jwks.decode()).keys}
    key = keys.get(jwt.get_unverified_header(presented)["kid"])
    return key is not None and bool(
        jwt.decode(presented, key, algorithms=["ES256"], audience=AUDIENCE)
    )


def test_show_5_revoking_the_active_key(tmp_path: Path, forge: Forge) -> None:
    """Every target has the standby; its tokens verify everywhere, those of the revoked key nowhere; a report."""
    bench = bench_of(
        tmp_path,
        ("eu", "us"),
        deliver=[
            {"to": "files", "path": "signing/orders"},
            {"to": "store", "store": "eu"},
            {"to": "store", "store": "us"},
        ],
        publish=[
            {"to": "file", "path": "jwks/orders/jwks.json"},
            {"to": "store", "store": "eu"},
            {"to": "store", "store": "us"},
        ],
        verifiers=["pyjwt", "istio"],
    )
    assert forge.run(bench, "rotate").code == 0
    held = [bench.signing.read_bytes(), *(document(bench, s, "signing").body for s in ("eu", "us"))]
    before = [token(signing, number) for number, signing in enumerate(held)]
    bad = json.loads(held[0])["kid"]

    def published() -> list[bytes]:
        return [bench.jwks.read_bytes(), *(document(bench, s, "jwks").body for s in ("eu", "us"))]

    assert all(verifies(jwks, presented) for jwks in published() for presented in before)
    day = (datetime.now(UTC) + timedelta(hours=25)).isoformat()  # the standby has propagated
    report = tmp_path / "report.json"
    words = ("revoke", bad, "--reason", "a laptop was stolen", "--yes", "--report", str(report))
    ran = forge.run(bench, *words, travel=day)
    assert ran.code == 0, ran.err

    held = [bench.signing.read_bytes(), *(document(bench, s, "signing").body for s in ("eu", "us"))]
    (standby,) = {json.loads(signing)["kid"] for signing in held}
    assert standby != bad
    after = [token(signing, number) for number, signing in enumerate(held)]
    assert all(verifies(jwks, presented) for jwks in published() for presented in after)
    assert not any(verifies(jwks, presented) for jwks in published() for presented in before)

    assert report.stat().st_mode & 0o777 == 0o600
    written = json.loads(report.read_bytes())
    hold_against_schema(written)
    (told,) = written["key_sets"]
    assert told["signs"] == {"kid": standby, "was": "next"}
    assert [item["material_destroyed"] for item in told["revoked"]] == [True]
    assert {item["place"]: item["carries"] for item in told["trust"]} == {
        f"file:{bench.jwks}": [],
        "store:eu/orders/jwks": [],
        "store:us/orders/jwks": [],
        "rotator's own server": None,
        "pyjwt": None,
        "istio": None,
    }
    for said in (bad, "stop verifying", "its material is destroyed", "a laptop was stolen"):
        assert said in ran.out
    assert "istio (verifier): 7d6h5m" in ran.out
    assert "while it cannot fetch" in ran.out
    assert [signer["given"] for signer in told["signers"]] == [True] * 3


@pytest.fixture
def proxies(forge: Forge) -> Iterator[dict[str, Proxy]]:
    """Return ten ways to the one server, each of which can be down by itself."""
    del forge
    upstream = running(BACKEND).url
    with contextlib.ExitStack() as stack:
        yield {f"s{n}": stack.enter_context(Proxy(upstream)) for n in range(10)}


def test_show_7_nine_of_ten_targets_down(
    tmp_path: Path, forge: Forge, proxies: dict[str, Proxy]
) -> None:
    """The old key is not retired under nine signers that nobody sees; they return, and it completes."""
    names = tuple(proxies)
    bench = bench_of(tmp_path, names, url={name: proxy.url for name, proxy in proxies.items()})
    start = datetime.now(UTC)

    def run(*words: str, days: float = 0) -> Any:
        return forge.run(bench, *words, travel=(start + timedelta(days=days)).isoformat())

    assert run("rotate").code == 0
    old = json.loads(document(bench, "s0", "signing").body)["kid"]
    down = names[1:]
    with contextlib.ExitStack() as outage:
        for name in down:
            outage.enter_context(proxies[name].refusing())
        assert run("rotate", "--now", days=2).code == 75
        new = json.loads(document(bench, "s0", "signing").body)["kid"]
        assert new != old
        assert run("rotate", days=30).code == 75  # grace has long passed
        (retiring,) = [key for key in bench.read_ring()["keys"] if key["kid"] == old]
        assert retiring["phase"] == "retiring"
        assert "superseded_at" not in retiring
        assert old in {key["kid"] for key in json.loads(bench.jwks.read_bytes())["keys"]}
        shown = run("status", "--live", days=30).out
        for name in down:
            assert f"store:{name}/orders/signing does not answer" in shown
        assert "store:s0/orders/signing does not answer" not in shown
    assert run("rotate", days=31).code == 0
    assert {json.loads(document(bench, name, "signing").body)["kid"] for name in names} == {new}
    assert run("rotate", days=32).code == 0
    assert old not in {key["kid"] for key in json.loads(bench.jwks.read_bytes())["keys"]}
