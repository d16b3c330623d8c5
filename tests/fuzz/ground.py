"""The server under attack, its honest clients, and what it holds on to."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from rotator.publication import FilePublication
from rotator.server import ServerProcess, Site
from rotator.stores import Document
from tests.fuzz.shapes import FENCE, PATHS, SMUGGLED
from tests.fuzz.wire import Known

SERVED_WITHIN: Final = (
    5.0  # seconds for an honest request under attack, on a machine that does other things
)
LATE: Final = 10.0  # seconds beyond them, of all honest requests: a machine may stand still once
BOUND: Final = 60.0  # seconds; only a test that fails waits so long


def until(true: Callable[[], bool], bound: float = BOUND) -> bool:
    """Ask again and again until something holds; return whether it came to hold in time."""
    end, pause = time.monotonic() + bound, threading.Event()
    while not true():
        if time.monotonic() >= end:
            return False
        pause.wait(0.02)
    return True


def publish(public: Path, key_set: str, revision: int) -> None:
    """Publish a document of a key set, whatever was there."""
    key = {"kty": "OKP", "kid": f"{key_set}{revision}", "use": "sig", "alg": "EdDSA"}
    body = json.dumps({"keys": [key | {"crv": "Ed25519", "x": "AAAA"}]}).encode()
    target = FilePublication(public / key_set / "jwks.json", key_set)
    public.mkdir(exist_ok=True)
    seen = target.look().document
    document = Document(body, key_set, revision, max_age=300, stale=600)
    target.write(document, replacing=seen.token if seen else None)


@contextlib.contextmanager
def edge(home: Path) -> Iterator[ServerProcess]:
    """The built-in server in its child process, with everything published but the key set `empty`."""
    public = home / "public"
    for key_set in ("web", "jobs", "smuggled", "fence"):
        publish(public, key_set, 3)
    names = ("web", "jobs", "smuggled", "fence", "empty")
    site = Site(public, names, default="web", combine={"/all.json": ("web", "jobs")})
    server = ServerProcess("127.0.0.1", 0, site)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def say(address: tuple[str, int], data: bytes) -> bytes:
    """Send bytes and return everything until the server closes."""
    with socket.create_connection(address, timeout=BOUND) as raw:
        with contextlib.suppress(
            ConnectionError
        ):  # what it said before it would read no more is read
            raw.sendall(data)
        pieces = []
        with contextlib.suppress(ConnectionResetError):
            while piece := raw.recv(65536):
                pieces.append(piece)
    return b"".join(pieces)


def learned(
    address: tuple[str, int],
    paths: Iterable[bytes] = (*PATHS, FENCE, SMUGGLED),
    volatile: tuple[bytes, ...] = (),
) -> Known:
    """Return the honest answers of a server: each path by each method, with and without a condition."""
    known = Known(volatile)
    methods = (b"GET", b"HEAD", b"POST", b"OPTIONS")
    for path in (*paths, b"/unknown"):
        for method in methods:
            for condition in (b"", b"If-None-Match: *\r\n", b"Origin: https://a.example\r\n"):
                head = method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n" + condition
                known.learn(say(address, head + b"Connection: close\r\n\r\n"))
    # What is refused before it is understood.
    hostless = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
    large = b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n"
    for broken in (b"no HTTP\r\n\r\n", hostless, large):
        for _ in range(10):  # a reset may come before what was said could be read
            if raw := say(address, broken):
                known.learn(raw)
                break
    return known


def ask(connection: socket.socket, request: bytes) -> bytes:
    """Send a request on a connection that is kept, and return the whole answer, however it is cut."""
    connection.sendall(request)
    said = b""
    while b"\r\n\r\n" not in said:
        said += _more(connection)
    head, _, body = said.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head.lower())
    assert found, head
    while len(body) < int(found[1]):
        body += _more(connection)
    return head + b"\r\n\r\n" + body


def _more(connection: socket.socket) -> bytes:
    piece = connection.recv(65536)
    assert piece, "the connection was closed"
    return piece


def at_rest(pid: int) -> bool:
    """Wait until a server has put away every connection of those that went before."""
    process = psutil.Process(pid)
    return until(
        lambda: all(one.status == psutil.CONN_LISTEN for one in process.net_connections("tcp"))
    )


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds at a moment."""

    files: int
    threads: int
    rss: int

    @classmethod
    def by(cls, pid: int) -> Held:
        """Look at a process."""
        process = psutil.Process(pid)
        with process.oneshot():
            return cls(process.num_fds(), process.num_threads(), process.memory_info().rss)

    def __str__(self) -> str:
        """Return it for a report."""
        return f"{self.files} files, {self.threads} threads, {self.rss / 2**20:.1f} MiB"
