"""Faults of the server's process: killed or stopped under load, no file descriptors, no more places."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections import Counter
from pathlib import Path

import psutil
import pytest

from rotator.server import ServerProcess, Site
from rotator.server.process import Options
from tests.fuzz.clients import Canary
from tests.fuzz.ground import BOUND, Held, ask, edge, publish, until

ASK = b"GET /web/jwks.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
KEPT = ASK.replace(b"Connection: close\r\n", b"")
PAUSE = threading.Event()


class Load:
    """Clients that open one connection after the other and tell how each came out."""

    def __init__(self, address: tuple[str, int], clients: int = 4) -> None:
        self.outcomes: Counter[str] = Counter()
        self._address = address
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Load:  # noqa: PYI034 - it has no heirs
        """Begin."""
        for thread in self._threads:
            thread.start()
        assert until(lambda: self.outcomes["served"] > 20)
        return self

    def __exit__(self, *_error: object) -> None:
        """End, after the requests under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join(BOUND)

    def goes_on(self) -> bool:
        """Wait until more is served."""
        before = self.outcomes["served"]
        return until(lambda: self.outcomes["served"] > before + 20)

    def _run(self) -> None:
        while not self._stop.wait(0.002):
            self.outcomes[self._ask()] += 1

    def _ask(self) -> str:
        try:
            with socket.create_connection(self._address, timeout=BOUND) as sock:
                sock.sendall(ASK)
                said = b""
                while piece := sock.recv(65536):
                    said += piece
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "hung"
        except OSError:
            return "cut off"
        return "served" if said.startswith(b"HTTP/1.1 200 OK") and b'"keys"' in said else "cut off"


def test_a_server_killed_under_load_refuses_nobody(tmp_path: Path) -> None:
    """Only requests that were under way are lost; whoever comes meanwhile waits for the next child."""
    with edge(tmp_path) as server, Load(server.address) as load:
        for _ in range(3):
            before = server.pid
            assert before is not None
            os.kill(before, signal.SIGKILL)
            assert until(lambda before=before: server.ensure() and server.pid != before)  # type: ignore[misc]
            assert load.goes_on()
    assert not load.outcomes["refused"]
    assert not load.outcomes["hung"]
    assert load.outcomes["cut off"] <= 3 * 4, load.outcomes
    assert server.restarts == 3


def test_a_server_stopped_under_load_goes_on_where_it_was(tmp_path: Path) -> None:
    """SIGSTOP and SIGCONT at moments that the load makes random: every request is answered."""
    with edge(tmp_path) as server, Load(server.address) as load:
        pid = server.pid
        assert pid is not None
        for _ in range(5):
            os.kill(pid, signal.SIGSTOP)
            PAUSE.wait(0.2)
            os.kill(pid, signal.SIGCONT)
            assert load.goes_on()
        assert server.pid == pid
    assert set(load.outcomes) == {"served"}


def test_documents_replaced_under_load_fail_no_request(tmp_path: Path) -> None:
    """Dozens of revisions, each read anew by the server between two requests."""
    with edge(tmp_path) as server, Load(server.address) as load:
        for revision in range(4, 40):
            publish(tmp_path / "public", "web", revision)
        assert load.goes_on()
    assert set(load.outcomes) == {"served"}


def _spent_in_a_second(process: psutil.Process) -> float:
    """Return the seconds of CPU that a process takes in the next second."""
    before = sum(process.cpu_times()[:2])
    PAUSE.wait(1.0)
    return float(sum(process.cpu_times()[:2]) - before)


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="sets limits of another process")
def test_a_server_without_file_descriptors_serves_whom_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No connection can be accepted and no file opened: kept connections get the last good document."""
    lines: list[str] = []

    def told() -> str:
        lines.append(capsys.readouterr().out)
        return "".join(lines)

    with edge(tmp_path) as server, contextlib.ExitStack() as crowd:
        pid = server.pid
        assert pid is not None
        process = psutil.Process(pid)
        kept = crowd.enter_context(socket.create_connection(server.address, timeout=BOUND))
        assert b"rotator-revision: 3" in ask(kept, KEPT)
        files = Held.by(pid).files
        limits = process.rlimit(psutil.RLIMIT_NOFILE)
        process.rlimit(psutil.RLIMIT_NOFILE, (files + 10, limits[1]))
        waiting = [
            crowd.enter_context(socket.create_connection(server.address, timeout=BOUND))
            for _ in range(40)
        ]
        assert until(lambda: Held.by(pid).files >= files + 10)
        # It does not go on trying: that took a whole core.
        assert until(lambda: "server.full" in told())
        # One calm second is enough, for it may still be putting away whom it had when it found out.
        for _ in range(3):
            assert ask(kept, KEPT).startswith(b"HTTP/1.1 200 OK")  # who says nothing is sent away
            if (spent := _spent_in_a_second(process)) < 0.5:
                break
        assert spent < 0.5
        publish(tmp_path / "public", "web", 4)
        for _ in range(20):
            assert ask(kept, KEPT).startswith(b"HTTP/1.1 200 OK")
        waiting[-1].sendall(ASK)  # it waits in the backlog
        process.rlimit(psutil.RLIMIT_NOFILE, limits)
        assert until(lambda: told().rfind("server.accepting") > told().rfind("server.full"))
        assert waiting[-1].recv(65536).startswith(b"HTTP/1.1 200 OK")
        assert until(lambda: _revision(server) == 4)
        crowd.close()
        assert until(lambda: Held.by(pid).files <= files)
        assert server.pid == pid
        assert server.restarts == 0


def test_no_more_connections_than_there_is_room_for(tmp_path: Path) -> None:
    """The bound holds; who has a connection keeps it, and the next in the queue gets the first free place."""
    publish(tmp_path / "public", "web", 3)
    site, room = Site(tmp_path / "public", ("web",)), 50
    server = ServerProcess("127.0.0.1", 0, site, Options(connections=room))
    server.start()
    try:
        pid = server.pid
        assert pid is not None
        with contextlib.ExitStack() as crowd, Canary(server.address) as canary:
            assert until(lambda: canary.served > 10)
            files = Held.by(pid).files
            for _ in range(3 * room):
                crowd.enter_context(socket.create_connection(server.address, timeout=BOUND))
            assert until(lambda: Held.by(pid).files >= files + room - 4)
            last = socket.create_connection(server.address, timeout=BOUND)
            with last:
                last.sendall(ASK)
                before = canary.served
                assert until(lambda: canary.served > before + 5)  # by its kept connection at least
                assert Held.by(pid).files <= files + room + 2
                crowd.close()
                assert last.recv(65536).startswith(b"HTTP/1.1 200 OK")
        assert not [fault for fault in canary.faults if fault.startswith("kept")]
        assert until(lambda: Held.by(pid).files <= files + 1)
    finally:
        server.stop()


def _revision(server: ServerProcess) -> int | None:
    with socket.create_connection(server.address, timeout=BOUND) as sock:
        sock.sendall(ASK)
        head = sock.recv(65536)
    found = head.partition(b"rotator-revision: ")[2].partition(b"\r\n")[0]
    return int(found) if found else None
