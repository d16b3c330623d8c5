"""A command that does not become ready: with its first key, and with a new one."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from tests.exec.bench import FOREVER, Bench, Exec, children, until
from tests.servers import free_port

PAGE = """
import http.server, os, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if os.path.exists("well") else 302)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        open("asked", "a").close()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", PORT), Page)
server.serve_forever()
"""


def test_it_is_ready_when_its_url_answers(bench: Bench) -> None:
    """Not before, and a redirect is no answer."""
    port = free_port()
    page = PAGE.replace("PORT", str(port))
    url = f"http://127.0.0.1:{port}/health"
    running = bench.exec("--ready-url", url, "--", sys.executable, "-c", page)
    until((bench.home / "asked").exists)
    assert running.events("exec.ready") == []
    (bench.home / "well").touch()
    running.wait_for("exec.ready")
    assert running.end() == 143


def test_one_that_ended_was_never_ready(make: Callable[..., Bench]) -> None:
    """Also where all stood still for as long as it should have run, as in a suspend: it ended before."""
    # The command lets its supervisor stand still, and ends.
    script = "until grep -q exec.started err; do :; done; kill -STOP $PPID; exit 9"
    for after in (1, 20):
        bench = make()
        bench.rotate()
        running = bench.exec("--ready-after", f"{after}s", "--", "sh", "-c", script)
        until(partial(stands_still, running.pid))
        over = time.monotonic() + after
        if running.events("exec.ready") == []:  # else it was the command that took so long
            break
        running.send(signal.SIGCONT)
    until(lambda: time.monotonic() >= over)
    running.send(signal.SIGCONT)
    assert running.wait() == 9
    assert running.events("exec.ready") == []


def stands_still(pid: int) -> bool:
    """True once a process is stopped and has a child that ended."""

    def state(of: int) -> str:
        return Path(f"/proc/{of}/stat").read_text().rpartition(")")[2].split()[0]

    return state(pid) == "T" and "Z" in map(state, children(pid))


def test_never_ready_at_the_start(bench: Bench) -> None:
    """It ends with 75, and nothing is left running; nobody but its own family may say READY=1."""
    words = ("--ready-notify", "--ready-timeout", "300ms", "--stop-timeout", "300ms")
    running = bench.exec(*words, "--", "sh", "-c", FOREVER)
    assert running.wait() == 75
    assert "was not ready within 300ms" in running.err
    assert "rotator: hint: it does not run any more" in running.err
    assert bench.marked() == []


PROGRAM: Final = """
import os, pathlib, socket, sys
if os.environ["ROTATOR_KID"] == os.environ["GOOD"]:
    if "MENDS" in os.environ and pathlib.Path("failed").exists():
        pathlib.Path("mended").touch()
elif not pathlib.Path("mended").exists():
    pathlib.Path("failed").touch()
    sys.stderr.write("broken\\n")
    sys.exit(9)
address = "\\0" + os.environ["NOTIFY_SOCKET"][1:]
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", address)
os.execvp("tail", ["tail", "-f", "/dev/null"])
"""
"""Cannot use any key but GOOD, and says itself when it is ready; if it MENDS, it can once it was started again."""

BROKEN: Final = ("--ready-notify", "--", sys.executable, "-I", "-S", "-c", PROGRAM)
QUICK: Final = ("--every", "500ms", "--stop-timeout", "500ms")


def decided(running: Exec) -> bool:
    """True once it fell back, or gave up."""
    return bool(running.events("exec.fell_back")) or "does not become ready" in running.err


def fallen_back(make: Callable[..., Bench], lag: int, **environ: str) -> tuple[Exec, str, str, int]:
    """Let a command fall back; where nothing was left of `signer_lag`, the machine stood still: once more, with longer.

    Returns:
        It, its first key and its second, and the seconds of `signer_lag`.
    """
    for seconds in (lag, 20):
        bench = make(policy={"signer_lag": f"{seconds}s"})
        first = bench.rotate()
        running = bench.exec(*QUICK, *BROKEN, GOOD=first, **environ)
        running.wait_for("exec.ready")
        second = bench.promote()
        running.wait_for("exec.not_ready")
        until(partial(decided, running))
        if running.events("exec.fell_back"):
            break
        assert running.wait() == 75
    return running, first, second, seconds


def test_it_falls_back_and_is_mended(make: Callable[..., Bench]) -> None:
    """The key before is used again while that is lawful; what was mended meanwhile gets the new key then."""
    running, first, second, lag = fallen_back(make, 4, MENDS="when started again")
    back = running.wait_for("exec.fell_back")
    assert (back["kid"], back["level"]) == (first, "error")
    assert back["seconds"] <= lag
    failed = running.events("exec.not_ready")[0]
    assert (failed["kid"], failed["reason"]) == (second, "it ended with 9 before it was ready")
    assert running.wait_for("exec.changed")["kid"] == second
    kids = [event["kid"] for event in running.events("exec.started")]
    assert kids == [first, second, first, second]
    assert running.end() == 143


def test_it_falls_back_and_ends(make: Callable[..., Bench]) -> None:
    """No signer goes on with a key for longer than `signer_lag`: 75, and the reason."""
    running, *_ = fallen_back(make, 2)
    assert running.wait() == 75
    assert len(running.events("exec.fell_back")) == 1
    assert "it ended with 9 before it was ready" in running.err
    assert "broken" in running.err, "what it said itself"
    assert running.bench.marked() == []


def test_it_need_not_fall_back(bench: Bench) -> None:
    """With `--if-not-ready exit` the key before is never used again."""
    running = bench.exec("--if-not-ready", "exit", *BROKEN, GOOD=bench.kid)
    running.wait_for("exec.ready")
    bench.promote()
    assert running.wait() == 75
    assert running.events("exec.fell_back") == []


def test_a_rollback_ends_the_emergency(make: Callable[..., Bench]) -> None:
    """The key that it fell back to becomes the current one again: nothing is left to do."""
    bench = make()
    first = bench.rotate()
    running = bench.exec("--every", "500ms", *BROKEN, GOOD=first)
    running.wait_for("exec.ready")
    second = bench.promote()
    running.wait_for("exec.fell_back")
    assert bench.roll_back() == first
    third = bench.promote()
    running.wait_for("exec.not_ready", 2)
    assert [event["kid"] for event in running.events("exec.not_ready")] == [second, third]
    assert running.end() == 143


def test_a_key_is_not_used_beyond_its_time_while_it_starts(make: Callable[..., Bench]) -> None:
    """Replaced while the command is not ready yet, it is given up when `signer_lag` ends, long before `--ready-timeout`."""
    bench = make(policy={"signer_lag": "1s"})
    first = bench.rotate()
    script = f'test "$ROTATOR_KID" = {first} || touch ready; {FOREVER}'
    port = free_port()
    words = (
        "--ready-url",
        f"http://127.0.0.1:{port}",
        "--every",
        "300ms",
        "--stop-timeout",
        "300ms",
    )
    running = bench.exec(*words, "--", "sh", "-c", script)
    running.wait_for("exec.started")
    second = bench.promote()
    assert running.wait_for("exec.started", 2)["kid"] == second
    until((bench.home / "ready").exists)
    assert running.end() == 143
