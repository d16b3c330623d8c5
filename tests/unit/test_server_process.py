"""The server's process: what it inherits, how it dies, who starts it again, and where it listens."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from rotator.errors import ConfigError, StoreUnavailable, TargetFailing
from rotator.server import ServerProcess, Site
from rotator.server.child import scrubbed
from rotator.server.site import parse_site
from tests.servers import free_port

LINUX = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition, polling, with a bound."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError(f"not within {seconds} s: {condition}")


def gone(pid: int) -> bool:
    """Return whether a process has ended; a zombie of a dead parent has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def alive(url: str) -> bool:
    """Return whether a server answers that it is alive."""
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=30) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def refused(host: str, port: int) -> bool:
    """Return whether nobody listens at an address."""
    try:
        socket.create_connection((host, port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site of one key set."""
    return Site(tmp_path / "public", ("web",))


@pytest.fixture
def server(site: Site) -> Iterator[ServerProcess]:
    """A running server."""
    server = ServerProcess("127.0.0.1", 0, site)
    server.start()
    yield server
    server.stop()


def test_a_site_comes_through_its_line() -> None:
    site = Site(Path("/a b"), ("web", "jobs"), "web", {"/all.json": ("web", "jobs")})
    assert parse_site(site.render()) == site
    assert site.render().count(b"\n") == 1


def test_ten_thousand_key_sets_fit_through_the_pipe(tmp_path: Path) -> None:
    site = Site(tmp_path, tuple(f"key-set-{number:05}" for number in range(10_000)))
    server = ServerProcess("127.0.0.1", 0, site)
    server.start()
    try:
        assert alive(server.url)
    finally:
        server.stop()


def test_a_killed_child_is_started_again_at_the_same_address(server: ServerProcess) -> None:
    first, url = server.pid, server.url
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: server.pid not in {None, first})
    # A request in between waits in the socket that the parent holds.
    assert alive(url)
    assert server.url == url
    assert server.restarts == 1


def test_a_child_killed_again_and_again_comes_back(server: ServerProcess) -> None:
    for _ in range(3):
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda before=pid: server.ensure() and server.pid not in {None, before})  # type: ignore[misc]
    assert alive(server.url)


PARENT = """
import sys
from pathlib import Path
import structlog
from rotator.server import ServerProcess, Site

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
server = ServerProcess("127.0.0.1", 0, Site(Path(sys.argv[1]), ("web",)))
server.start()
print(server.pid, server.url, flush=True)
sys.stdin.read()
"""


def start_parent(
    public: Path, *pass_fds: int, **environ: str
) -> tuple[subprocess.Popen[str], int, str]:
    """Start a process with a server; return it, its child's pid, and the URL."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(public)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
        pass_fds=pass_fds,
    )
    assert parent.stdout is not None
    child, url = parent.stdout.readline().split()
    return parent, int(child), url


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_child_dies_with_its_parent(tmp_path: Path, number: int) -> None:
    parent, child, url = start_parent(tmp_path)
    with parent:
        assert alive(url)
        parent.send_signal(number)
        parent.wait()
        wait_until(lambda: gone(child))
    host, port = url.removeprefix("http://").split(":")
    # Its first thread may have ended a moment before the others, which keep its files.
    wait_until(lambda: refused(host, int(port)))


def test_a_stopped_parent_does_not_stop_the_serving(tmp_path: Path) -> None:
    parent, child, url = start_parent(tmp_path)
    with parent:
        parent.send_signal(signal.SIGSTOP)
        for _ in range(50):
            assert alive(url)
        parent.kill()
    wait_until(lambda: gone(child))


def open_files(pid: int) -> list[str]:
    """Return what the file descriptors of a process stand for."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed in between
            found.append(str(link.readlink()))
    return found


@LINUX
def test_the_child_has_no_credential_and_no_file_of_its_parent(tmp_path: Path) -> None:
    held = (tmp_path / "held.secret").open("w")
    with held:
        parent, child, _ = start_parent(
            tmp_path,
            held.fileno(),
            AWS_SECRET_ACCESS_KEY="planted-credential",
            VAULT_TOKEN="planted-credential",
            CONJUR_AUTHN_API_KEY="planted-credential",
            ROTATOR__STORES__MAIN__TOKEN="planted-credential",
            LC_TIME="C",
        )
        with parent:
            environ = Path(f"/proc/{child}/environ").read_bytes()
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            held_by_parent = open_files(parent.pid)
            held_by_child = open_files(child)
            parent.kill()
    assert b"planted" not in environ + command
    assert b"LC_TIME=C" in environ
    assert held.name in held_by_parent
    assert held.name not in held_by_child
    wait_until(lambda: gone(child))


def test_only_names_on_the_list_are_passed_on() -> None:
    environ = {
        "PATH": "/bin",
        "LANG": "C",
        "LC_ALL": "C",
        "TZ": "UTC",
        "HOME": "/root",
        "X_TOKEN": "x",
    }
    assert set(scrubbed(environ)) == {"PATH", "LANG", "LC_ALL", "TZ"}


def test_ctrl_c_is_the_parents_business(server: ServerProcess) -> None:
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGINT)
    assert alive(server.url)
    assert server.pid == pid
    assert os.getsid(pid) != os.getsid(0)


def test_a_thread_that_started_the_server_may_end(site: Site) -> None:
    server = ServerProcess("127.0.0.1", 0, site)
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()
    try:
        assert alive(server.url)
    finally:
        server.stop()


def test_stop_ends_the_child_and_frees_the_port(site: Site) -> None:
    port = free_port()
    server = ServerProcess("127.0.0.1", port, site)
    server.start()
    pid = server.pid
    assert pid is not None
    server.stop()
    server.stop()
    assert gone(pid)
    assert server.pid is None
    with pytest.raises(StoreUnavailable):
        _ = server.url
    again = ServerProcess("127.0.0.1", port, site)
    again.start()
    again.stop()


def test_a_client_that_says_nothing_does_not_delay_the_end(server: ServerProcess) -> None:
    host, port = server.address
    with socket.create_connection((host, port)) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /hea")
        client.recv(100)
        child = server._child
        assert child is not None
        server.stop(timeout=60)
        assert child.process.returncode == 0  # by itself: nobody had to kill it


def test_a_stopped_child_is_killed_in_the_end(server: ServerProcess) -> None:
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    server.stop(timeout=0.3)
    assert gone(pid)


def test_another_site_is_served_at_the_same_address(server: ServerProcess, site: Site) -> None:
    url = server.url

    def status(path: str) -> str:
        try:
            with urllib.request.urlopen(url + path, timeout=10) as reply:
                return str(reply.status)
        except urllib.error.HTTPError as error:
            with error:
                return str(json.loads(error.read())["error"])
        except OSError:  # a connection that the old child had just accepted
            return "closed"

    assert status("/jobs/jwks.json") == "not found"
    server.replace_site(Site(site.public_dir, ("web", "jobs")))
    wait_until(lambda: status("/jobs/jwks.json") == "no document yet")
    assert server.url == url
    assert server.restarts == 0


def test_an_address_in_use_says_so(server: ServerProcess, tmp_path: Path) -> None:
    host, port = server.address
    site = Site(tmp_path / "elsewhere" / "public", ("web",))
    with pytest.raises(TargetFailing, match="another program") as refused:
        ServerProcess(host, port, site).start()
    assert refused.value.exit_code == 75


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours_is_a_fault_of_the_configuration(site: Site, host: str) -> None:
    with pytest.raises(ConfigError, match="cannot listen"):
        ServerProcess(host, 0, site).start()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1", "localhost"])
def test_any_spelling_of_an_address_can_be_asked_from_here(site: Site, host: str) -> None:
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6")
    server = ServerProcess(host, 0, site)
    try:
        server.start()
    except ConfigError:
        pytest.skip(f"this host has no {host}")
    try:
        assert alive(server.url)
    finally:
        server.stop()


def test_a_child_that_cannot_start_is_said_in_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    server = ServerProcess("127.0.0.1", 0, site)
    try:
        with pytest.raises(StoreUnavailable, match="did not start within"):
            server.start(timeout=0.3)
        monkeypatch.undo()
        wait_until(server.ensure)
        assert alive(server.url)
    finally:
        server.stop()


def test_importing_the_server_loads_no_web_server() -> None:
    script = (
        "import sys, rotator.server, rotator.publication;"
        "print([n for n in ('granian', 'urllib3', 'structlog', 'cryptography') if n in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    assert said.stdout.strip() == "[]"


def test_it_ends_cleanly_under_load(site: Site) -> None:
    """Granian's threads abort the process when Python is finalised under them, about one time in four."""
    all_of_them = threading.Barrier(7, timeout=60)

    def load(address: tuple[str, int], done: threading.Event) -> None:
        with socket.create_connection(address, timeout=60) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(65536)
            all_of_them.wait()  # none comes too late to find the server
            while not done.is_set():
                try:
                    client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                    if not client.recv(65536):
                        return
                except ConnectionError:
                    return

    statuses = []
    for _ in range(12):
        server, done = ServerProcess("127.0.0.1", 0, site), threading.Event()
        server.start()
        clients = [threading.Thread(target=load, args=(server.address, done)) for _ in range(6)]
        for client in clients:
            client.start()
        all_of_them.wait()
        done.wait(0.05)
        child = server._child
        assert child is not None
        server.stop(timeout=60)
        done.set()
        for client in clients:
            client.join()
        statuses.append(child.process.returncode)
    assert statuses == [0] * 12
