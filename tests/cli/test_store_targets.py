"""Documents in stores, by the real command: mirrors that are down, drift by hand, the fence, the first run."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from rotator.stores import Document, DocumentStore, find_backend
from tests.cli.bench import Bench, environment
from tests.cli.forge import Forge, refused
from tests.servers import free_port

STORES: Final[dict[str, dict[str, Any]]] = {
    "local": {"backend": "file", "path": "store"},
    "east": {"backend": "file", "path": "east"},
    "west": {"backend": "file", "path": "west", "create": False},
}
DAY: Final = timedelta(days=1)
GRACE: Final = timedelta(minutes=36)  # and a little: 15m + 5m + 5m + 2 × 5m


@dataclass
class Mirrors:
    """One key set whose documents lie in stores, and a clock that the test moves."""

    bench: Bench
    forge: Forge | None
    now: datetime

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command at this time; return all that it said."""
        assert self.forge is not None
        ran = self.forge.run(self.bench, *words, travel=self.now.isoformat())
        assert ran.code == code, (words, ran.code, ran.out, ran.err)
        return ran.out + ran.err

    def read(self, store: str, kind: str = "signing") -> Document:
        """Return a document as its readers find it in a store."""
        found = self.documents(store).read(f"web/{kind}")
        assert found is not None
        return found

    def kid(self, store: str) -> str:
        """Return the kid that signers in front of a store sign with."""
        return str(json.loads(self.read(store).body)["kid"])

    def change(self, store: str, kind: str, edit: Callable[[Document], Document | None]) -> None:
        """Change a document by hand, keeping what the store says beside it unless told otherwise."""
        there = self.read(store, kind)
        changed = edit(there)
        documents = self.documents(store)
        documents.delete(f"web/{kind}")
        if changed is not None:
            documents.write(f"web/{kind}", changed, replacing=None)

    def documents(self, store: str) -> DocumentStore:
        """Return the documents of a store, past the program."""
        options = {name: value for name, value in STORES[store].items() if name != "backend"}
        options["path"] = self.bench.path / options["path"]
        backend = find_backend("file")
        documents = backend.open(backend.settings()(**options)).documents()
        assert documents is not None
        return documents

    def key(self, phase: str) -> dict[str, Any]:
        """Return the one key of the ring in a phase."""
        (found,) = (key for key in self.bench.read_ring()["keys"] if key["phase"] == phase)
        return dict(found)


def configured(path: Path, forge: Forge, key_set: dict[str, Any], **more: Any) -> Mirrors:
    """Return a key set that had no run yet, with the stores above."""
    (path / "west").mkdir(mode=0o700, exist_ok=True)
    bench = Bench(path, key_set={"store": "local", **key_set}, more={"stores": STORES}, **more)
    return Mirrors(bench, forge, datetime.now(UTC))


@pytest.fixture
def mirrors(tmp_path: Path, forge: Forge) -> Mirrors:
    """Return a key set after its first run: signers read at two stores, verifiers at one of them."""
    targets = {
        "deliver": [{"to": "store", "store": "east"}, {"to": "store", "store": "west"}],
        "publish": [{"to": "store", "store": "east"}],
    }
    mirrors = configured(tmp_path, forge, targets)
    mirrors.run("rotate")
    return mirrors


def test_every_store_holds_it(mirrors: Mirrors) -> None:
    """The signing document in both, the JWKS beside it, each with key set and revision."""
    east, west, jwks = mirrors.read("east"), mirrors.read("west"), mirrors.read("east", "jwks")
    assert east.body == west.body
    assert {item.key_set for item in (east, west, jwks)} == {"web"}
    assert 0 < (east.revision or 0) <= mirrors.bench.read_ring()["revision"]
    assert mirrors.kid("east") in {key["kid"] for key in json.loads(jwks.body)["keys"]}
    assert (jwks.max_age, jwks.stale) == (300, 21600)
    before = mirrors.bench.tree()
    mirrors.run("rotate")
    assert mirrors.bench.tree() == before
    shown = mirrors.run("status", "--live")
    assert "store:west/web/signing" in shown


def test_a_mirror_that_is_down_holds_the_old_key_back(mirrors: Mirrors, tmp_path: Path) -> None:
    """Rule 2: its signers may still use it. The rest goes on, and it is repaired when it returns."""
    first, second = mirrors.kid("west"), mirrors.key("pending")["kid"]
    mirrors.now += 90 * DAY + timedelta(minutes=1)
    (tmp_path / "west").rename(tmp_path / "gone")
    assert "west" in mirrors.run("rotate", code=75)
    assert mirrors.kid("east") == second
    mirrors.now += 10 * DAY
    mirrors.run("rotate", code=75)
    assert mirrors.key("retiring").get("superseded_at") is None
    assert first in mirrors.read("east", "jwks").body.decode()
    (tmp_path / "gone").rename(tmp_path / "west")
    assert mirrors.kid("west") == first
    mirrors.run("rotate")
    assert mirrors.kid("west") == second
    mirrors.run("rotate")
    assert mirrors.key("retiring")["superseded_at"]
    assert first in mirrors.read("east", "jwks").body.decode()
    mirrors.now += GRACE
    mirrors.run("rotate")
    assert first not in mirrors.read("east", "jwks").body.decode()


def without_revision(document: Document) -> bytes:
    """Return what a document says, whichever revision of the ring it was derived from."""
    return re.sub(rb'"revision":\d+,', b"", document.body)


def _other_body(change: Callable[[dict[str, Any]], Any]) -> Callable[[Document], Document]:
    def edit(there: Document) -> Document:
        members = json.loads(there.body)
        changed = change(members)
        body = json.dumps(members if changed is None else changed, separators=(",", ":"))
        return replace(there, body=body.encode())

    return edit


def _broken_pem(members: dict[str, Any]) -> None:
    lines = members["pem"].splitlines()
    lines[1] = lines[1][::-1]
    members["pem"] = "\n".join(lines) + "\n"


def _other_number(members: dict[str, Any]) -> None:
    number = base64.urlsafe_b64encode(bytes(32)).decode().rstrip("=")
    members["jwk"]["d"] = number


EDITS: Final[dict[str, tuple[str, Callable[[Document], Document | None]]]] = {
    "removed": ("signing", lambda _: None),
    "no JSON": ("signing", lambda there: replace(there, body=b"what?")),
    "another PEM": ("signing", _other_body(_broken_pem)),
    "another private number": ("signing", _other_body(_other_number)),
    "another kid": ("signing", _other_body(lambda members: members.update(kid="mine"))),
    "one member more": ("signing", _other_body(lambda members: members.update(note="hello"))),
    "formatted anew": (
        "signing",
        lambda there: replace(there, body=json.dumps(json.loads(there.body), indent=2).encode()),
    ),
    "revision lost": ("signing", lambda there: replace(there, key_set=None, revision=None)),
    "no keys": ("jwks", _other_body(lambda _: {"keys": []})),
    "one key less": ("jwks", _other_body(lambda members: {"keys": members["keys"][:1]})),
    "cached for longer": ("jwks", lambda there: replace(there, max_age=86400)),
}


@pytest.mark.parametrize("how", EDITS)
def test_drift_by_hand_is_mended(mirrors: Mirrors, how: str) -> None:
    """What anybody changes is put back at the next run, from the ring as it is."""
    kind, edit = EDITS[how]
    mirrors.change("east", kind, lambda _: None)
    mirrors.run("rotate")
    before = mirrors.read("east", kind)
    mirrors.change("east", kind, edit)
    mirrors.run("rotate")
    after = mirrors.read("east", kind)
    assert (without_revision(after), after.key_set) == (without_revision(before), "web")
    assert (after.max_age, after.stale) == (before.max_age, before.stale)
    assert after.revision is not None
    assert before.revision is not None
    assert after.revision >= before.revision
    mirrors.run("check")


def test_drift_is_told(mirrors: Mirrors) -> None:
    """`check` and `status --live` say it before, the log when it is mended; nothing quotes a key."""
    _, edit = EDITS["another private number"]
    mirrors.change("east", "signing", edit)
    revision = mirrors.bench.read_ring()["revision"]
    said = "the PEM is not the key of the JWK"
    assert said in mirrors.run("check", code=75)
    assert said in mirrors.run("status", "--live", code=75)
    told = mirrors.run("rotate", "--log-level", "warning")
    assert "target.drift" in told
    assert said in told
    assert mirrors.bench.read_ring()["revision"] == revision
    number = json.loads(mirrors.read("east").body)["jwk"]["d"]
    assert number not in told


def test_what_was_not_written_by_rotator_is_left_alone(mirrors: Mirrors) -> None:
    """Somebody else uses the name: nothing is written there until the operator says so."""
    strange = Document(b"postgres://elsewhere", None, None)
    mirrors.change("west", "signing", lambda _: strange)
    mirrors.run("rotate", code=75)
    assert mirrors.read("west").body == strange.body
    hint = mirrors.run("check", code=75)
    assert "--take-over store:west/web/signing" in hint
    mirrors.run("recover", "web", "--take-over", "store:west/web/signing", "--yes")
    mirrors.run("rotate")
    assert mirrors.kid("west") == mirrors.kid("east")


def test_a_higher_revision_stops_everything(mirrors: Mirrors, forge: Forge) -> None:
    """The ring is an old one: no document replaces a higher one."""
    ahead = mirrors.read("east")
    body = ahead.body.replace(f'"revision":{ahead.revision}'.encode(), b'"revision":99')
    mirrors.change("east", "signing", lambda _: replace(ahead, body=body, revision=99))
    ran = forge.run(mirrors.bench, "rotate", travel=mirrors.now.isoformat())
    refused(ran, 65, "store:east/web/signing has revision 99", "old or restored")
    assert mirrors.read("east").revision == 99


@pytest.mark.parametrize(("mirror", "code"), [("local", 75), ("east", 0)])
def test_the_proof_of_a_first_run(tmp_path: Path, forge: Forge, mirror: str, code: int) -> None:
    """Rule 4: the ring's own store cannot vouch for itself, another can."""
    targets = {
        "deliver": [{"to": "store", "store": "local"}],
        "publish": [{"to": "store", "store": mirror}],
    }
    mirrors = configured(tmp_path, forge, targets)
    said = mirrors.run("rotate", code=code)
    assert ("nothing but its own store was asked" in said) is bool(code)
    if code:
        assert not mirrors.bench.ring.exists()
        mirrors.run("rotate", "--first-run")
    assert mirrors.kid("local")


def test_a_mirror_that_is_down_is_no_proof(tmp_path: Path, forge: Forge) -> None:
    """It may hold keys that are in use."""
    targets = {
        "deliver": [{"to": "store", "store": "west"}],
        "publish": [{"to": "store", "store": "east"}],
    }
    mirrors = configured(tmp_path, forge, targets)
    (tmp_path / "west").rmdir()
    assert "no answer from store:west/web/signing" in mirrors.run("rotate", code=75)
    assert not mirrors.bench.ring.exists()


def test_hmac(tmp_path: Path, forge: Forge) -> None:
    """Signers and verifiers each read their own document; a changed secret is seen and put back."""
    targets = {
        "deliver": [
            {"to": "store", "store": "local"},
            {"to": "store", "store": "east", "document": "verification"},
        ]
    }
    mirrors = configured(tmp_path, forge, targets, algorithm="HS256")
    mirrors.run("rotate")
    before = mirrors.read("east", "verification")
    assert mirrors.kid("local") in before.body.decode()

    def other_secret(members: dict[str, Any]) -> None:
        members["keys"][0]["k"] = base64.urlsafe_b64encode(b"x" * 32).decode().rstrip("=")

    mirrors.change("east", "verification", _other_body(other_secret))
    mirrors.run("rotate")
    after = mirrors.read("east", "verification")
    assert json.loads(after.body)["keys"] == json.loads(before.body)["keys"]


VAULT: Final = {
    "backend": "vault",
    "attempts": 1,
    "connect_timeout": "1s",
    "auth": {"method": "token", "token_env": "NO_SUCH_TOKEN"},
}


@pytest.mark.parametrize("token", [None, "t"])
def test_a_server_elsewhere_that_is_down(tmp_path: Path, token: str | None) -> None:
    """Nobody listens, or there is no login: that target gives no answer, and the key set goes on without it."""
    stores = {**STORES, "v": {**VAULT, "address": f"http://127.0.0.1:{free_port()}"}}
    targets = {
        "store": "local",
        "deliver": [{"to": "store", "store": "east"}, {"to": "store", "store": "v"}],
        "publish": [{"to": "store", "store": "east"}],
    }
    bench = Bench(tmp_path, key_set=targets, more={"stores": stores})
    env = {} if token is None else {"NO_SUCH_TOKEN": token}
    code = 77 if token is None else 75
    ran = bench.run("rotate", "--first-run", env=env)
    assert ran.code == code, ran
    assert "store:v/web/signing" in ran.err
    (active,) = (key for key in bench.read_ring()["keys"] if key["phase"] == "active")
    east = Mirrors(bench, None, datetime.now(UTC))
    assert east.kid("east") == active["kid"]
    check = bench.run("check", env=env)
    assert check.code == (77 if token is None else 69), check
    assert "no answer from store:v/web/signing" in check.out


def test_no_sdk_is_loaded_for_nothing(tmp_path: Path) -> None:
    """A run that finds nothing due loads no SDK of a store that it does not open, and no cryptography."""
    aws = {"backend": "aws", "region": "eu-central-1"}
    vault = {**VAULT, "address": "http://127.0.0.1:1"}
    targets = {
        "store": "local",
        "deliver": [{"to": "store", "store": "east"}],
        "publish": [{"to": "store", "store": "local"}],
    }
    bench = Bench(tmp_path, key_set=targets, more={"stores": {**STORES, "a": aws, "v": vault}})
    bench.good("rotate")
    script = (
        "import sys; from rotator.cli import execute; code = execute(sys.argv[1:]);"
        "print(code, *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, "-c", str(bench.config), "rotate"],
        env=environment(), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    last = done.stdout.splitlines()[-1].split()
    assert last[0] == "0"
    unwanted = "boto3 botocore hvac requests conjur_api aiohttp cryptography joserfc urllib3"
    assert not set(unwanted.split()) & set(last)
