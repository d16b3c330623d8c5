"""CPU per request of the built-in server beside nginx serving the same bytes, in one interleaved run.

    python -P -m benchmarks.http [--rounds N] [--seconds S]

All servers are up at once; short bursts of keep-alive requests go to one after the other in random order,
so that whatever else the machine does hits all of them alike. What counts is CPU time of the server's
processes divided by requests answered; the load comes from another process.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import structlog

from rotator.publication import FilePublication
from rotator.publication.sidecar import digest_of
from rotator.server import ServerProcess, Site
from rotator.stores import Document

CONNECTIONS = 16

# Looks at the first answer closely (status and body must be what was asked for: a quick error would be
# taken for a fast server), and counts on the others to be as long.
LOAD = """
import hashlib, socket, sys, time
host, port, seconds, count = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
request = sys.argv[5].encode().decode("unicode_escape").encode()
status, size, digest = sys.argv[6].encode(), int(sys.argv[7]), sys.argv[8]
sockets = [socket.create_connection((host, port)) for _ in range(count)]

def answer(peer, length):
    pieces = []
    while length > 0:
        piece = peer.recv(65536)
        if not piece:
            sys.exit("the server closed a connection")
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)

lengths = []
for peer in sockets:
    peer.sendall(request)
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        head += answer(peer, 1) if not head else peer.recv(1)
    head, rest = head[: head.index(b"\\r\\n\\r\\n") + 4], head[head.index(b"\\r\\n\\r\\n") + 4 :]
    body = rest + answer(peer, size - len(rest))
    if head.split(b" ", 2)[1] != status or hashlib.sha256(body).hexdigest() != digest:
        sys.exit(f"the answer is not the one to measure: {head!r}")
    lengths.append(len(head) + size)
length, done, end = lengths[0], count, time.monotonic() + seconds
while time.monotonic() < end:
    for peer in sockets:
        peer.sendall(request)
    for peer in sockets:
        if not answer(peer, length).startswith(b"HTTP/1.1 " + status):
            sys.exit("an answer of another status")
    done += count
print(done)
"""

BARE = """
import asyncio, sys
body = open(sys.argv[1], "rb").read()
reply = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body

class Bare(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(reply * data.count(b"\\r\\n\\r\\n"))

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Bare, "127.0.0.1", int(sys.argv[2]))
    await server.serve_forever()

asyncio.run(main())
"""


@dataclass
class Contender:
    """A server under load, and what each burst cost it."""

    name: str
    port: int
    path: str
    pid: int
    answers: tuple[str, ...] = ("200",)
    costs: dict[str, list[float]] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)

    def cpu(self) -> float:
        """Return the CPU seconds of this server's processes."""
        parent = psutil.Process(self.pid)
        times = [process.cpu_times() for process in (parent, *parent.children(recursive=True))]
        return sum(spent.user + spent.system for spent in times)

    def memory(self) -> float:
        """Return its resident MiB."""
        parent = psutil.Process(self.pid)
        processes = (parent, *parent.children(recursive=True))
        return float(sum(process.memory_info().rss for process in processes)) / (1 << 20)

    def burst(self, seconds: float, answer: str, body: bytes) -> None:
        """Send requests for some seconds, and note CPU microseconds per request."""
        etag, expected = f'"{digest_of(body)}"', b"" if answer == "304" else body
        condition = f"If-None-Match: {etag}\\r\\n" if answer == "304" else ""
        request = f"GET {self.path} HTTP/1.1\\r\\nHost: localhost\\r\\n{condition}\\r\\n"
        arguments = ["127.0.0.1", str(self.port), str(seconds), str(CONNECTIONS), request]
        arguments += [answer, str(len(expected)), digest_of(expected)]
        before = self.cpu()
        said = subprocess.run(
            [sys.executable, "-c", LOAD, *arguments], stdout=subprocess.PIPE, text=True, check=False
        )
        if said.returncode != 0:
            raise SystemExit(f"{self.name}: the run is void, see above")
        requests = int(said.stdout)
        self.costs.setdefault(answer, []).append((self.cpu() - before) / requests * 1e6)
        self.rates.setdefault(answer, []).append(requests / seconds)


def example_jwks() -> bytes:
    """Return a JWKS of three RSA-3072 keys, the usual size; random numbers serve as well as moduli here."""
    source = random.Random(1)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    keys = [
        {
            "kty": "RSA",
            "kid": "".join(source.choices(alphabet, k=43)),
            "use": "sig",
            "alg": "RS256",
            "e": "AQAB",
            "n": "".join(source.choices(alphabet, k=512)),
        }
        for _ in range(3)
    ]
    return json.dumps({"keys": keys}, separators=(",", ":")).encode()


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until something listens."""
    pause = threading.Event()
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        pause.wait(0.02)
    raise SystemExit(f"nothing listens at port {port}")


@contextlib.contextmanager
def ours(directory: Path, body: bytes) -> Iterator[Contender]:
    """Run the built-in server."""
    public = directory / "public"
    public.mkdir()
    target = FilePublication(public / "web" / "jwks.json", "web")
    target.write(Document(body, "web", 1, max_age=300, stale=21600), replacing=None)
    server = ServerProcess("127.0.0.1", 0, Site(public, ("web",)))
    server.start()
    try:
        pid = server.pid or 0
        yield Contender("rotator", server.address[1], "/web/jwks.json", pid, ("200", "304"))
    finally:
        server.stop()


@contextlib.contextmanager
def nginx(directory: Path, body: bytes) -> Iterator[Contender]:
    """Run nginx with one worker and no access log, serving the same bytes from a file."""
    prefix = directory / "nginx"
    (prefix / "html").mkdir(parents=True)
    (prefix / "html" / "jwks.json").write_bytes(body)
    port = free_port()
    temporary = " ".join(
        f"{kind}_temp_path {prefix}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # Started by root, its worker would be somebody who may not enter our directory.
    user = "user root;" if os.geteuid() == 0 else ""
    (prefix / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {prefix}/pid; error_log stderr crit; {user}"
        "events { worker_connections 1024; }"
        f"http {{ access_log off; keepalive_requests 1000000000; sendfile off; {temporary}"
        f"server {{ listen 127.0.0.1:{port}; root {prefix}/html;"
        'location / { default_type application/jwk-set+json; add_header Cache-Control "public, max-age=300"; } } }'
    )
    with subprocess.Popen(
        ["nginx", "-p", str(prefix), "-c", str(prefix / "nginx.conf")]
    ) as process:
        wait_for(port)
        try:
            yield Contender("nginx", port, "/jwks.json", process.pid)
        finally:
            process.terminate()


@contextlib.contextmanager
def bare(directory: Path, body: bytes) -> Iterator[Contender]:
    """Run the least that Python can do: an asyncio protocol that never looks at the request."""
    path, port = directory / "bare.json", free_port()
    path.write_bytes(body)
    arguments = [sys.executable, "-c", BARE, str(path), str(port)]
    with subprocess.Popen(arguments) as process:
        wait_for(port)
        try:
            yield Contender("bare asyncio", port, "/", process.pid)
        finally:
            process.terminate()


def run(rounds: int, seconds: float) -> None:
    """Load all servers in turns and print what a request cost each of them."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    body = example_jwks()
    makers = [ours, bare, *([nginx] if shutil.which("nginx") else [])]
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        contenders = [stack.enter_context(make(Path(name), body)) for make in makers]
        turns = [(contender, answer) for contender in contenders for answer in contender.answers]
        began = time.monotonic()
        for _ in range(rounds):
            random.shuffle(turns)
            for contender, answer in turns:
                contender.burst(seconds, answer, body)
        print(
            f"HTTP: {len(body)} bytes, {CONNECTIONS} keep-alive connections, {rounds} bursts of"
            f" {seconds:g} s each, interleaved ({time.monotonic() - began:.0f} s)"
        )
        show(contenders)
    if nginx not in makers:
        print("nginx: left out, it is not installed here; its ratio is not known from this run")


def show(contenders: list[Contender]) -> None:
    """Print one line per server and kind of answer, as ratios of the references."""
    medians = {
        (contender.name, answer): statistics.median(costs)
        for contender in contenders
        for answer, costs in contender.costs.items()
    }
    references = [name for name in ("nginx", "bare asyncio") if (name, "200") in medians]
    for contender in contenders:
        for answer, costs in contender.costs.items():
            cost = medians[contender.name, answer]
            ratios = ", ".join(f"{cost / medians[name, '200']:.2f} x {name}" for name in references)
            print(
                f"  {contender.name:13} {answer}: {cost:6.1f} us CPU/request (min {min(costs):.1f}),"
                f" {statistics.median(contender.rates[answer]):7.0f} requests/s,"
                f" {contender.memory():3.0f} MiB; {ratios}"
            )


def main(words: list[str] | None = None) -> None:
    """Read the arguments (those of the command line unless given) and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args(words)
    run(arguments.rounds, arguments.seconds)


if __name__ == "__main__":
    main()
