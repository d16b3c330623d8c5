"""What the commands answer to words that are nearly right, and hints that can be typed as they stand."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.bench import BOUND, COMMAND, Bench, environment
from tests.cli.forge import Forge, ready, refused


def test_a_kid_behind_now(tmp_path: Path, forge: Forge) -> None:
    """`--now KID` would mean a key set of that name; the hint is the word that was meant."""
    bench = ready(forge, tmp_path)
    kid = json.loads(bench.signing.read_bytes())["kid"]
    before = bench.kept()
    refused(forge.run(bench, "rotate", "--now", kid), 2, f"--now={kid}")
    dashed = "-" + "A" * 42
    refused(forge.run(bench, "rotate", "--now", dashed), 2, f"--now={dashed}")
    assert bench.kept() == before


def test_an_unknown_key_set_lists_the_known_once(tmp_path: Path, forge: Forge) -> None:
    """In the hint."""
    bench = Bench(tmp_path, names=("web", "api"))
    ran = forge.run(bench, "status", "something")
    refused(ran, 2, "no key set 'something'", "it has web, api")
    assert "known are" not in ran.err


@pytest.mark.parametrize("until", ["1000y", "101y", "999999999y", "9999-12-31"])
def test_a_calendar_has_an_end(bench: Bench, forge: Forge, until: str) -> None:
    """The limit is named."""
    refused(forge.run(bench, "plan", "--until", until), 2, "100 years", "100y")


def test_the_history_of_an_unknown_kid(tmp_path: Path, forge: Forge) -> None:
    """The known ones are named; a kid of one of several key sets is found."""
    bench = ready(forge, tmp_path, names=("web", "api"))
    kid = json.loads(bench.signing.read_bytes())["kid"]
    refused(forge.run(bench, "history", "--kid", "nosuch"), 2, "'nosuch'", kid)
    refused(forge.run(bench, "history", "api", "--kid", kid), 2, kid)
    ran = forge.run(bench, "history", "--kid", kid)
    assert ran.code == 0
    assert kid in ran.out
    assert "api" not in ran.out


@pytest.mark.parametrize("words", [("status",), ("status", "--json"), ("--help",), ("init", "-h")])
def test_a_full_disk_behind_the_output(bench: Bench, words: tuple[str, ...]) -> None:
    """No fault of the program: it says that nothing can be written there."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, "-c", str(bench.config), *words],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
            timeout=BOUND,
            check=False,
        )
    assert done.returncode == 1
    assert "cannot be written: No space left on device" in done.stderr
    assert "fault of the program" not in done.stderr


def test_an_order_is_carried_out_whatever_becomes_of_the_output(running: Bench) -> None:
    """A full disk behind `>` must not leave a revoked key at signers."""
    kid = json.loads(running.signing.read_bytes())["kid"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, "-c", str(running.config), "revoke", kid, "--reason", "x", "--yes"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(),
            timeout=BOUND,
            check=False,
        )
    assert done.returncode == 1
    assert json.loads(running.signing.read_bytes())["kid"] != kid
    assert running.run("due").code == 1


def test_hints_keep_the_configuration(tmp_path: Path, forge: Forge) -> None:
    """With `-c`, a hint's command works as it stands; also with a blank in the path."""
    place = tmp_path / "a place"
    place.mkdir()
    bench = ready(forge, place)
    bench.ring.unlink()
    command = f"`rotator recover web --ring FILE --config '{bench.config}'`"
    refused(forge.run(bench, "status"), 65, command)
    assert command in forge.run(bench, "check").out
    bench.config.unlink()
    refused(forge.run(bench, "status"), 78, "`rotator init")


def test_every_help_names_the_common_options(bench: Bench, forge: Forge) -> None:
    """Those that a command's own help leaves out, too."""
    from rotator.cli.root import COMMANDS

    for name in COMMANDS:
        assert "`rotator --help` has more options" in forge.run(bench, name, "--help").out
