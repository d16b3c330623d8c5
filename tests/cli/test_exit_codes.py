"""Each exit code of `docs/exit-codes.md`, from the real command, and each of them once from a new interpreter."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from tests.cli.bench import BOUND, COMMAND, ROOT, Bench, environment
from tests.cli.forge import Forge


def test_0_done_and_0_waiting(bench: Bench) -> None:
    """The desired state is reached, or merely waited for."""
    assert bench.run_from_nothing("rotate").code == 0
    assert bench.run_from_nothing("rotate").code == 0
    assert bench.run_from_nothing("status").code == 0


def test_3_changed(bench: Bench) -> None:
    """Only --detailed-exitcode tells a change from none."""
    assert bench.run_from_nothing("rotate", "--dry-run", "--detailed-exitcode").code == 3
    assert bench.run_from_nothing("rotate", "--detailed-exitcode").code == 3
    assert bench.run_from_nothing("rotate", "--detailed-exitcode").code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("rotat",),
        ("rotate", "--unknown"),
        ("rotate", "nowhere"),
        ("rotate", "--emergency"),
        ("rotate", "--emergency", "--now"),
        ("revoke", "--reason", "x"),
        ("revoke", "no-such-kid", "--reason", "x"),
        ("pin", "no-such-kid"),
        ("unpin", "no-such-kid"),
        ("release",),
        ("rollback",),
        ("recover",),
        ("recover", "--clock", "--forget", "file:/x"),
        ("recover", "--clock"),
        ("recover", "--ring", "no-such-file", "--yes"),
        ("recover", "--forget", "file:/x", "--yes"),
        ("recover", "--take-over", "file:/x", "--yes"),
        ("plan", "--until", "yesterday"),
        ("plan", "--until", "2001-01-01"),
    ],
)
def test_2_usage(bench: Bench, forge: Forge, words: tuple[str, ...]) -> None:
    """What was asked for cannot be; nothing is changed, and the way out is named."""
    assert forge.run(bench, "rotate").code == 0
    before = bench.kept()
    ran = forge.run(bench, *words)
    assert ran.code == 2, ran.err
    assert ran.err.count("rotator: error: ") == 1
    assert "Traceback" not in ran.err
    assert bench.kept() == before


def test_65_corrupt(running: Bench) -> None:
    """A ring that cannot be trusted."""
    running.ring.write_bytes(running.ring.read_bytes()[:-1])
    for command in ("rotate", "status", "plan", "jwks", "history", "check"):
        assert running.run(command).code == 65


def test_65_missing(running: Bench) -> None:
    """A ring that is gone while its keys are published, and one that never was where it is needed."""
    running.ring.unlink()
    assert running.run_from_nothing("rotate").code == 65
    assert running.run_from_nothing("check").code == 65
    assert running.run_from_nothing("jwks").code == 65


def test_69_store_down(running: Bench) -> None:
    """A store that does not answer: its file system is gone."""
    (running.path / "store").rename(running.path / "elsewhere")
    document = json.loads(running.config.read_text())
    document["stores"]["local"] = {"backend": "file", "path": "unmounted/store"}
    running.config.write_text(json.dumps(document))
    for command in ("rotate", "status", "check"):
        ran = running.run_from_nothing(command)
        assert ran.code == 69, ran.err
    assert "mounted" in ran.words


def test_75_target_failing(running: Bench) -> None:
    """A target that cannot be written is temporary; the keys go on as they are."""
    deliveries = running.path / "signing"
    deliveries.rename(running.path / "gone")
    ran = running.run_from_nothing("rotate")
    assert ran.code == 75
    assert str(deliveries) in ran.err
    assert running.run_from_nothing("status", "--live").code == 75
    assert running.run_from_nothing("check").code == 75


def test_77_permission(running: Bench) -> None:
    """Something that others may read, or we may not: the hint is the command that mends it."""
    running.ring.chmod(0o644)
    ran = running.run_from_nothing("rotate")
    assert ran.code == 77
    assert f"chmod 600 {running.ring}" in ran.words.replace("0600", "600")
    running.ring.chmod(0o600)
    assert running.run_from_nothing("rotate").code == 0


def test_78_configuration(bench: Bench) -> None:
    """A configuration with a fault, and none at all."""
    bench.config.write_text("{")
    assert bench.run_from_nothing("rotate").code == 78
    bench.config.unlink()
    ran = bench.run_from_nothing("status")
    assert ran.code == 78
    assert "rotator init" in ran.err


def test_78_nothing_to_look_at(tmp_path: Path) -> None:
    """The built-in server counts only for the daemon that runs it."""
    bench = Bench(tmp_path, key_set={"publish": []}, more={"server": {"listen": "127.0.0.1:0"}})
    ran = bench.run_from_nothing("rotate")
    assert ran.code == 78
    assert "publish" in ran.err
    assert "probes" in ran.err
    assert not bench.ring.exists()


def test_due_is_0_1_or_255(bench: Bench) -> None:
    """For ExecCondition=: due, not due, any fault."""
    assert bench.run("due").code == 0
    before = bench.tree()
    assert bench.run("due").code == 0
    assert bench.tree() == before
    bench.good("rotate")
    assert bench.run("due").code == 1
    bench.jwks.unlink()
    assert bench.run("due").code == 0  # a document at a target differs
    bench.good("rotate")
    assert bench.run("due", "nowhere").code == 255
    assert bench.run("due", "--unknown").code == 255
    bench.ring.write_bytes(b"")
    assert bench.run("due").code == 255
    bench.config.unlink()
    assert bench.run("due").code == 255


def test_several_key_sets_one_failing(tmp_path: Path) -> None:
    """One failing key set never stops another, and the worst decides the exit code."""
    bench = Bench(tmp_path, names=("web", "api", "mobile"))
    bench.good("rotate", "web")
    bench.ring.write_bytes(b"not a ring")
    ran = bench.run("rotate")
    assert ran.code == 65
    assert ran.err.count("rotator: error: ") == 1
    states = {one["key_set"]: one for one in bench.answer("status")["key_sets"]}
    assert states["api"]["current"]
    assert states["mobile"]["current"]
    (tmp_path / "store" / "api" / "ring.json").chmod(0o666)
    assert bench.run("rotate").code == 77  # DESIGN: 78 > 77 > 65


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """Read a process's stderr until a line has a text; bounded."""
    assert process.stderr is not None
    timer = threading.Timer(BOUND, process.kill)
    timer.start()
    try:
        for line in process.stderr:
            if text in line:
                return line
    finally:
        timer.cancel()
    raise AssertionError(f"it ended without saying {text!r}")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("command", ["run", "serve"])
def test_130_and_143_signals(tmp_path: Path, command: str, number: int, code: int) -> None:
    """Ctrl-C and SIGTERM end a daemon in order, and its exit code names them."""
    bench = Bench(tmp_path, more={"server": {"listen": "127.0.0.1:0"}})
    process = bench.start(command, "--log-format", "json")
    with process:
        wait_for(process, '"server.started"')
        process.send_signal(number)
        _, err = process.communicate(timeout=BOUND)
    assert process.returncode == code, err
    assert "Traceback" not in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_one_shot_that_is_interrupted(bench: Bench, number: int, code: int) -> None:
    """Ctrl-C anywhere: nothing half done after the next run. Here it hangs at a probe that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        probed = {**bench.key_set, "probes": [f"http://127.0.0.1:{port}/jwks.json"]}
        probing = Bench(bench.path, key_set=probed)
        process = probing.start("rotate")
        with process:
            silent.settimeout(BOUND)
            connection, _ = silent.accept()
            with connection:
                process.send_signal(number)
                _, err = process.communicate(timeout=BOUND)
        assert process.returncode == code, err
        assert "Traceback" not in err
    bench.configure()
    bench.good("rotate")
    assert bench.state()["current"]


def test_1_unexpected(bench: Bench, tmp_path: Path) -> None:
    """A fault of the program: one sentence, and no value of anything even at DEBUG."""
    # A backend of somebody else's that breaks the contract, found through its entry point.
    plugin = tmp_path / "plugin"
    (plugin / "broken-1.dist-info").mkdir(parents=True)
    (plugin / "broken-1.dist-info" / "METADATA").write_text("Name: broken\nVersion: 1\n")
    (plugin / "broken-1.dist-info" / "entry_points.txt").write_text(
        "[rotator.backends]\nbroken = broken:backend\n"
    )
    (plugin / "broken.py").write_text(
        "from pydantic import BaseModel\n"
        "from rotator.plugin import Backend\n"
        "class Settings(BaseModel):\n    pass\n"
        "def open(settings):\n    secret = 'hunter2'\n    raise KeyError(secret)\n"
        "backend = Backend(name='broken', settings=lambda: Settings, open=open)\n"
    )
    document = json.loads(bench.config.read_text())
    document["stores"] = {"local": {"backend": "broken"}}
    bench.config.write_text(json.dumps(document))
    env = {"PYTHONPATH": str(plugin)}
    ran = bench.run_from_nothing("rotate", env=env)
    assert ran.code == 1
    assert "Traceback" not in ran.err
    assert len(ran.err.splitlines()) == 2
    debug = bench.run_from_nothing("rotate", "--log-level", "debug", env=env)
    assert debug.code == 1
    assert "broken.py" in debug.err
    assert "hunter2" not in ran.err
    assert "KeyError('hunter2')" not in debug.err


def test_a_reader_that_goes_away_is_no_fault(running: Bench) -> None:
    """`rotator status | head -0` is quiet and ends as it would have."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*COMMAND, "-c", str(running.config), "status"],
            stdout=writing,
            stderr=subprocess.PIPE,
            env=environment(),
            timeout=BOUND,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_every_code_is_documented() -> None:
    """The table of the documentation has the codes that errors have, and the other way round."""
    from rotator import errors

    text = (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    listed = {int(code) for code in re.findall(r"^\| (\d+) ", text, re.MULTILINE)}
    classes = [item for item in vars(errors).values() if isinstance(item, type)]
    raised = {item.exit_code for item in classes if issubclass(item, errors.RotatorError)}
    assert listed == raised | {0, 3, 130, 143, 255}
