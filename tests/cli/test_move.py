"""`rotator move` between two file stores, and `rotator export` with `recover --ring` as backup and restore."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.campaign.processes import Daemon, ended
from tests.cli.bench import BRIEF
from tests.cli.forge import Forge, ready, refused

SAME = ("keys", "holders", "protection", "first_activated_at")


class Stores:
    """A key set in the store `local`, and the empty store `other`."""

    def __init__(self, path: Path, forge: Forge, **more: Any) -> None:
        self.forge = forge
        self.bench = ready(forge, path, policy=BRIEF, **more)
        self.configured("local")

    def configured(self, store: str, **policy: str) -> None:
        """Say in which store the key set is."""
        self.bench.configure(**policy)
        document = json.loads(self.bench.config.read_text())
        document["stores"]["other"] = {"backend": "file", "path": "other"}
        for key_set in document["key_sets"].values():
            key_set["store"] = store
        self.bench.config.write_text(json.dumps(document))

    def move(self, *words: str, **meddling: Any) -> Any:
        """Run the command."""
        way = ("--from", "local", "--to", "other")
        return self.forge.run(self.bench, "move", *self.bench.names, *way, *words, **meddling)

    def run(self, *words: str, **meddling: Any) -> Any:
        """Run another command."""
        return self.forge.run(self.bench, *words, **meddling)

    @property
    def there(self) -> Path:
        """Where the ring is to be."""
        return self.bench.path / "other" / self.bench.names[0]

    def located(self) -> set[str]:
        """The material in the new store."""
        place = self.there / "material"
        return {item.stem for item in place.iterdir()} if place.exists() else set()


@pytest.fixture
def stores(tmp_path: Path, forge: Forge) -> Stores:
    """Return a key set after its first run, and a second store."""
    return Stores(tmp_path, forge)


def told(ring: dict[str, Any]) -> list[Any]:
    """Return what must not change."""
    keys = [
        {name: value for name, value in key.items() if name != "locator"} for key in ring["keys"]
    ]
    return [keys, *(ring.get(name) for name in SAME[1:])]


def kids(jwks: bytes) -> set[str]:
    """Return the kids of a JWKS."""
    return {key["kid"] for key in json.loads(jwks)["keys"]}


def test_a_move_changes_nothing_that_anybody_reads(stores: Stores) -> None:
    """Kids, dates, JWKS, signing document: byte for byte; the old configuration stops with 65."""
    bench = stores.bench
    before, jwks, signing = bench.read_ring(), bench.jwks.read_bytes(), bench.signing.read_bytes()
    ran = stores.move()
    assert ran.code == 0, ran.err
    assert "--confirm" in ran.out
    ring = json.loads((stores.there / "ring.json").read_bytes())
    assert told(ring) == told(before)
    assert ring["revision"] == before["revision"] + 2
    assert stores.located() == {key["locator"] for key in ring["keys"]}
    for words in (
        ("rotate",),
        ("status",),
        ("export",),
        ("jwks",),
        ("rotate", "--emergency", "--yes"),
        ("recover", "--clock", "--yes"),
        ("recover", "--ring", str(stores.there / "ring.json"), "--yes"),
    ):
        refused(stores.run(*words), 65, "was moved to store other", "store: other")
    assert (bench.jwks.read_bytes(), bench.signing.read_bytes()) == (jwks, signing)
    again = stores.move()
    assert again.code == 0
    assert "already" in again.out
    assert "now say `store: other`" in again.out
    stores.configured("other")
    configured = stores.move()
    assert configured.code == 0
    assert "says `store: other` already" in configured.out
    assert "now say" not in configured.out
    assert "--confirm` destroys what is left in store local" in configured.out
    assert stores.run("rotate").code == 0
    assert stores.run("check").code == 0
    assert (bench.jwks.read_bytes(), bench.signing.read_bytes()) == (jwks, signing)


def test_a_dry_run_writes_nothing(stores: Stores) -> None:
    """It reads and proves the material."""
    before = stores.bench.tree()
    ran = stores.move("--dry-run")
    assert ran.code == 0, ran.err
    assert stores.bench.tree() == before
    next(stores.bench.material.iterdir()).unlink()
    refused(stores.move("--dry-run"), 65, "is missing", "revoke")


def test_before_the_move_the_new_configuration_stops(stores: Stores) -> None:
    """Keys are in use and there is no ring: nothing is minted (rule 4)."""
    stores.configured("other")
    refused(stores.run("rotate"), 65, "there is no ring", "keys of it are at")
    assert not stores.there.exists()
    ran = stores.move()
    assert ran.code == 0, ran.err
    assert stores.run("rotate").code == 0


def test_confirmed(stores: Stores) -> None:
    """Only with the new configuration, only after its time; then the material is gone, the tombstone stays."""
    refused(stores.move("--confirm"), 2, "still configured in store local")
    stores.configured("other")
    refused(stores.move("--confirm"), 2, "is not moved")
    assert stores.move().code == 0
    kept = sorted(stores.bench.material.iterdir())
    ran = stores.move("--confirm")
    if ran.code == 75:  # within the second in which a stalled writer could still come
        assert "may yet write" in ran.err
        assert sorted(stores.bench.material.iterdir()) == kept
        ran = _until_confirmed(stores)
    assert ran.code == 0, ran.err
    assert not list(stores.bench.material.iterdir())
    assert json.loads(stores.bench.ring.read_bytes())["destroyed"] is True
    assert "already" in stores.move("--confirm").out
    assert stores.run("rotate").code == 0
    assert stores.run("check").code == 0
    stores.configured("local")
    refused(stores.run("rotate"), 65, "was moved")


def _until_confirmed(stores: Stores) -> Any:
    for _ in range(500):
        ran = stores.move("--confirm")
        if ran.code != 75:
            break
    return ran


def test_killed_after_each_write(tmp_path: Path, forge: Forge) -> None:
    """Never two rings, always one way on; the JWKS never changes."""
    killed = 0
    while True:
        killed += 1
        place = tmp_path / str(killed)
        place.mkdir()
        stores = Stores(place, forge)
        before, jwks = stores.bench.read_ring(), stores.bench.jwks.read_bytes()
        ended = stores.move(kill_after=killed)
        rings = [stores.bench.ring, stores.there / "ring.json"]
        formats = [json.loads(ring.read_bytes())["format"] for ring in rings if ring.exists()]
        assert formats.count("rotator.ring") <= 1
        old = stores.run("rotate")
        assert old.code == (0 if formats[0] == "rotator.ring" else 65), old.err
        again = stores.move()
        assert again.code == 0, again.err
        ring = json.loads(rings[1].read_bytes())
        assert told(ring) == told(before)
        assert stores.located() == {key["locator"] for key in ring["keys"]}
        assert stores.bench.jwks.read_bytes() == jwks
        stores.configured("other")
        assert stores.run("rotate").code == 0
        if ended.code == 0:
            assert killed > 8
            return
        assert ended.code == -9, ended.err


def test_several_at_once_and_one_that_fails(tmp_path: Path, forge: Forge) -> None:
    """One that cannot be moved does not keep the others, and says why."""
    stores = Stores(tmp_path, forge, names=("web", "api"))
    for item in (tmp_path / "store" / "api" / "material").iterdir():
        item.unlink()
    ran = stores.move()
    assert ran.code == 65
    assert "of key set api is missing" in ran.err
    assert (tmp_path / "other" / "web" / "ring.json").exists()
    refused(stores.run("status", "web"), 65, "was moved")
    assert stores.run("status", "api").code == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--from", "local", "--to", "nowhere"), 2, "no store 'nowhere'"),
        (("--from", "local", "--to", "local"), 2, "not to its own"),
        (("--from", "other", "--to", "local"), 65, "store other has no ring"),
        (("--from", "other", "--to", "third"), 2, "neither of both"),
    ],
)
def test_ways_that_are_none(stores: Stores, words: tuple[str, ...], code: int, said: str) -> None:
    """Refused before anything is written."""
    document = json.loads(stores.bench.config.read_text())
    document["stores"]["third"] = {"backend": "file", "path": "third"}
    stores.bench.config.write_text(json.dumps(document))
    before = stores.bench.kept()
    refused(stores.run("move", "web", *words), code, said, "hint" if code == 65 else "")
    assert stores.bench.kept() == before


def test_two_rings_are_never_made_one(stores: Stores) -> None:
    """A ring in both stores: which is the truth is nobody's guess."""
    shutil.copytree(stores.bench.ring.parent, stores.there)
    refused(stores.move(), 65, "of its own", "in use")


def test_a_tombstone_that_is_torn(stores: Stores) -> None:
    """Neither a ring nor a first run."""
    assert stores.move().code == 0
    text = stores.bench.ring.read_text().replace('"state":"left"', '"state":"??"')
    stores.bench.ring.write_text(text)
    refused(stores.move(), 65, "cannot be read")
    refused(stores.run("rotate"), 65, "was moved")


def test_export_and_restore(stores: Stores, tmp_path: Path) -> None:
    """What `export` writes is the ring, byte for byte; `recover --ring` makes it the truth again."""
    bench, backup = stores.bench, tmp_path / "backup.json"
    printed = stores.run("export")
    assert printed.code == 0
    assert printed.out.encode().rstrip(b"\n") == bench.ring.read_bytes().rstrip(b"\n")
    assert stores.run("export", "--output", str(backup)).code == 0
    assert backup.read_bytes() == bench.ring.read_bytes()
    assert backup.stat().st_mode & 0o777 == 0o600
    assert "d" not in {
        name for key in json.loads(backup.read_bytes())["keys"] for name in key["public"]
    }
    jwks, revision = bench.jwks.read_bytes(), bench.read_ring()["revision"]
    bench.ring.unlink()
    refused(stores.run("rotate"), 65, "recover")
    refused(stores.run("export"), 65, "has no ring")
    ran = stores.run("recover", "--ring", str(backup), "--yes")
    assert ran.code == 0, ran.err
    assert bench.read_ring()["revision"] > revision
    assert kids(jwks) < kids(bench.jwks.read_bytes())
    refused(stores.run("export", "--output", str(tmp_path / "no" / "x")), 69, "cannot write")


def test_a_backup_across_stores(stores: Stores, tmp_path: Path) -> None:
    """A ring exported before the move comes back in the new store: its material is found by its kid."""
    backup = tmp_path / "backup.json"
    assert stores.run("export", "--output", str(backup)).code == 0
    document = json.loads(backup.read_bytes())
    for number, key in enumerate(document["keys"]):
        key["locator"] = f"elsewhere/slot-{number}"
    backup.write_text(json.dumps(document))
    assert stores.move().code == 0
    stores.configured("other")
    jwks = stores.bench.jwks.read_bytes()
    (stores.there / "ring.json").unlink()
    ran = stores.run("recover", "--ring", str(backup), "--yes")
    assert ran.code == 0, ran.err
    ring = json.loads((stores.there / "ring.json").read_bytes())
    assert kids(jwks) < kids(stores.bench.jwks.read_bytes())
    assert {key["locator"] for key in ring["keys"]} == stores.located()
    assert stores.run("rotate").code == 0


def test_a_daemon_with_the_old_configuration(stores: Stores) -> None:
    """It says what happened, goes on serving nothing new, and ends as ever; the new one takes over."""
    stores.configured("local", resync="200ms")
    before = stores.bench.jwks.read_bytes()
    daemon = Daemon(stores.bench.config)
    with ended(daemon):
        daemon.wait_for("daemon.started")
        assert stores.move().code == 0
        daemon.wait_for("key_set.failing", key_set="web")
        (said,) = [item for item in daemon.err.events() if item["event"] == "key_set.failing"]
        assert "was moved to store other" in said["reason"]
        assert "store: other" in said["hint"]
        assert daemon.end() == 143
    assert stores.bench.jwks.read_bytes() == before
    stores.configured("other")
    later = Daemon(stores.bench.config)
    with ended(later):
        later.wait_for("step.waiting", key_set="web")
        assert later.end() == 143
        assert not later.count("key_set.failing")
    assert stores.bench.jwks.read_bytes() == before
