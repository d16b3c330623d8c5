"""A daemon as operators see it: health, metrics, `rotator healthcheck`; and metrics of a one-shot."""

from __future__ import annotations

import json
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rotator.metrics.textfile import parsed
from tests.campaign.processes import BOUND, Daemon, ended, free_port, until
from tests.cli.bench import Bench, hold_against_schema


def ask(port: int, path: str) -> tuple[int, bytes]:
    """Return status and body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=BOUND) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_daemon_from_start_to_end(tmp_path: Path) -> None:
    """Ready once it serves; ready still without its store and with a refused configuration, which are named."""
    port, served = free_port(), free_port()
    bench = Bench(
        tmp_path,
        more={
            "admin": {"listen": f"127.0.0.1:{port}"},
            "server": {"listen": f"127.0.0.1:{served}"},
        },
    )
    assert bench.run("healthcheck").code == 1
    daemon = Daemon(bench.config)
    with ended(daemon):
        daemon.wait_for("key.announced", 2)
        daemon.wait_for("admin.started")
        until(lambda: ask(port, "/readyz")[0] == 200)
        assert ask(port, "/healthz") == (200, b'{"alive": true}\n')
        well = bench.good("healthcheck", "--ready", "--json")
        hold_against_schema(well.json)
        assert well.json["url"] == f"http://127.0.0.1:{port}/readyz"
        bench.config.write_text(bench.config.read_text().replace('"admin"', '"amdin"'))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("config.refused")
        # It is logged first and told then.
        until(lambda: b"did you mean `admin`?" in ask(port, "/readyz")[1])
        (tmp_path / "store").rename(tmp_path / "gone")
        (tmp_path / "store").write_text("")
        code, body = ask(port, "/readyz")
        assert code == 200
        assert "did you mean `admin`?" in json.loads(body)["configuration"]
        metrics = parsed(ask(port, "/metrics")[1].decode())
        reload = metrics["rotator_config_last_reload_successful"].series
        assert list(reload.values()) == [0.0]
        assert list(metrics["rotator_server_up"].series.values()) == [1.0]
        daemon.stand_still()
        stopped = bench.run("healthcheck", "--url", f"http://127.0.0.1:{port}/healthz")
        daemon.process.send_signal(signal.SIGCONT)
        assert stopped.code == 1
        assert "no answer in time" in stopped.err
        asked = bench.run("healthcheck", "--url", f"http://127.0.0.1:{served}/healthz")
        assert asked.code == 0
        for base in (f"http://127.0.0.1:{served}", f"http://127.0.0.1:{served}/"):
            ready = bench.good("healthcheck", "--ready", "--url", base, "--json")
            assert ready.json["url"] == f"http://127.0.0.1:{served}/readyz"
        astray = bench.run("healthcheck", "--url", f"http://127.0.0.1:{served}/health")
        assert astray.code == 1
        assert "rotator has /healthz and /readyz" in astray.words
        assert daemon.end() == 143
    assert bench.run("healthcheck", "--url", f"http://127.0.0.1:{port}/healthz").code == 1


def test_every_fault_of_healthcheck_is_a_1(bench: Bench) -> None:
    """Docker keeps 2 for itself."""
    for words in (["--unknown"], [], ["--url", "nowhere"], ["--url", "http://u:p@h/"]):
        ran = bench.run("healthcheck", *words)
        assert (ran.code, ran.out) == (1, ""), words
        assert "hint" in ran.err
    assert "add `admin: {}`" in bench.run("healthcheck").words
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        env = {"ROTATOR__ADMIN__LISTEN": f"0.0.0.0:{port}"}
        assert f"127.0.0.1:{port}/healthz does not answer" in bench.run("healthcheck", env=env).err


def test_an_admin_address_in_use_keeps_nobody_from_rotating(tmp_path: Path) -> None:
    """It is said, and waited for: during an upgrade the daemon before has it."""
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    bench = Bench(tmp_path, more={"admin": {"listen": f"127.0.0.1:{port}"}})
    daemon = Daemon(bench.config)
    with ended(daemon):
        daemon.wait_for("admin.waiting")
        daemon.wait_for("key.promoted")
        taken.close()
        daemon.wait_for("admin.started")
        assert ask(port, "/healthz")[0] == 200
        assert daemon.end() == 143


def test_an_admin_address_of_another_host_is_refused(tmp_path: Path) -> None:
    """One message, and nothing was begun."""
    bench = Bench(tmp_path, more={"admin": {"listen": "192.0.2.1:1"}})
    ran = bench.run("run")
    assert ran.code == 78
    assert "the admin listener cannot listen at 192.0.2.1:1" in ran.err
    assert "admin.listen" in ran.err
    assert not bench.ring.exists()


class Gateway(BaseHTTPRequestHandler):
    """Takes what is pushed, or refuses it."""

    status = 200
    seen: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        """Keep path and body."""
        self.seen.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def gateway(answer: int = 200) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A Pushgateway on the loopback, and what was pushed to it."""
    seen: list[tuple[str, bytes]] = []
    handler = type("Handler", (Gateway,), {"status": answer, "seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join()


def test_a_one_shot_tells_its_metrics(bench: Bench) -> None:
    """To a file and to a gateway; a group that the URL names is taken."""
    file = bench.path / "rotator.prom"
    with gateway() as (url, seen):
        bench.good("rotate", "--metrics-file", str(file), "--pushgateway", f"{url}/")
        bench.good("rotate", "--pushgateway", f"{url}/metrics/job/rotator/shard/3")
    assert [path for path, _ in seen] == ["/metrics/job/rotator", "/metrics/job/rotator/shard/3"]
    pushed = parsed(seen[0][1].decode())
    assert pushed["rotator_steps"].series == parsed(file.read_text())["rotator_steps"].series
    assert file.stat().st_mode & 0o777 == 0o644


def test_metrics_that_cannot_be_told_change_no_exit_code(bench: Bench) -> None:
    """They are a warning; the work was done, or not, as without them."""
    gone = ["--metrics-file", str(bench.path / "no" / "rotator.prom")]
    with gateway(500) as (url, _):
        ran = bench.good("rotate", *gone, "--pushgateway", url)
    assert ran.err.count("metrics.untold") == 2
    assert "answered 500" in ran.err
    bench.ring.write_text("{")
    file = bench.path / "rotator.prom"
    ran = bench.run("rotate", "--metrics-file", str(file))
    assert ran.code == 65
    assert list(parsed(file.read_text())["rotator_key_set_failing"].series.values()) == [1.0]


@pytest.mark.parametrize(
    "words",
    [
        ["--pushgateway", "pushgateway:9091"],
        ["--pushgateway", "http://user:word@host"],
        ["--pushgateway", "http://host/?x"],
        ["--metrics-file", "x.prom", "--dry-run"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_asked_for(bench: Bench, words: list[str]) -> None:
    """Refused before anything is done."""
    ran = bench.run("rotate", *words)
    assert ran.code == 2
    assert "word" not in ran.err.replace("password", "")
    assert not bench.ring.exists()
