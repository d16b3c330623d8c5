"""`run` and `serve` as real processes: what goes wrong under them, the JWKS served the whole time."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3

from tests.cli.bench import BOUND, SLOW, Bench

RESYNC = {**SLOW, "resync": "1s"}


class Daemon:
    """A running `rotator run` or `serve`, and its log."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.url = ""

    def event(self, name: str) -> dict[str, Any]:
        """Read the log until an event comes; bounded."""
        assert self.process.stderr is not None
        seen = []
        timer = threading.Timer(BOUND, self.process.kill)
        timer.start()
        try:
            for line in self.process.stderr:
                seen.append(line)
                found: dict[str, Any] = json.loads(line)
                if found["event"] == name:
                    return found
        finally:
            timer.cancel()
        raise AssertionError(f"no {name} among\n{''.join(seen)}")

    def get(self, path: str) -> urllib3.BaseHTTPResponse:
        """Ask the HTTP server."""
        return urllib3.request("GET", f"{self.url}{path}", timeout=BOUND, retries=False)


@contextmanager
def daemon(bench: Bench, command: str) -> Iterator[Daemon]:
    """Start one, wait until it serves, and end it in order."""
    process = bench.start(command, "--log-format", "json")
    with process:
        try:
            one = Daemon(process)
            one.url = one.event("server.started")["address"]
            yield one
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=BOUND)
    assert process.returncode == 143


def serving(path: Path) -> Bench:
    """Return a configuration with the HTTP server and a short resync."""
    return Bench(
        path,
        policy=RESYNC,
        key_set={"default": True},
        more={"server": {"listen": "127.0.0.1:0"}},
    )


def test_show_7_the_jwks_is_served_beside_a_truncated_ring(tmp_path: Path) -> None:
    """The daemon stops rotating, says why, serves on, and goes on by itself once the ring is whole."""
    bench = serving(tmp_path)
    with daemon(bench, "run") as one:
        one.event("key.announced")
        one.event("key.delivered")
        one.event("key.announced")
        whole = bench.ring.read_bytes()
        served = one.get("/web/jwks.json").data
        assert len(json.loads(served)["keys"]) == 2
        bench.ring.write_bytes(whole[:200])
        said = one.event("key_set.failing")
        assert str(bench.ring) in said["reason"]
        assert "recover" in said["hint"]
        assert one.get("/web/jwks.json").data == served
        assert one.get("/.well-known/jwks.json").data == served
        assert bench.jwks.read_bytes() == served
        assert bench.ring.read_bytes() == whole[:200]
        bench.ring.write_bytes(whole)
        one.event("key_set.healed")
        assert one.get("/web/jwks.json").data == served


def test_the_store_directory_goes_in_mid_run(tmp_path: Path) -> None:
    """Nothing is made anew in its place, the JWKS is served on, and what comes back is gone on with."""
    bench = serving(tmp_path)
    with daemon(bench, "run") as one:
        one.event("key.delivered")
        one.event("key.announced")
        store, away = tmp_path / "store", tmp_path / "away"
        store.rename(away)
        said = one.event("key_set.failing")
        assert "gone" in said["reason"]
        assert not store.exists()
        assert one.get("/web/jwks.json").status == 200
        away.rename(store)
        one.event("key_set.healed")


def test_serve_follows_the_ring_without_material(tmp_path: Path) -> None:
    """`serve` shows what one-shots do, never reads material, and keeps the last good document."""
    bench = serving(tmp_path)
    with daemon(bench, "serve") as one:
        bench.good("rotate")
        one.event("jwks.published")
    shutil.move(bench.material, tmp_path / "hidden")
    with daemon(bench, "serve") as one:
        served = one.get("/web/jwks.json")
        assert json.loads(served.data) == json.loads(bench.jwks.read_bytes())
        assert one.get("/readyz").status == 200
        shutil.move(tmp_path / "hidden", bench.material)
        kid = json.loads(served.data)["keys"][0]["kid"]
        bench.good("revoke", kid, "--reason", "a test", "--yes")
        # An order reaches the server of its own host at once.
        assert kid not in one.get("/web/jwks.json").data.decode()
        bench.ring.write_bytes(b"")
        one.event("jwks.kept")
        assert one.get("/web/jwks.json").status == 200


def test_serve_goes_over_to_another_configuration(tmp_path: Path) -> None:
    """At SIGHUP: another key set, then another address; a bad one is refused, and what was served stays."""
    bench = serving(tmp_path)
    bench.good("rotate")
    configured = json.loads(bench.config.read_bytes())

    def reload(said: str) -> dict[str, Any]:
        bench.config.write_text(json.dumps(configured))
        one.process.send_signal(signal.SIGHUP)
        return one.event(said)

    with daemon(bench, "serve") as one:
        configured["key_sets"]["api"] = configured["key_sets"]["web"] | {
            "default": False,
            "deliver": [{"to": "files", "path": str(tmp_path / "signing-api")}],
            "publish": [{"to": "file", "path": str(tmp_path / "api.json")}],
        }
        assert reload("config.reloaded")["key_sets"] == 2
        assert (
            one.event("server.started")["address"] == one.url
        )  # another child, at the same address
        bench.good("rotate", "api")
        said = one.event("jwks.published")
        assert (said["key_set"], said["to"]) == ("api", "server")
        assert one.get("/api/jwks.json").status == 200
        configured["state_dir"] = "elsewhere"
        assert "state_dir" in reload("config.refused")["reason"]
        del configured["state_dir"]
        listen, configured["server"]["listen"] = configured["server"]["listen"], "192.0.2.1:0"
        assert "192.0.2.1" in reload("config.refused")["reason"]
        assert one.get("/web/jwks.json").status == 200
        del configured["key_sets"]["api"]
        configured["server"] = {"listen": listen, "connections": 100}
        before = one.url
        one.url = reload("server.started")["address"]
        one.event("server.stopped")
        assert before != one.url
        assert one.get("/web/jwks.json").status == 200
        assert one.get("/api/jwks.json").status == 404


def test_serve_without_a_server(bench: Bench) -> None:
    """There is nothing to serve at: a fault of configuration, with the line to add."""
    ran = bench.run("serve")
    assert ran.code == 78
    assert "server: {listen:" in ran.err
