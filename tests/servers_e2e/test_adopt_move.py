"""A live key adopted from a file, from AWS and from Vault under load; a key set carried from store to store."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import sys
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from rotator.ring_moved import Moved, State, read_either
from rotator.stores import Store, find_backend
from tests.campaign.processes import HTTP_CACHE, POLICY, Daemon, Pair, ended, until
from tests.servers import running
from tests.servers.misdeeds import telling
from tests.servers.proxy import Proxy
from tests.servers_e2e.ground import PATIENT, SLOW, is_write
from tests.servers_e2e.leftovers import aws_client
from tests.servers_e2e.warm import Ran, Warm

LIVE = {"file": "web", "aws": "billing", "vault": "payments"}
"""By the store that it goes to: the key set, whose live key lies there, or in a file."""

RATE = 20.0


def configuration(home: Path, policy: dict[str, str], **urls: str) -> dict[str, Any]:
    """Return the three stores, in places of their own, and no key set."""
    prefix = f"e2e-{uuid.uuid4().hex[:12]}"
    stores: dict[str, Any] = {"file": {"backend": "file", "path": str(home / "store")}}
    for name in ("aws", "vault"):
        options = running(name).settings(prefix, url=urls.get(name))
        stores[name] = {"backend": name, **options, **PATIENT}
    document = {"version": 1, "state_dir": str(home / "state"), "stores": stores, "key_sets": {}}
    for folder in ("signing", "jwks"):
        (home / folder).mkdir()
    return document | {"defaults": {"policy": dict(policy)}}


def key_set(home: Path, name: str, store: str, **more: Any) -> dict[str, Any]:
    """Return one key set with its documents in local files."""
    return {
        "store": store,
        "deliver": [{"to": "files", "path": str(home / "signing" / name)}],
        "publish": [{"to": "file", "path": str(home / "jwks" / f"{name}.json")}],
        **more,
    }


class Issuer:
    """What somebody runs today: one RSA key, its JWKS with an older key in it, and signers with a copy."""

    def __init__(self, home: Path, name: str) -> None:
        self.name, self.kid = name, f"{name}-2024"
        key = RSAKey.generate_key(2048)
        self.pem = key.as_pem(private=True)
        public = {**key.as_dict(private=False), "kid": self.kid, "use": "sig", "alg": "RS256"}
        old = {**RSAKey.generate_key(2048).as_dict(private=False), "kid": "old", "alg": "RS256"}
        self.jwks = home / "jwks" / f"{name}.json"
        self.jwks.write_text(json.dumps({"keys": [public, old]}))
        copy = home / f"{name}-copy.json"
        jwk = {**key.as_dict(private=True), "kid": self.kid, "alg": "RS256"}
        copy.write_text(json.dumps({"kid": self.kid, "alg": "RS256", "jwk": jwk}))
        self.document = home / f"{name}-signer.json"
        self.document.symlink_to(copy)
        self.delivered = home / "signing" / name / "signing.json"

    def kept_in(self, store: str, home: Path) -> str:
        """Put the key where it lies today; return what `--from` takes."""
        if store == "file":
            place = home / "live.pem"
            place.write_bytes(self.pem)
            return str(place)
        fields = {"kid": self.kid, "private_key": self.pem.decode()}
        name = f"legacy-{uuid.uuid4().hex[:8]}/{self.name}"
        server: Any = running(store)
        if store == "vault":
            status, _ = server.request("POST", f"secret/data/{name}", {"data": fields})
            assert status == 200
            return f"store:vault/secret/{name}#private_key"
        region = server.settings("x")["region"]
        aws_client(server.url, region).create_secret(Name=name, SecretString=json.dumps(fields))
        return f"store:aws/{name}#private_key"

    def switch(self) -> None:
        """Let signers read what is delivered, as the page tells their operator to."""
        following = self.document.with_suffix(".new")
        following.symlink_to(self.delivered)
        following.replace(self.document)

    def published(self) -> list[str]:
        """The kids in the JWKS."""
        return [key["kid"] for key in json.loads(self.jwks.read_bytes())["keys"]]


@pytest.mark.slow
def test_show_8_a_live_rsa_key_is_adopted_and_rotated_away(tmp_path: Path, warm: Warm) -> None:
    """From PEM, AWS and Vault: the JWKS keeps its kid, the next is added, later it leaves; 0 rejected."""
    document = configuration(tmp_path, dict(POLICY))
    kind = {"algorithm": "RS256", "key_size": 2048}
    for store, name in LIVE.items():
        document["key_sets"][name] = key_set(tmp_path, name, store, **kind)
    config = tmp_path / "rotator.json"
    config.write_text(json.dumps(document))
    issuers = {store: Issuer(tmp_path, name) for store, name in LIVE.items()}
    pairs = {
        store: Pair(issuer.document, str(issuer.jwks), http_cache=HTTP_CACHE, rate=RATE)
        for store, issuer in issuers.items()
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(ended(list(pairs.values())))
        until(lambda: all(pair.tokens > 20 for pair in pairs.values()))
        for store, issuer in issuers.items():
            source = issuer.kept_in(store, tmp_path)
            ran = warm.run(config, "adopt", issuer.name, "--from", source)
            assert ran.code == 0, ran.err
            assert issuer.published()[0] == issuer.kid
            assert len(issuer.published()) == 3
            assert "PRIVATE" not in ran.out + ran.err
        for issuer in issuers.values():
            issuer.switch()
        daemon = Daemon(config)
        stack.enter_context(ended(daemon))
        for issuer in issuers.values():
            daemon.wait_for("key.destroyed", key_set=issuer.name, kid=issuer.kid)
        found = {store: pair.finish() for store, pair in pairs.items()}
        assert daemon.end() == 143
    for store, result in found.items():
        sys.stdout.write(
            f"{store}: {pairs[store].tokens} tokens, {result['checks']} checks, "
            f"{len(result['kids'])} keys, {len(result['rejected'])} rejected\n"
        )
        assert result["rejected"] == [], store
        assert result["kids"][0] == issuers[store].kid
        assert len(result["kids"]) > 1
        assert not {issuers[store].kid, "old"} & set(issuers[store].published())


def test_what_lies_elsewhere_is_not_there(tmp_path: Path, warm: Warm) -> None:
    """A secret that is not there, and a field that it has not: said so, and nothing is begun."""
    document = configuration(tmp_path, dict(SLOW))
    document["key_sets"]["web"] = key_set(tmp_path, "web", "file", algorithm="RS256", key_size=2048)
    config = tmp_path / "rotator.json"
    config.write_text(json.dumps(document))
    issuer = Issuer(tmp_path, "web")
    for store in ("aws", "vault"):
        source = issuer.kept_in(store, tmp_path).partition("#")[0]
        for words, said in (
            (f"{source}-nowhere", "has no secret at"),
            (f"{source}#nothing", "it has kid, private_key"),
            (source, "#FIELD"),
        ):
            ran = warm.run(config, "adopt", "--from", words)
            assert ran.code == 2, ran.err
            assert said in ran.err
            assert "BEGIN" not in ran.err
    assert not (tmp_path / "store").exists()


class Travel:
    """A key set that begins in the file store; AWS and Vault are behind proxies."""

    def __init__(self, home: Path, warm: Warm, proxies: dict[str, Proxy]) -> None:
        self.warm, self.proxies = warm, proxies
        urls = {name: proxy.url for name, proxy in proxies.items()}
        self.document = configuration(home, dict(SLOW), **urls)
        self.document["key_sets"]["web"] = key_set(home, "web", "file", algorithm="ES256")
        self.config = home / "rotator.json"
        self.jwks, self.signing = (
            home / "jwks" / "web.json",
            home / "signing" / "web" / "signing.json",
        )
        self.configured("file")
        ran = warm.run(self.config, "rotate")
        assert ran.code == 0, ran.err
        self.before = (self.jwks.read_bytes(), self.signing.read_bytes())

    def configured(self, store: str) -> None:
        """Say in which store the key set is."""
        self.document["key_sets"]["web"]["store"] = store
        self.config.write_text(json.dumps(self.document))

    def store(self, name: str) -> Store:
        """Open a store in this process."""
        options = {k: v for k, v in self.document["stores"][name].items() if k != "backend"}
        backend = find_backend(name)
        return backend.open(backend.settings()(**options))

    def ring(self, name: str) -> Any:
        """What stands in the place of the ring in a store."""
        store = self.store(name)
        stored = store.rings("web").load()
        store.close()
        return None if stored is None else read_either(stored.document, key_set="web")

    def move(self, source: str, goal: str, *words: str, shift: int = 0) -> Ran:
        """Move, and see that nobody who reads was told anything new."""
        way = ("move", "web", "--from", source, "--to", goal, *words)
        ran = self.warm.run(self.config, *way, shift=timedelta(minutes=shift))
        assert (self.jwks.read_bytes(), self.signing.read_bytes()) == self.before
        return ran

    def killed(self, source: str, goal: str, number: int) -> bool:
        """Move, killed as soon as the new store has answered its write of that number."""
        gate = f"kill-{uuid.uuid4().hex}"
        way = ("move", "web", "--from", source, "--to", goal)
        pid = self.warm.start(self.config, *way, gate=gate)
        kill: Callable[[Any], None] = lambda _: os.kill(pid, signal.SIGKILL)  # noqa: E731
        misdeed = self.proxies[goal].misbehaving(
            telling(kill), when=is_write, skip=number - 1, times=1
        )
        with misdeed:
            self.warm.open(gate)
            return self.warm.wait(pid).code == -9


@pytest.fixture
def proxies() -> Iterator[dict[str, Proxy]]:
    """Run a proxy before AWS and one before Vault."""
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Proxy(running(name).url)) for name in ("aws", "vault")}


@pytest.mark.slow
def test_show_9_from_file_to_vault_to_aws_killed_half_way(
    tmp_path: Path, warm: Warm, proxies: dict[str, Proxy]
) -> None:
    """Killed after each write to the new store, resumed: kids and JWKS identical, nothing lost, nothing left."""
    number, kills = 0, {"vault": 0, "aws": 0}
    while True:
        number += 1
        place = tmp_path / str(number)
        place.mkdir()
        travel = Travel(place, warm, proxies)
        first = travel.ring("file")
        alive = False
        for source, goal in (("file", "vault"), ("vault", "aws")):
            if travel.killed(source, goal, number):
                alive, kills[goal] = True, kills[goal] + 1
                ran = warm.run(travel.config, "rotate")
                left = isinstance(travel.ring(source), Moved)
                assert ran.code == (65 if left else 0), ran.err
            ran = travel.move(source, goal)
            assert ran.code == 0, ran.err
            stopped = warm.run(travel.config, "rotate", "--emergency", "--yes")
            assert stopped.code == 65
            assert f"was moved to store {goal}" in stopped.err
            travel.configured(goal)
            assert warm.run(travel.config, "rotate").code == 0
        last, tombstone = travel.ring("aws"), travel.ring("vault")
        assert [key.kid for key in last.keys] == [key.kid for key in first.keys]
        assert [key.phase for key in last.keys] == [key.phase for key in first.keys]
        assert last.revision == first.revision + 4
        assert isinstance(tombstone, Moved)
        assert tombstone.state is State.LEFT
        if not alive:
            break
    assert min(kills.values()) >= 4, kills
    _confirmed(travel)


def _confirmed(travel: Travel) -> None:
    """What was left behind is destroyed by confirming, not before; the key set goes on."""
    early = travel.move("vault", "aws", "--confirm")
    assert early.code == 75, early.err
    ran = travel.move("vault", "aws", "--confirm", shift=2)
    assert ran.code == 0, ran.err
    store, left = travel.store("vault"), travel.ring("vault")
    assert left.destroyed
    material = store.material("web")
    assert [material.get(key.locator, key.kid) for key in left.ring.keys] == [None, None]
    store.close()
    found = travel.store("aws")
    kept = found.material("web")
    assert None not in [kept.get(key.locator, key.kid) for key in travel.ring("aws").keys]
    found.close()
    for words in (("rotate",), ("check",), ("status", "--live")):
        assert travel.warm.run(travel.config, *words, shift=timedelta(minutes=2)).code == 0


def fill(server: Any, variable: str, value: bytes) -> None:
    """Set a variable of Conjur as its administrator does."""
    key = server.admin_key_file.read_bytes().strip()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", "/authn/dev/admin/authenticate", key)
        token = base64.b64encode(connection.getresponse().read()).decode()
        name = urllib.parse.quote(variable, safe="")
        headers = {
            "Authorization": f'Token token="{token}"',
            "Content-Type": "application/octet-stream",
        }
        connection.request("POST", f"/secrets/dev/variable/{name}", value, headers)
        answer = connection.getresponse()
        assert answer.status == 201, answer.read()


def test_adopted_from_conjur(tmp_path: Path, warm: Warm) -> None:
    """A JWK in a variable that somebody else filled; it stays the current key."""
    server: Any = running("conjur")
    settings = server.settings(f"e2e-{uuid.uuid4().hex[:12]}")
    document = configuration(tmp_path, dict(SLOW))
    document["stores"]["conjur"] = {"backend": "conjur", **settings, **PATIENT}
    document["key_sets"]["web"] = key_set(tmp_path, "web", "file", algorithm="ES256")
    config = tmp_path / "rotator.json"
    config.write_text(json.dumps(document))
    jwk = {**ECKey.generate_key("P-256").as_dict(private=True), "kid": "mine", "alg": "ES256"}
    address = f"{settings['prefix']}/orders/signing"
    fill(server, address, json.dumps(jwk).encode())
    ran = warm.run(config, "adopt", "--from", f"store:conjur/{address}")
    assert ran.code == 0, ran.err
    assert json.loads((tmp_path / "signing" / "web" / "signing.json").read_bytes())["kid"] == "mine"
