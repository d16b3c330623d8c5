"""Bad input, and nothing lost: one clear message, the documented exit code, ring and JWKS as they were."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.bench import Bench
from tests.cli.forge import Forge, ready, refused

Spoil = Callable[[Bench], None]


def cut(bench: Bench) -> None:
    """Cut the ring."""
    bench.ring.write_bytes(bench.ring.read_bytes()[:100])


def binary(bench: Bench) -> None:
    """Fill the ring with something else."""
    bench.ring.write_bytes(bytes(range(256)))


def of_another(bench: Bench) -> None:
    """Put another key set's ring there."""
    edit(bench, lambda ring: ring.update(key_set="api"))


def newer(bench: Bench) -> None:
    """Put a ring of a later version there."""
    edit(bench, lambda ring: ring.update(version=2))


def two_active(bench: Bench) -> None:
    """Let two keys be active."""

    def change(ring: dict[str, Any]) -> None:
        for key in ring["keys"]:
            key |= {"phase": "active", "activated_at": key["created_at"]}

    edit(bench, change)


def private(bench: Bench) -> None:
    """Put a private member into the ring."""
    edit(bench, lambda ring: ring["keys"][0]["public"].update(d="AAAA"))


def edit(bench: Bench, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the ring as JSON."""
    ring = bench.read_ring()
    change(ring)
    bench.ring.write_text(json.dumps(ring))


def stale(bench: Bench) -> None:
    """Put back a ring from before what is published: a restored backup."""
    edit(bench, lambda ring: ring.update(revision=1))


def gone(bench: Bench) -> None:
    """Lose the ring while its keys are published."""
    bench.ring.unlink()


@pytest.mark.parametrize(
    "spoil", [cut, binary, of_another, newer, two_active, private, stale, gone]
)
def test_rings(tmp_path: Path, forge: Forge, spoil: Spoil) -> None:
    """A ring that cannot be trusted: 65 and `recover`, whatever is asked; nothing changes."""
    bench = ready(forge, tmp_path)
    kid = bench.read_ring()["keys"][0]["kid"]
    spoil(bench)
    before = bench.kept(), bench.signing.read_bytes()
    asked: list[tuple[str, ...]] = [("rotate",), ("rotate", "--now"), ("hold",), ("rollback",)]
    asked += [("revoke", kid, "--reason", "x", "--yes")] if spoil is not gone else []
    for words in asked:
        ran = forge.run(bench, *words)
        refused(ran, 65, "rotator recover web --ring FILE")
    assert (bench.kept(), bench.signing.read_bytes()) == before


def test_a_ring_cut_anywhere_or_with_a_bit_flipped(tmp_path: Path, forge: Forge) -> None:
    """Cut: always refused. A flipped bit: refused, or what it changed is no decision's business."""
    bench = ready(forge, tmp_path)
    whole = bench.ring.read_bytes()
    jwks = bench.jwks.read_bytes()
    for size in range(0, len(whole), max(1, len(whole) // 40)):
        bench.ring.write_bytes(whole[:size])
        refused(forge.run(bench, "rotate"), 65, str(bench.ring), "recover")
        assert bench.kept() == (whole[:size], jwks)
    for place in range(0, len(whole), max(1, len(whole) // 40)):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        bench.ring.write_bytes(flipped)
        ran = forge.run(bench, "rotate", "--dry-run")
        assert ran.code in (0, 65, 75), ran.err
        assert "unexpected" not in ran.err
        assert bench.kept() == (bytes(flipped), jwks)


def test_material_missing(tmp_path: Path, forge: Forge) -> None:
    """Nothing is delivered without its material; what signers have stays, and the way out works."""
    bench = ready(forge, tmp_path)
    active = next(key for key in bench.read_ring()["keys"] if key["phase"] == "active")
    (bench.material / f"{active['locator']}.json").unlink()
    shutil.rmtree(bench.path / "signing" / "web")
    before = bench.kept()
    refused(forge.run(bench, "rotate"), 65, "missing", "rotator revoke")
    assert bench.kept() == before
    found = forge.run(bench, "check")
    assert found.code == 65
    assert "is missing" in found.out
    ran = forge.run(bench, "revoke", active["kid"], "--reason", "lost", "--yes")
    assert ran.code == 0, ran.err
    assert json.loads(bench.signing.read_bytes())["kid"] != active["kid"]


def test_material_of_another_key(tmp_path: Path, forge: Forge) -> None:
    """Another key's material under a key's name is never delivered."""
    bench = ready(forge, tmp_path)
    keys = {key["phase"]: key for key in bench.read_ring()["keys"]}
    files = {phase: bench.material / f"{key['locator']}.json" for phase, key in keys.items()}
    envelope = json.loads(files["active"].read_bytes())
    envelope["material"] = json.loads(files["pending"].read_bytes())["material"]
    files["active"].write_text(json.dumps(envelope))
    shutil.rmtree(bench.path / "signing" / "web")
    before = bench.kept()
    refused(forge.run(bench, "rotate"), 65, "another key's")
    assert bench.kept() == before
    assert not bench.signing.exists()


def test_material_that_others_may_read(tmp_path: Path, forge: Forge) -> None:
    """World-readable material is refused where it is needed, with the command that mends it."""
    bench = ready(forge, tmp_path)
    for file in bench.material.iterdir():
        file.chmod(0o644)
    shutil.rmtree(bench.path / "signing" / "web")
    before = bench.kept()
    refused(forge.run(bench, "rotate"), 77, "chmod", "material")
    assert bench.kept() == before
    for file in bench.material.iterdir():
        file.chmod(0o600)
    assert forge.run(bench, "rotate").code == 0
    assert bench.signing.exists()


def test_a_foreign_document_at_a_target(tmp_path: Path, forge: Forge) -> None:
    """It is never overwritten without a word; `recover --take-over` is that word."""
    bench = ready(forge, tmp_path)
    foreign = b'{"keys":[]}'
    bench.jwks.write_bytes(foreign)
    bench.jwks.with_name("jwks.json.meta.json").unlink()
    before = bench.kept()
    refused(forge.run(bench, "rotate"), 75, "did not write", f"--take-over file:{bench.jwks}")
    assert bench.kept()[1] == foreign == before[1]
    ran = forge.run(bench, "recover", "--take-over", f"file:{bench.jwks}", "--yes")
    assert ran.code == 0, ran.err
    assert len(json.loads(bench.jwks.read_bytes())["keys"]) == 2


@pytest.mark.parametrize(("number", "said"), [("EROFS", "read-only"), ("ENOSPC", "space")])
def test_disks(tmp_path: Path, forge: Forge, number: str, said: str) -> None:
    """A read-only or full disk: what was there stays, and the next run goes on."""
    bench = ready(forge, tmp_path)
    before = bench.kept()
    refused(forge.run(bench, "hold", "--reason", "x", fail=number), 69, said)
    assert bench.kept() == before
    assert forge.run(bench, "hold", "--reason", "x").code == 0


def test_a_disk_that_is_full_at_the_first_run(tmp_path: Path, forge: Forge) -> None:
    """Nothing is half done: the next run makes the first key."""
    bench = Bench(tmp_path)
    refused(forge.run(bench, "rotate", fail="ENOSPC"), 69, "space")
    assert bench.kept() == (None, None)
    assert forge.run(bench, "rotate").code == 0


def test_a_clock_years_back(tmp_path: Path, forge: Forge) -> None:
    """A clock behind the ring dates nothing and changes nothing; it says so, everywhere."""
    bench = ready(forge, tmp_path)
    before = bench.kept()
    past = (datetime.now(UTC) - timedelta(days=3000)).isoformat()
    for command in ("rotate", "status", "check"):
        ran = forge.run(bench, command, travel=past)
        assert ran.code == 75, (command, ran.err)
        assert "behind the latest date in the ring" in ran.words
        assert "recover --clock" in ran.words
    assert bench.kept() == before
    assert forge.run(bench, "rotate").code == 0


def test_a_clock_years_ahead(tmp_path: Path, forge: Forge) -> None:
    """A clock years ahead with nobody to confirm it promotes nothing, until an operator says it is right."""
    bench = ready(forge, tmp_path)
    before = bench.kept()
    future = (datetime.now(UTC) + timedelta(days=3000)).isoformat()
    ran = forge.run(bench, "rotate", travel=future)
    assert ran.code == 75
    assert "ahead of the latest date in the ring" in ran.words
    assert bench.kept() == before
    said = forge.run(bench, "recover", "--clock", "--yes", travel=future)
    assert said.code == 0, (said.out, said.err)
    assert bench.kept() != before


def test_a_first_run_with_a_clock_that_is_wrong_is_put_right(tmp_path: Path, forge: Forge) -> None:
    """Dates from the future are cleared by `recover --clock`, and the key set goes on."""
    bench = Bench(tmp_path)
    future = (datetime.now(UTC) + timedelta(days=3000)).isoformat()
    assert forge.run(bench, "rotate", travel=future).code == 0
    assert forge.run(bench, "rotate").code == 75
    ran = forge.run(bench, "recover", "--clock", "--yes")
    assert ran.code == 0, (ran.out, ran.err)
    assert forge.run(bench, "rotate").code == 0


def test_two_configurations_on_one_store(tmp_path: Path, forge: Forge) -> None:
    """Both work; the longer durations are in force, and the replica that differs says so."""
    bench = ready(forge, tmp_path)
    other = Bench(tmp_path, policy={"token_ttl": "1h", "signer_lag": "5m"})
    assert forge.run(other, "rotate").code == 0
    bench.configure(token_ttl="15m")
    ran = forge.run(bench, "rotate")
    assert ran.code == 0
    shown = forge.run(bench, "status")
    assert re.search(r"token_ttl: configured 15m, in force 1h", shown.words)


def test_revoking(tmp_path: Path, forge: Forge) -> None:
    """An unknown kid changes nothing; every key works, after `--yes`."""
    bench = ready(forge, tmp_path)
    kids = [key["kid"] for key in bench.read_ring()["keys"]]
    before = bench.kept()
    refused(forge.run(bench, "revoke", "nobody", "--reason", "x"), 2, "nobody", kids[0])
    refused(forge.run(bench, "revoke", kids[0], "nobody", "--reason", "x", "--yes"), 2, "nobody")
    refused(forge.run(bench, "revoke", *kids, "--reason", "x"), 2, "confirmation", "--yes")
    assert bench.kept() == before
    ran = forge.run(bench, "revoke", *kids, "--reason", "x", "--yes")
    assert ran.code == 0, ran.err
    served = {key["kid"] for key in json.loads(bench.jwks.read_bytes())["keys"]}
    assert not served & set(kids)
    assert json.loads(bench.signing.read_bytes())["kid"] in served


def test_nothing_to_roll_back_to(tmp_path: Path, forge: Forge) -> None:
    """A rollback without a previous key is refused, with what would be needed."""
    bench = ready(forge, tmp_path)
    before = bench.kept()
    refused(forge.run(bench, "rollback"), 2, "nothing to roll back to", "previous key")
    assert bench.kept() == before


def test_a_lost_ring_comes_back(tmp_path: Path, forge: Forge) -> None:
    """`recover --ring FILE` works, after `--yes`; so does an emergency where there is no backup."""
    bench = ready(forge, tmp_path)
    backup = tmp_path / "backup.json"
    backup.write_bytes(bench.ring.read_bytes())
    bench.ring.unlink()
    refused(forge.run(bench, "recover", "--ring", str(backup)), 2, "confirmation")
    assert not bench.ring.exists()
    ran = forge.run(bench, "recover", "--ring", str(backup), "--yes")
    assert ran.code == 0, (ran.out, ran.err)
    assert forge.run(bench, "rotate").code == 0
    bench.ring.unlink()
    ran = forge.run(bench, "rotate", "--emergency", "--yes")
    assert ran.code == 0, (ran.out, ran.err)
    assert forge.run(bench, "rotate").code == 0


def test_what_is_no_backup(tmp_path: Path, forge: Forge) -> None:
    """The wrong file is a word misspelt: nobody is sent to an emergency for it."""
    bench = ready(forge, tmp_path)
    before = bench.kept()
    torn, others = tmp_path / "torn.json", tmp_path / "others.json"
    torn.write_bytes(bench.ring.read_bytes()[:200])
    others.write_text(bench.ring.read_text().replace('"key_set":"web"', '"key_set":"api"'))
    for file in (bench.config, bench.jwks, torn, others):
        ran = forge.run(bench, "recover", "--ring", str(file), "--yes")
        refused(ran, 2, str(file), "this is no backup of a ring of key set web", "rotator export")
        assert "emergency" not in ran.words
    assert bench.kept() == before
