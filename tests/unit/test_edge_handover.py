"""What a client must not notice: another site, another certificate, another daemon, a child that hangs."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.errors import ConfigError, TargetFailing
from rotator.publication import FilePublication, ServerPublication
from rotator.publication.own import ask
from rotator.server import ServerProcess, Site
from rotator.server.listener import ask_for, bind
from rotator.server.process import Options
from rotator.server.tls import Tls
from rotator.stores import Document
from tests.unit.test_server import jwks, wait_until
from tests.unit.test_server_process import alive

REQUEST = b"GET /web/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n"


def published(directory: Path) -> Site:
    """Return a site with one document."""
    site = Site(directory / "public", ("web",), "web")
    target = FilePublication(site.public_dir / "web" / "jwks.json", "web")
    site.public_dir.mkdir(parents=True, exist_ok=True)
    if target.look().document is None:
        target.write(Document(jwks("a"), "web", 1, max_age=60), replacing=None)
    return site


LATE = 0.9  # seconds; a server that ends gives its clients one to ask once more and hear of it


@dataclass
class Load:
    """Clients that ask as fast as they can, each on a connection that it keeps until told to close it.

    Whoever stood still for so long that the server may have gone meanwhile comes anew.
    """

    connect: Callable[[], socket.socket]
    clients: int = 6
    done: int = 0
    connections: int = 0
    faults: list[str] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        """Ask until the end of the block."""
        self.threads = [threading.Thread(target=self._ask) for _ in range(self.clients)]
        for thread in self.threads:
            thread.start()
        try:
            yield self
        finally:
            self.end()

    def end(self) -> None:
        """Ask no more."""
        self.stop.set()
        for thread in self.threads:
            thread.join(60)

    def more(self, count: int = 200) -> None:
        """Wait until so many more requests were answered."""
        goal = self.done + count
        wait_until(lambda: self.done >= goal or bool(self.faults))

    def _ask(self) -> None:
        while not self.stop.is_set():
            since = [time.monotonic()]
            try:
                with self.connect() as peer:
                    since = [time.monotonic()]
                    with self._lock:
                        self.connections += 1
                    while not self.stop.is_set() and self._one(peer, since):
                        pass
            except (OSError, http.client.HTTPException) as error:
                if since[-1] - since[0] < LATE:
                    self.faults.append(f"{type(error).__name__}: {error}")

    def _one(self, peer: socket.socket, since: list[float]) -> bool:
        """Ask once; note how long after the answer before."""
        since[1:] = [time.monotonic()]
        peer.sendall(REQUEST)
        response = http.client.HTTPResponse(peer)
        response.begin()
        if (response.status, response.read()) != (200, jwks("a")):
            self.faults.append(f"status {response.status}")
        with self._lock:
            self.done += 1
        since[:] = [time.monotonic()]
        return not response.will_close


def to(port: int) -> Callable[[], socket.socket]:
    """Return what connects to a port."""
    return lambda: socket.create_connection(("127.0.0.1", port), timeout=60)


def test_children_and_daemons_change_under_load_and_no_request_fails(tmp_path: Path) -> None:
    site = published(tmp_path)
    server = ServerProcess("127.0.0.1", 0, site)
    server.start()
    port = server.address[1]
    try:
        with Load(to(port)).running() as load:
            for _ in range(3):
                load.more()
                before = server.pid
                server.replace_site(site)
                wait_until(lambda before=before: server.pid != before)  # type: ignore[misc]
            load.more()
            # The upgrade: a newer daemon with the same state takes the socket over, and the older one ends.
            newer = ServerProcess("127.0.0.1", port, site)
            newer.start()
            older, server = server, newer
            load.more()
            older.stop()
            load.more()
    finally:
        server.stop()
    assert load.faults == []
    assert load.done > 1000
    assert load.connections > load.clients  # they were told to come anew, and did


def test_the_old_child_accepts_nothing_once_the_new_one_serves(tmp_path: Path) -> None:
    server = ServerProcess("127.0.0.1", 0, published(tmp_path))
    server.start()
    try:
        before = server.pid
        with socket.create_connection(server.address, timeout=10) as kept:
            kept.sendall(REQUEST)
            assert kept.recv(65536).startswith(b"HTTP/1.1 200")
            server.replace_site(Site(tmp_path / "public", ("web", "jobs"), "web"))
            wait_until(lambda: server.pid != before)
            # The old one may take a connection more, at the moment in which it is told to stop.
            wait_until(
                lambda: b"no document yet" in ask(server.url, "/jobs/jwks.json", timeout=10).body
            )
            kept.sendall(REQUEST)
            said = kept.recv(65536)
            assert b"connection: close" in said.lower()
    finally:
        server.stop()


def test_a_socket_is_passed_on_only_for_its_own_address(tmp_path: Path) -> None:
    server = ServerProcess("127.0.0.1", 0, published(tmp_path))
    server.start()
    door, port = tmp_path / "handover.sock", server.address[1]
    try:
        assert door.stat().st_mode & 0o777 == 0o600
        assert ask_for(door, "127.0.0.1", port + 1) is None
        assert ask_for(tmp_path / "nothing.sock", "127.0.0.1", port) is None
        passed = ask_for(door, "127.0.0.1", port)
        assert passed is not None
        assert passed.getsockname()[1] == port
        passed.close()
    finally:
        server.stop()
    assert not door.exists()


def test_one_that_took_over_may_end_first(tmp_path: Path) -> None:
    """An upgrade that is given up: the next one finds the older daemon again, and nothing is left behind."""
    site = published(tmp_path)
    older = ServerProcess("127.0.0.1", 0, site)
    older.start()
    port = older.address[1]
    given_up = ServerProcess("127.0.0.1", port, site)
    next_one = ServerProcess("127.0.0.1", port, site)
    try:
        given_up.start()
        given_up.stop()
        next_one.start()
        older.stop()
        assert ask(next_one.url, "/web/jwks.json", timeout=10).status == 200
    finally:
        for server in (older, given_up, next_one):
            server.stop()
    assert list(tmp_path.glob("*.sock")) == []


ACTIVATED = """
import os, sys
from pathlib import Path
import structlog
from rotator.server import ServerProcess, Site
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
os.environ["LISTEN_PID"] = str(os.getpid())  # systemd sets it between fork and exec
os.dup2(int(sys.argv[2]), 3)
server = ServerProcess("127.0.0.1", int(sys.argv[3]), Site(Path(sys.argv[1]), ("web",)))
server.start()
print("up", flush=True)
sys.stdin.read()
server.stop()
"""


def test_a_socket_of_systemd_outlives_the_daemon(tmp_path: Path) -> None:
    site = published(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        command = [
            sys.executable,
            "-c",
            ACTIVATED,
            str(site.public_dir),
            str(held.fileno()),
            str(port),
        ]

        def run() -> subprocess.Popen[str]:
            process = subprocess.Popen(
                command,
                pass_fds=(held.fileno(),),
                env={**os.environ, "LISTEN_FDS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            return process

        with run() as first, Load(to(port), clients=2).running() as load:
            load.more(50)
            first.communicate()
            with run() as second:
                load.more(50)
                load.end()
                second.communicate()
        with socket.create_connection(("127.0.0.1", port), timeout=60) as waiting:
            waiting.sendall(REQUEST)
            with run() as third:
                assert waiting.recv(65536).startswith(b"HTTP/1.1 200")
                third.communicate()
    assert load.faults == []


def test_a_server_that_is_ended_as_soon_as_it_starts_ends_well(tmp_path: Path) -> None:
    for _ in range(5):
        server = ServerProcess("127.0.0.1", 0, published(tmp_path))
        server.start()
        child = server._child or server._next
        assert child is not None
        server.stop(timeout=60)
        assert child.process.returncode == 0


def test_a_unix_socket(tmp_path: Path) -> None:
    site, path = published(tmp_path), tmp_path / "jwks.sock"
    server = ServerProcess(f"unix:{path}", 0, site)
    server.start()
    try:
        assert server.url == f"unix:{path}"
        assert ask(server.url, "/.well-known/jwks.json", timeout=5).body == jwks("a")
        assert ServerPublication(server.url, site.public_dir, "web").look().document is not None
        elsewhere = Site(tmp_path / "other" / "public", ("web",))
        with pytest.raises(TargetFailing, match="another program"):
            ServerProcess(f"unix:{path}", 0, elsewhere).start()

        def connect() -> socket.socket:
            peer = socket.socket(socket.AF_UNIX)
            peer.settimeout(60)
            peer.connect(str(path))
            return peer

        with Load(connect, clients=2).running() as load:
            load.more(50)
            before = server.pid
            server.replace_site(site)
            wait_until(lambda: server.pid != before)
            load.more(50)
        assert load.faults == []
    finally:
        server.stop()
    # The file of a server that is gone is in nobody's way.
    bind(f"unix:{path}", 0).close()
    (tmp_path / "plain").write_text("not a socket")
    with pytest.raises(TargetFailing, match="no socket"):
        bind(f"unix:{tmp_path}/plain", 0)
    with pytest.raises(ConfigError, match="cannot listen"):
        bind(f"unix:{tmp_path}/missing/jwks.sock", 0)


def certificate(directory: Path, name: str) -> Tls:
    """Write a self-signed certificate for a name, as a tool that renews it would: by renaming."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, subject = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]),
    )
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    tls = Tls(directory / "cert.pem", directory / "key.pem")
    written = {
        tls.cert_file: made.public_bytes(serialization.Encoding.PEM),
        tls.key_file: key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    }
    for path, data in written.items():
        path.with_suffix(".new").write_bytes(data)
        path.with_suffix(".new").replace(path)
    return tls


def served_name(port: int) -> bytes:
    """Return the certificate that a server shows, in DER."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(to(port)()) as peer:
        return peer.getpeercert(binary_form=True) or b""


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no child that is slow on a busy machine for one that hangs: pulses are short here."""
    monkeypatch.setattr("rotator.server.child._SILENT", 10_000)
    monkeypatch.setattr("rotator.server.child._UNANSWERED", 10_000)


@pytest.mark.usefixtures("patient")
def test_a_renewed_certificate_is_served_and_no_connection_is_dropped(tmp_path: Path) -> None:
    site, tls = published(tmp_path), certificate(tmp_path, "first")
    server = ServerProcess("127.0.0.1", 0, site, Options(tls=tls, pulse=0.2))
    server.start()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    port = server.address[1]
    try:
        assert server.url == f"https://127.0.0.1:{port}"
        assert ServerPublication(server.url, site.public_dir, "web").look().document is not None
        assert b"first" in served_name(port)
        with Load(lambda: context.wrap_socket(to(port)()), clients=2).running() as load:
            load.more(20)
            certificate(tmp_path, "second")
            wait_until(lambda: b"second" in served_name(port))
            load.more(20)
            # Half a pair is never served.
            before = server.pid
            tls.key_file.write_bytes(b"no key")
            load.more(20)
            threading.Event().wait(0.6)
            assert b"second" in served_name(port)
            assert server.pid == before
        assert load.faults == []
        # A child that dies meanwhile is followed by one that serves what it did.
        assert before is not None
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: server.ensure() and server.pid != before)
        assert b"second" in served_name(port)
    finally:
        server.stop()
    with pytest.raises(ConfigError, match=r"cannot use certificate"):
        ServerProcess("127.0.0.1", 0, site, Options(tls=tls)).start()


def test_a_child_that_hangs_is_replaced(tmp_path: Path) -> None:
    server = ServerProcess("127.0.0.1", 0, published(tmp_path), Options(pulse=0.1))
    server.start()
    try:
        hanging = server.pid
        assert hanging is not None
        os.kill(hanging, signal.SIGSTOP)
        wait_until(lambda: server.ensure() and server.pid not in {None, hanging})
        # With pulses so short, the next one is rightly replaced as well if it stands still for a third of a second.
        wait_until(lambda: alive(server.url))
        assert server.restarts >= 1
    finally:
        server.stop()


def test_a_quiet_child_is_left_alone(tmp_path: Path) -> None:
    """Nobody asks it anything: judged twenty times, each time when it gave a sign of life."""
    server = ServerProcess("127.0.0.1", 0, published(tmp_path), Options(pulse=0.05))
    judge = server._judge
    # By this test instead of the thread that watches.
    server._judge = lambda: None  # type: ignore[method-assign]
    server.start()
    try:
        pid, child = server.pid, server._child
        assert child is not None
        for _ in range(20):
            wait_until(lambda: child._beats > 0)
            judge()
        assert not child.ended.wait(0.1)
        assert server.pid == pid
        assert server.restarts == 0
    finally:
        server.stop()
