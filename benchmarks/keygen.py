"""Whether making keys delays serving: requests answered while RSA-4096 keys are made, and while not.

    python -P -m benchmarks.keygen [--seconds S] [--rounds N]

The keys are made in a thread of the process that started the server, as the daemon makes them; the server
is its child process, and the client is another. Idle and busy turns are interleaved.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Self

import structlog

from rotator.algorithms import kind_of
from rotator.keys import Keys
from rotator.publication import FilePublication
from rotator.publication.server import public_file
from rotator.server import ServerProcess, Site
from rotator.stores import Document

# Asks two hundred times a second on one connection and notes how long each answer took.
CLIENT = """
import http.client, json, sys, threading, time
host, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
pause, took = threading.Event(), []
connection = http.client.HTTPConnection(host, port)
end = time.perf_counter() + seconds
while time.perf_counter() < end:
    began = time.perf_counter()
    connection.request("GET", "/bench/jwks.json")
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        sys.exit(f"status {answer.status}")
    took.append(time.perf_counter() - began)
    pause.wait(0.005)
print(json.dumps(took))
"""


def ask(address: tuple[str, int], seconds: float) -> list[float]:
    """Let a client ask for a while; return the seconds that each answer took."""
    command = [sys.executable, "-c", CLIENT, address[0], str(address[1]), str(seconds)]
    done = subprocess.run(command, check=True, capture_output=True)
    answers: list[float] = json.loads(done.stdout)
    return answers


class Maker:
    """Makes RSA-4096 keys in a thread, one after the other, until told to stop."""

    def __init__(self) -> None:
        self.made = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            Keys().make(kind_of("RS256", 4096))
            self.made += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def percentile(values: list[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def show(name: str, took: list[float], reference: list[float]) -> None:
    """Print one line, as ratios of the idle turns."""
    median, rare = statistics.median(took), percentile(took, 0.99)
    print(
        f"  {name:28} {len(took):6} answers, median {median * 1000:5.2f} ms"
        f" ({median / statistics.median(reference):4.2f} x idle), 99 % {rare * 1000:6.2f} ms"
        f" ({rare / percentile(reference, 0.99):4.2f} x), longest {max(took) * 1000:6.1f} ms"
    )


def run(seconds: float, rounds: int) -> None:
    """Serve a document, and ask for it in idle and busy turns."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    key = Keys().make(kind_of("RS256", 2048))
    jwk = {**(key.public or {}), "kid": key.kid, "use": "sig", "alg": "RS256"}
    document = Document(json.dumps({"keys": [jwk]}).encode(), "bench", 1, max_age=60, stale=60)
    idle: list[float] = []
    busy: list[float] = []
    made = 0
    with tempfile.TemporaryDirectory() as name:
        path = public_file(Path(name), "bench")
        path.parent.mkdir(parents=True)
        FilePublication(path, "bench").write(document, replacing=None)
        server = ServerProcess("127.0.0.1", 0, Site(Path(name), ("bench",)))
        server.start()
        try:
            for _ in range(rounds):
                idle += ask(server.address, seconds)
                with Maker() as maker:
                    busy += ask(server.address, seconds)
                made += maker.made
        finally:
            server.stop()
    print(f"serving while RSA-4096 keys are made ({os.cpu_count()} cores, {made} keys)")
    show("idle", idle, idle)
    show("a key being made all the time", busy, idle)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    run(arguments.seconds, arguments.rounds)


if __name__ == "__main__":
    main()
