"""A fleet of key sets, and a real `rotator run` over it, seen through its admin listener and its watchdog."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

EVERY = 0.25
"""Seconds after which the main loop feeds its watchdog."""


def configure(directory: Path, count: int, **more: Any) -> Path:
    """Write a fleet's configuration, a file for each key set; may be called again for a larger one."""
    fleet = directory / "fleet"
    for path in (fleet, directory / "public", directory / "signing"):
        path.mkdir(exist_ok=True)
    for name in names(count):
        deliver = [{"to": "files", "path": str(directory / "signing" / name)}]
        publish = [{"to": "file", "path": str(directory / "public" / f"{name}.json")}]
        (fleet / f"{name}.yaml").write_text(json.dumps({"deliver": deliver, "publish": publish}))
    main = {
        "version": 1,
        "stores": {"local": {"backend": "file", "path": str(directory / "store")}},
        "defaults": {"algorithm": "EdDSA", "policy": {"token_ttl": "15m", "signer_lag": "5m"}},
        "key_sets_dir": str(fleet),
        **more,
    }
    path = directory / "rotator.json"
    path.write_text(json.dumps(main))
    return path


def names(count: int) -> list[str]:
    """Return the names of a fleet."""
    return [f"tenant-{number:05}" for number in range(count)]


def multiply(directory: Path, first: str, others: list[str]) -> None:
    """Have lie there for other key sets what lies there for one: ring, material, documents."""
    found = [
        path
        for section in ("store", "signing", "public")
        for path in sorted((directory / section).rglob("*"))
        if first in str(path)
    ]
    for other in others:
        for path in found:
            copy = Path(str(path).replace(first, other))
            if path.is_symlink():
                copy.symlink_to(path.readlink())
            elif path.is_dir():
                copy.mkdir(mode=path.stat().st_mode & 0o777)
            else:
                copy.write_bytes(path.read_bytes().replace(first.encode(), other.encode()))
                copy.chmod(path.stat().st_mode & 0o777)


class Heart(threading.Thread):
    """The service manager's end of the watchdog: notes the longest time between two signs of the main loop.

    Attributes:
        longest: in seconds, since it was last set to 0.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.environ = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(round(EVERY * 4e6))}
        self.longest = 0.0
        self.start()

    def run(self) -> None:
        """Listen until the end."""
        last = None
        while True:
            if b"WATCHDOG=1" in self._socket.recv(4096):
                now = time.monotonic()
                self.longest = max(self.longest, now - (last or now))
                last = now


class Run:
    """A real `rotator run`."""

    def __init__(self, config: Path, port: int, log: Path) -> None:
        self._port, self._log = port, log
        self.heart = Heart(log.with_suffix(".sock"))
        self.began = time.monotonic()
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "rotator",
                    "-c",
                    str(config),
                    "--log-format",
                    "json",
                    "run",
                ],
                stderr=file,
                env={**os.environ, **self.heart.environ},
            )
        self._seen = psutil.Process(self._process.pid)

    def ask(self, path: str) -> str:
        """Return what the admin listener answers, nothing when it does not say 200."""
        try:
            url = f"http://127.0.0.1:{self._port}{path}"
            with urllib.request.urlopen(url, timeout=30) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            return ""

    def counted(self, metric: str) -> Counter[str]:
        """Return the samples of a metric by their labels."""
        found: Counter[str] = Counter()
        for labels, value in re.findall(
            rf"^rotator_{metric}(\S*) (\S+)$", self.ask("/metrics"), re.MULTILINE
        ):
            found[labels] += int(float(value))
        return found

    def until(self, true: Callable[[], bool], every: float = 0.2) -> float:
        """Wait for something; return the seconds since the start."""
        pause = threading.Event()
        while not true():
            if self._process.poll() is not None:
                raise SystemExit(f"rotator run ended: {self._log.read_text()[-2000:]}")
            pause.wait(every)
        return time.monotonic() - self.began

    def cpu(self) -> float:
        """Return the CPU seconds that it took so far."""
        times = self._seen.cpu_times()
        return float(times.user + times.system)

    def memory(self) -> float:
        """Return its resident memory, in MiB."""
        return float(self._seen.memory_info().rss / 2**20)

    def said(self, event: str) -> int:
        """Return how often its log names an event."""
        return self._log.read_bytes().count(f'"event": "{event}"'.encode())

    def reload(self) -> None:
        """Ask for its configuration to be read again."""
        self._process.send_signal(signal.SIGHUP)

    def end(self) -> float:
        """End it; return the seconds that it took."""
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
        return time.monotonic() - began


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
