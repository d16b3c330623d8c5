"""CPU per request of the built-in server beside nginx serving the same bytes, in one interleaved run.

    python -P -m benchmarks.http [--rounds N] [--seconds S] [--idle N]

All servers are up at once; short bursts of keep-alive requests go to one after the other in random order,
so that whatever else the machine does hits all of them alike. What counts is CPU time of the server's
processes divided by requests answered; the load comes from another process. nginx runs with what
`rotator edge-config nginx` prints, so it sends the same bytes and the same headers, `Rotator-Revision` and
`Server` aside.
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

from benchmarks.http_scripts import BARE, HOLD, LOAD
from rotator.publication import FilePublication
from rotator.publication.sidecar import digest_of
from rotator.server import ServerProcess, Site
from rotator.server.nginx import PublishedFile, nginx_locations
from rotator.stores import Document

CONNECTIONS = (1, 64)
ASKED = ("200", "304")


@dataclass
class Contender:
    """A server under load, and what each burst cost it."""

    name: str
    port: int
    path: str
    pid: int
    etag: str
    answers: tuple[str, ...] = ASKED
    costs: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    rates: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    usual: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    rare: dict[tuple[str, int], list[float]] = field(default_factory=dict)

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

    def burst(self, seconds: float, answer: str, connections: int, body: bytes) -> None:
        """Send requests for some seconds, and note CPU microseconds per request."""
        expected = b"" if answer == "304" else body
        condition = f"If-None-Match: {self.etag}\\r\\n" if answer == "304" else ""
        request = f"GET {self.path} HTTP/1.1\\r\\nHost: localhost\\r\\n{condition}\\r\\n"
        arguments = ["127.0.0.1", str(self.port), str(seconds), str(connections), request]
        arguments += [answer, str(len(expected)), digest_of(expected)]
        before = self.cpu()
        said = subprocess.run(
            [sys.executable, "-c", LOAD, *arguments], stdout=subprocess.PIPE, text=True, check=False
        )
        if said.returncode != 0:
            raise SystemExit(f"{self.name}: the run is void, see above")
        count, usual, rare = said.stdout.split()
        requests, kind = int(count), (answer, connections)
        self.costs.setdefault(kind, []).append((self.cpu() - before) / requests * 1e6)
        self.rates.setdefault(kind, []).append(requests / seconds)
        self.usual.setdefault(kind, []).append(float(usual) * 1000)
        self.rare.setdefault(kind, []).append(float(rare) * 1000)


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
        etag = f'"{digest_of(body)}"'
        yield Contender("rotator", server.address[1], "/web/jwks.json", pid, etag)
    finally:
        server.stop()


@contextlib.contextmanager
def nginx(directory: Path, body: bytes) -> Iterator[Contender]:
    """Run nginx with one worker and no access log, serving the same bytes from a file."""
    prefix = directory / "nginx"
    prefix.mkdir()
    file = prefix / "jwks.json"
    file.write_bytes(body)
    (prefix / "jwks.conf").write_text(nginx_locations([PublishedFile("web", file, 300, 21600)]))
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
        f"http {{ access_log off; keepalive_requests 1000000000; {temporary}"
        f"server {{ listen 127.0.0.1:{port}; include {prefix}/jwks.conf; }} }}"
    )
    with subprocess.Popen(
        ["nginx", "-p", str(prefix), "-c", str(prefix / "nginx.conf")]
    ) as process:
        wait_for(port)
        try:
            status = file.stat()
            etag = f'"{int(status.st_mtime):x}-{status.st_size:x}"'
            yield Contender("nginx", port, "/web/jwks.json", process.pid, etag)
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
            yield Contender("bare asyncio", port, "/", process.pid, "", ("200",))
        finally:
            process.terminate()


def hold_idle(contender: Contender, count: int) -> None:
    """Print what a server's memory is with many idle connections at the same time."""
    before, most = contender.memory(), 0.0
    command = [sys.executable, "-c", HOLD, "127.0.0.1", str(contender.port), str(count)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout or ():
            most = max(most, contender.memory())
            if line == "held\n":
                break
        else:
            raise SystemExit("too few open files are allowed here for so many connections")
        held = contender.memory()
        connected = [
            item
            for item in psutil.Process(contender.pid).net_connections("tcp")
            if item.status == psutil.CONN_ESTABLISHED
        ]
        process.communicate()
    late = (
        ""
        if len(connected) == count
        else f", of {count}: this machine is too busy to open them in 10 s"
    )
    print(
        f"  {len(connected)} idle connections{late}: {held:.0f} MiB (while they came at most {most:.0f}, before {before:.0f})"
    )


def run(rounds: int, seconds: float, idle: int) -> None:
    """Load all servers in turns and print what a request cost each of them."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    body = example_jwks()
    makers = [ours, bare, *([nginx] if shutil.which("nginx") else [])]
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        contenders = [stack.enter_context(make(Path(name), body)) for make in makers]
        turns = [
            (contender, answer, connections)
            for contender in contenders
            for answer in contender.answers
            for connections in CONNECTIONS
        ]
        began = time.monotonic()
        for _ in range(rounds):
            random.shuffle(turns)
            for contender, answer, connections in turns:
                contender.burst(seconds, answer, connections, body)
        print(
            f"HTTP: {len(body)} bytes, {rounds} bursts of {seconds:g} s each, interleaved"
            f" ({time.monotonic() - began:.0f} s)"
        )
        show(contenders)
        if idle:
            hold_idle(contenders[0], idle)
    if nginx not in makers:
        print("nginx: left out, it is not installed here; its ratio is not known from this run")


def show(contenders: list[Contender]) -> None:
    """Print one line per server, kind of answer and number of connections."""
    medians = {
        (contender.name, kind): statistics.median(costs)
        for contender in contenders
        for kind, costs in contender.costs.items()
    }
    for answer, connections in ((answer, count) for answer in ASKED for count in CONNECTIONS):
        kind = (answer, connections)
        print(f"  {answer}, {connections} connection(s):")
        for contender in contenders:
            if (cost := medians.get((contender.name, kind))) is None:
                continue
            nginx_cost = medians.get(("nginx", kind))
            ratio = f", {cost / nginx_cost:.2f} x nginx" if nginx_cost else ""
            print(
                f"    {contender.name:13} {cost:6.1f} us CPU/request (min {min(contender.costs[kind]):.1f}){ratio};"
                f" {statistics.median(contender.rates[kind]):6.0f} requests/s; all connections answered in"
                f" {statistics.median(contender.usual[kind]):.2f} ms (p50),"
                f" {statistics.median(contender.rare[kind]):.2f} (p99); {contender.memory():.0f} MiB"
            )


def main(words: list[str] | None = None) -> None:
    """Read the arguments (those of the command line unless given) and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument(
        "--idle", type=int, default=10_000, help="idle connections to hold at the end"
    )
    arguments = parser.parse_args(words)
    run(arguments.rounds, arguments.seconds, arguments.idle)


if __name__ == "__main__":
    main()
