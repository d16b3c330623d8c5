"""A command that does not become ready: with its first key, and with a new one."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tests.exec.bench import FOREVER, Bench, until
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


def test_never_ready_at_the_start(bench: Bench) -> None:
    """It ends with 75, and nothing is left running; nobody but its own family may say READY=1."""
    words = ("--ready-notify", "--ready-timeout", "300ms", "--stop-timeout", "300ms")
    running = bench.exec(*words, "--", "sh", "-c", FOREVER)
    assert running.wait() == 75
    assert "was not ready within 300ms" in running.err
    assert "rotator: hint: it does not run any more" in running.err
    assert bench.marked() == []


BROKEN = (
    'test "$ROTATOR_KID" = {kid} || test -e mended || {{ echo broken >&2; exit 9; }}; ' + FOREVER
)


def test_it_falls_back_and_is_mended(make: Callable[..., Bench]) -> None:
    """The key before is used again while that is lawful; what was mended meanwhile gets the new key then."""
    bench = make(policy={"signer_lag": "4s"})
    first = bench.rotate()
    words = ("--every", "500ms", "--ready-after", "100ms", "--stop-timeout", "500ms")
    running = bench.exec(*words, "--", "sh", "-c", BROKEN.format(kid=first))
    running.wait_for("exec.ready")
    second = bench.promote()
    back = running.wait_for("exec.fell_back")
    assert (back["kid"], back["level"]) == (first, "error")
    assert back["seconds"] <= 4
    failed = running.events("exec.not_ready")[0]
    assert (failed["kid"], failed["reason"]) == (second, "it ended with 9 before it was ready")
    (bench.home / "mended").touch()
    assert running.wait_for("exec.changed")["kid"] == second
    kids = [event["kid"] for event in running.events("exec.started")]
    assert kids == [first, second, first, second]
    assert running.end() == 143


def test_it_falls_back_and_ends(make: Callable[..., Bench]) -> None:
    """No signer goes on with a key for longer than `signer_lag`: 75, and the reason."""
    bench = make(policy={"signer_lag": "2s"})
    first = bench.rotate()
    words = ("--every", "500ms", "--ready-after", "100ms", "--stop-timeout", "500ms")
    running = bench.exec(*words, "--", "sh", "-c", BROKEN.format(kid=first))
    running.wait_for("exec.ready")
    bench.promote()
    assert running.wait() == 75
    assert len(running.events("exec.fell_back")) == 1
    assert "it ended with 9 before it was ready" in running.err
    assert "broken" in running.err, "what it said itself"
    assert bench.marked() == []


def test_it_need_not_fall_back(bench: Bench) -> None:
    """With `--if-not-ready exit` the key before is never used again."""
    words = ("--if-not-ready", "exit", "--ready-after", "100ms")
    running = bench.exec(*words, "--", "sh", "-c", BROKEN.format(kid=bench.kid))
    running.wait_for("exec.ready")
    bench.promote()
    assert running.wait() == 75
    assert running.events("exec.fell_back") == []


def test_a_rollback_ends_the_emergency(make: Callable[..., Bench]) -> None:
    """The key that it fell back to becomes the current one again: nothing is left to do."""
    bench = make()
    first = bench.rotate()
    words = ("--every", "500ms", "--ready-after", "100ms", "--", "sh", "-c")
    running = bench.exec(*words, BROKEN.format(kid=first))
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
