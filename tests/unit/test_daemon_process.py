"""`rotator run` as a process: how it starts, serves, and ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.campaign.processes import Daemon, configure, ended, free_port, key_set, ring_of, until

BOUND = 60.0  # seconds; only a test that fails waits so long


def deployment(home: Path, *, port: int | None = None) -> Path:
    """The configuration of one key set, which has two keys for as long as any of these tests lasts."""
    web = key_set(home, "web", "EdDSA")
    web["policy"]["rotate_every"] = "1h"
    return configure(home, {"web": web}, port=port)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["TERM", "INT"]
)
def test_signals_end_it_in_order(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """What is under way is finished, the server ends too, and the exit code names the signal."""
    port = free_port()
    daemon = Daemon(deployment(tmp_path, port=port))
    with ended(daemon):
        daemon.wait_for("key.announced", 2)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/web/jwks.json", timeout=10) as answer:
            assert len(json.loads(answer.read())["keys"]) == 2
        assert daemon.end(number) == code
    assert daemon.count("daemon.stopped") == 1
    assert daemon.count("server.stopped") == 1
    assert not daemon.count("daemon.abandoned")
    assert daemon.out.lines == []  # results only, and a daemon has none
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10)
    phases = {key["phase"] for key in ring_of(tmp_path, "web")["keys"]}
    assert phases == {"active", "pending"}


def test_it_says_where_the_jwks_is_and_what_comes_next(tmp_path: Path) -> None:
    """The first lines that somebody looks for."""
    port = free_port()
    daemon = Daemon(deployment(tmp_path, port=port))
    with ended(daemon):
        daemon.wait_for("step.waiting")
        events = {event["event"]: event for event in daemon.err.events()}
        assert f"http://127.0.0.1:{port}/web/jwks.json" in events["daemon.started"]["jwks"]
        assert str(tmp_path / "public" / "web.json") in events["daemon.started"]["jwks"]
        waiting = events["step.waiting"]
        assert (waiting["key_set"], waiting["next"]) == ("web", "promote")
        assert waiting["due_at"].endswith("Z")


def test_it_comes_back_at_once_after_kill_9(tmp_path: Path) -> None:
    """Its server notices, the address is free again, and the same keys go on."""
    config = deployment(tmp_path, port=free_port())
    first = Daemon(config)
    with ended(first):
        first.wait_for("key.announced", 2)
        first.end(signal.SIGKILL)
        before = {key["kid"] for key in ring_of(tmp_path, "web")["keys"]}
        second = Daemon(config)
        with ended(second):
            second.wait_for("step.waiting")
            assert {key["kid"] for key in ring_of(tmp_path, "web")["keys"]} >= before
            assert second.end() == 143


def test_a_server_that_dies_is_started_again(tmp_path: Path) -> None:
    """The rotation goes on meanwhile; verifiers find it at the same address."""
    port = free_port()
    daemon = Daemon(deployment(tmp_path, port=port))
    with ended(daemon):
        daemon.wait_for("server.started")
        pid = next(e["pid"] for e in daemon.err.events() if e["event"] == "server.started")
        daemon.wait_for("key.announced", 2)
        os.kill(pid, signal.SIGKILL)
        daemon.wait_for("server.started", 2)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            assert answer.status == 200
        assert daemon.end() == 143


def test_an_address_in_use_is_refused(tmp_path: Path) -> None:
    """One clear message and exit code 75, after a while for a server that is about to end."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        daemon = Daemon(deployment(tmp_path, port=port))
        assert daemon.process.wait(BOUND) == 75
        daemon.err.join()
    assert f"127.0.0.1:{port}".encode() in b"".join(daemon.err.lines)
    assert not (tmp_path / "store").exists()
    for pipe in (daemon.process.stdout, daemon.process.stderr):
        assert pipe is not None
        pipe.close()


def test_it_leaves_no_core_dump(tmp_path: Path) -> None:
    """The memory of a process that holds keys is written nowhere when it crashes."""
    daemon = Daemon(deployment(tmp_path))
    with ended(daemon):
        daemon.wait_for("daemon.started")
        limits = Path(f"/proc/{daemon.process.pid}/limits").read_text()
        [line] = [line for line in limits.splitlines() if line.startswith("Max core file size")]
        assert line.split()[4] == "0"
        assert daemon.end() == 143


def test_nothing_but_the_daemon_loads_the_scheduler() -> None:
    """Importing the package costs a one-shot nothing: APScheduler comes with `run_daemon`."""
    code = (
        "import sys, rotator.daemon; print('apscheduler' in sys.modules, 'granian' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True)
    assert done.stdout.split() == [b"False", b"False"]


HANGING = """
    import sys, threading
    from dataclasses import replace
    from pathlib import Path
    from rotator import logs
    from rotator.assemble import Assembly
    from rotator.daemon import run_daemon
    from rotator.settings import load_settings

    class Hangs:
        def load(self):
            print("hangs", flush=True)
            threading.Event().wait()

    class Hanging(Assembly):
        def sites(self, server_url=None):
            return [replace(site, rings=Hangs()) for site in super().sites(server_url)]

    logs.configure("info", "json")

    def load():
        return load_settings(Path(sys.argv[1]), {"ROTATOR__SHUTDOWN_TIMEOUT": sys.argv[2] + "s"})

    sys.exit(run_daemon(Hanging(load(), logs.emit), load))
"""


def hanging(config: Path, timeout: int) -> subprocess.Popen[bytes]:
    """A daemon whose store never answers, up to the call that hangs."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", textwrap.dedent(HANGING), str(config), str(timeout)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"hangs\n"
    return process


def said(process: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    """The events of a process that ended."""
    with process:
        _, err = process.communicate(timeout=BOUND)
    return [json.loads(line) for line in err.splitlines()]


def test_the_way_out_is_bounded_even_when_a_worker_hangs(tmp_path: Path) -> None:
    """After the bound it ends all the same, says what was cut off, and exits as asked."""
    process = hanging(deployment(tmp_path), timeout=1)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(BOUND) == 143
    assert 0.9 <= time.monotonic() - began < 20
    [abandoned] = [event for event in said(process) if event["event"] == "daemon.abandoned"]
    assert abandoned["key_sets"] == ["web"]


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    """Ctrl-C twice: out at once, whatever the bound."""
    process = hanging(deployment(tmp_path), timeout=600)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    until(lambda: b"daemon.stopping" in process.stderr.readline())  # type: ignore[union-attr]
    process.send_signal(signal.SIGINT)
    assert process.wait(BOUND) == 130
    assert "daemon.abandoned" in {event["event"] for event in said(process)}
