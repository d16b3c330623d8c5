"""`rotator adopt`: what people have today enters a ring, and what does not go together is refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    load_pem_private_key,
)
from joserfc.jwk import ECKey, JWKRegistry, Key, OctKey, RSAKey

from rotator.keys import thumbprint
from tests.cli.bench import Bench
from tests.cli.forge import Forge, refused
from tests.cli.test_shows import assert_sound

KID = "2024-03-prod"


class Live:
    """A key set that has no ring, and a key that somebody else made."""

    def __init__(self, path: Path, forge: Forge, *, kty: str = "EC", **more: Any) -> None:
        self.bench = Bench(path, **more)
        self.forge = forge
        size: dict[str, Any] = {"EC": "P-256", "RSA": 2048, "oct": 256}
        self.key: Key = JWKRegistry.generate_key(kty, size[kty], {"kid": KID})
        self.file = path / "live.pem"
        if not isinstance(self.key, OctKey):
            self.file.write_bytes(self.key.as_pem(private=True))

    def publish(self, *more: dict[str, Any], **changed: Any) -> bytes:
        """Write the JWKS that verifiers read today."""
        mine = {**self.key.as_dict(private=False), "use": "sig", "alg": "ES256", **changed}
        keys = [{name: value for name, value in mine.items() if value is not None}, *more]
        self.bench.jwks.parent.mkdir(parents=True, exist_ok=True)
        self.bench.jwks.write_text(json.dumps({"keys": keys}, indent=2))
        return self.bench.jwks.read_bytes()

    def adopt(self, *words: str, **meddling: Any) -> Any:
        """Run the command."""
        source = () if "--from" in words else ("--from", str(self.file))
        return self.forge.run(self.bench, "adopt", *source, *words, **meddling)

    def published(self) -> list[str]:
        """The kids in the JWKS."""
        return [key["kid"] for key in json.loads(self.bench.jwks.read_bytes())["keys"]]


@pytest.fixture
def live(tmp_path: Path, forge: Forge) -> Live:
    """Return an ES256 key that is live."""
    return Live(tmp_path, forge)


def other(kid: str = "old", **changed: Any) -> dict[str, Any]:
    """Return another published key."""
    public = ECKey.generate_key("P-256").as_dict(private=False)
    return {**public, "kid": kid, "alg": "ES256", "use": "sig", **changed}


def test_the_live_key_goes_on_and_the_next_is_announced(live: Live) -> None:
    """Its kid comes from the live JWKS; the other key there stays; signers get the same key."""
    live.publish(other())
    ran = live.adopt()
    assert ran.code == 0, ran.err
    ring = live.bench.read_ring()
    phases = {key["kid"]: key["phase"] for key in ring["keys"]}
    assert phases.pop(KID) == "active"
    assert phases.pop("old") == "retiring"
    assert list(phases.values()) == ["pending"]
    assert set(live.published()) == {KID, "old", *phases}
    signing = json.loads(live.bench.signing.read_bytes())
    assert signing["kid"] == KID
    assert signing["jwk"]["d"] == live.key.as_dict(private=True)["d"]
    assert "old" in ran.out
    assert "2027" in ran.out or "20" in ran.out
    # Again: nothing to do. And then the key set is one like any other.
    before = live.bench.kept()
    again = live.adopt()
    assert (again.code, live.bench.kept()) == (0, before)
    assert "already" in again.out
    assert live.forge.run(live.bench, "rotate").code == 0
    assert live.forge.run(live.bench, "status").code == 0
    assert live.bench.kept() == before


def test_a_dry_run_writes_nothing(live: Live) -> None:
    """And says the same."""
    live.publish(other())
    before = live.bench.tree()
    ran = live.adopt("--dry-run")
    assert ran.code == 0, ran.err
    assert "would create" in ran.out
    assert live.bench.tree() == before


def test_killed_after_each_write(tmp_path: Path, forge: Forge) -> None:
    """Another's `rotate` does no harm in between; the same command again finishes it."""
    killed = 0
    while True:
        killed += 1
        place = tmp_path / str(killed)
        place.mkdir()
        live = Live(place, forge)
        live.publish(other())
        ended = live.adopt(kill_after=killed)
        if live.bench.ring.exists() and len(live.bench.read_ring()["keys"]) > 2:
            assert (
                killed > 8
            )  # the next key is being made: from here on it is a rotation like any other
            return
        between = forge.run(live.bench, "rotate")
        assert between.code in (0, 65, 75), between.err
        assert {KID, "old"} <= set(live.published())
        again = live.adopt()
        assert again.code == 0, again.err
        phases = sorted(key["phase"] for key in live.bench.read_ring()["keys"])
        assert phases == ["active", "pending", "retiring"]
        assert {KID, "old"} < set(live.published())
        assert len(list(live.bench.material.iterdir())) == 2
        assert ended.code == -9, ended.err


def test_a_new_place_for_the_jwks(live: Live) -> None:
    """Where nothing shows the key yet, the kid has to be said; and so does the page what comes next."""
    refused(live.adopt(), 2, "--kid", "which kid")
    assert not live.bench.ring.exists()
    ran = live.adopt("--kid", KID)
    assert ran.code == 0, ran.err
    assert "before the old JWKS goes" in ran.out
    assert_sound(live.bench)


def test_the_thumbprint_is_never_guessed(live: Live) -> None:
    """It is taken when it is asked for."""
    ran = live.adopt("--kid", "thumbprint")
    assert ran.code == 0, ran.err
    public = live.key.as_dict(private=False)
    kid = thumbprint({name: str(public[name]) for name in ("kty", "crv", "x", "y")})
    assert live.bench.state()["current"]["kid"] == kid


@pytest.mark.parametrize(
    ("published", "words", "said"),
    [
        ([{"kid": "another"}], ["--kid", KID], "as another, not as"),
        ([{"kid": None}], ["--kid", KID], "without a kid"),
        ([{"alg": "ES384"}], ["--algorithm", "ES256"], "ES384"),
        ([{"x": "AAAA"}], ["--kid", KID], "another key under that kid"),
        ([{}, {"use": "enc"}], [], "not for signatures"),
        ([{}, {"kid": KID}], [], "more than once"),
        ([{}, {"kty": "AKP"}], [], "does not publish"),
        ([{"alg": None}], ["--algorithm", "RS256"], "cannot sign by RS256"),
        ([{}], ["--algorithm", "RS256"], "signs by ES256, not by RS256"),
        ([{}], ["--since", "2999-01-01"], "future"),
        ([{}], ["--since", "yesterday"], "not a date"),
        ([{}], ["--passphrase-env", "NOTHING_THERE"], "NOTHING_THERE"),
        ([{}], ["--from", "no-such-file"], "no-such-file"),
        ([{}], ["--from", "no-such-file"], "`--from store:STORE/ADDRESS`"),
        ([{}], ["--from", "local/issuer/key#pem"], "`--from store:local/issuer/key#pem`"),
        ([{}], ["--from", "store:nowhere/x"], "no store 'nowhere'"),
        ([{}], ["--from", "store:local"], "store:STORE/ADDRESS"),
        ([{}], ["--from", "store:local/x#"], "#FIELD"),
        ([{}], ["--from", "store:local/x"], "name a file"),
    ],
)
def test_what_does_not_go_together(
    live: Live, published: list[dict[str, Any]], words: list[str], said: str
) -> None:
    """One message with a way out, and nothing is written."""
    first, *more = published
    before = live.publish(*(other(**changed) for changed in more), **first)
    ran = live.adopt(*words)
    refused(ran, 77 if "env" in "".join(words) else 2, said, "hint")
    assert live.bench.jwks.read_bytes() == before
    assert not live.bench.ring.exists()
    assert not live.bench.material.exists()


def test_a_jwks_without_this_key(live: Live) -> None:
    """Whoever reads it rejects its tokens: is that the key, is that the JWKS?"""
    live.publish()
    live.file.write_bytes(ECKey.generate_key("P-256").as_pem(private=True))
    refused(live.adopt("--kid", "new"), 2, "no such key", "is this the key")


def test_a_ring_is_never_replaced(tmp_path: Path, forge: Forge) -> None:
    """Nor one whose documents are still about."""
    live = Live(tmp_path, forge)
    assert forge.run(live.bench, "rotate").code == 0
    before = live.bench.kept()
    refused(live.adopt("--kid", KID), 2, "has a ring already")
    assert live.bench.kept() == before
    live.bench.ring.unlink()
    refused(live.adopt("--kid", KID), 65, "had a ring", "recover")


def test_the_live_jwks_is_elsewhere(live: Live) -> None:
    """Only a probe shows it: its keys are published here too, and the next key waits until it is seen there."""
    body = live.publish(other())
    live.bench.jwks.unlink()
    with _serving(body) as (url, serve):
        live.bench.key_set = {"probes": [url]}
        live.bench.configure()
        ran = live.adopt()
        assert ran.code in (0, 75), ran.err
        assert set(live.published()) > {KID, "old"}
        (coming,) = live.bench.state()["next"]
        assert not any(name.startswith("probe:") for name in coming["announced"])
        serve(live.bench.jwks.read_bytes())  # the URL is switched over to what is published here
        assert live.forge.run(live.bench, "rotate").code == 0
        (coming,) = live.bench.state()["next"]
        assert len(coming["announced"]) == 2


@contextmanager
def _serving(body: bytes) -> Iterator[tuple[str, Callable[[bytes], None]]]:
    """Serve bytes at a URL of loopback; give the URL, and what replaces them."""
    held = [body]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(held[0])))
            self.end_headers()
            self.wfile.write(held[0])

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    def serve(following: bytes) -> None:
        held[0] = following

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/jwks.json", serve
        finally:
            server.shutdown()
            thread.join()


def test_what_somebody_else_wrote_for_signers(live: Live) -> None:
    """A delivery that is filled is not replaced unseen."""
    live.bench.signing.parent.mkdir(parents=True)
    live.bench.signing.write_text('{"somebody": "else"}')
    refused(live.adopt("--kid", KID), 2, "not replaced unseen", "empty place")


def test_a_target_that_does_not_answer(live: Live) -> None:
    """What verifiers have cannot be told: nothing is begun."""
    live.bench.jwks.parent.parent.rename(live.bench.path / "gone")
    refused(live.adopt("--kid", KID), 75, "no answer")
    assert not live.bench.ring.exists()


def test_an_encrypted_pem(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its passphrase from a file or a variable; never a word of the command."""
    from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat

    private = load_pem_private_key(live.file.read_bytes(), None)
    encryption = BestAvailableEncryption(b"a passphrase")
    live.file.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    refused(live.adopt("--kid", KID), 2, "encrypted", "--passphrase-file")
    words = live.bench.path / "passphrase"
    words.write_text("wrong\n")
    refused(live.adopt("--kid", KID, "--passphrase-file", str(words)), 2, "does not fit")
    words.write_text("a passphrase\n")
    both = ("--passphrase-file", str(words), "--passphrase-env", "X")
    refused(live.adopt("--kid", KID, *both), 2, "not both")
    ran = live.adopt("--kid", KID, "--passphrase-file", str(words))
    assert ran.code == 0, ran.err
    del monkeypatch


def test_another_size_is_a_rotation(tmp_path: Path, forge: Forge) -> None:
    """RSA-2048 where 3072 is configured: the next key has the new size; the old file says nothing of `alg`."""
    live = Live(tmp_path, forge, kty="RSA", algorithm="RS256")
    live.publish(
        RSAKey.generate_key(2048).as_dict(private=False) | {"kid": "old"}, alg=None, use=None
    )
    ran = live.adopt()
    assert ran.code == 0, ran.err
    assert "RS256/3072 is configured" in ran.out
    sizes = {key["phase"]: key["size"] for key in live.bench.read_ring()["keys"]}
    assert (sizes["active"], sizes["pending"]) == (2048, 3072)
    algorithms = [key["alg"] for key in json.loads(live.bench.jwks.read_bytes())["keys"]]
    assert algorithms == ["RS256"] * 3


def test_another_type_needs_another_key_set(tmp_path: Path, forge: Forge) -> None:
    """An EC key for a key set of RSA, and keys of several types in the live JWKS."""
    (tmp_path / "one").mkdir()
    live = Live(tmp_path / "one", forge, algorithm="RS256")
    refused(live.adopt("--kid", KID), 78, "mix key types")
    (tmp_path / "two").mkdir()
    live = Live(tmp_path / "two", forge)
    rsa = RSAKey.generate_key(2048).as_dict(private=False) | {"kid": "rsa", "alg": "RS256"}
    live.publish(rsa)
    refused(live.adopt(), 2, "RSA beside EC", "allow_mixed_kty")
    live.bench.key_set = {"allow_mixed_kty": True}
    live.bench.configure()
    assert live.adopt().code == 0
    assert "rsa" in live.published()


def test_hmac(tmp_path: Path, forge: Forge) -> None:
    """A secret that is a text in a file; verifiers read it from the verification document."""
    live = Live(tmp_path, forge, kty="oct", algorithm="HS256")
    live.file.write_bytes(b"a secret of more than thirty-two bytes\n")
    refused(live.adopt(), 2, "--kid")
    refused(live.adopt("--kid", "thumbprint"), 2, "no thumbprint")
    ran = live.adopt("--kid", KID)
    assert ran.code == 0, ran.err
    assert "38 bytes" in ran.out
    document = json.loads((tmp_path / "signing" / "web-v" / "verification.json").read_bytes())
    assert document["keys"][0]["kid"] == KID
    secret = OctKey.import_key(b"a secret of more than thirty-two bytes").as_dict(private=True)["k"]
    assert document["keys"][0]["k"] == secret
    assert str(secret) not in ran.out + ran.err


def test_since(live: Live) -> None:
    """Due dates count from the day that is said; an overdue key waits for the propagation of the next."""
    live.publish()
    assert live.adopt("--since", "2020-01-01").code == 75
    state = live.bench.state()
    assert state["current"]["activated_at"] == "2020-01-01T00:00:00Z"
    (step,) = [step for step in state["waits_for"] if step["reason"] == "propagating"]
    assert step["overdue"] is True
