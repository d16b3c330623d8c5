"""Real servers for the tests: each is started once per test process, on a free loopback port, and stopped with it.

`running("vault")` starts it at the first call. A server whose program is not built is left out, in so many
words; under `CI=true` that is a failure.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import itertools
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

import pytest

MODULES: Final = {
    "aws": "tests.servers.moto",
    "conjur": "tests.servers.conjur",
    "vault": "tests.servers.vault",
}
"""By backend: the module whose `start(scratch)` starts the server it talks to."""

_started: dict[str, RunningServer] = {}

_FIRST_PORT: Final = 12_000
_PORTS: Final = 2_000
_STARTED: Final = (
    180.0  # seconds; a kube-apiserver on a busy machine takes ten times as long as alone
)
_turns = itertools.count(secrets.randbelow(_PORTS))  # elsewhere than another run on this machine


class RunningServer(Protocol):
    """One server, and how a store of its backend gets an empty place on it."""

    @property
    def url(self) -> str:
        """Where it answers, such as `http://127.0.0.1:40001`; no slash at the end."""
        ...

    @property
    def environ(self) -> Mapping[str, str]:
        """What another process needs in its environment to log in."""
        ...

    def settings(self, prefix: str, *, url: str | None = None) -> dict[str, Any]:
        """Return the options of a store, as a configuration's JSON holds them, in a place of its own.

        Args:
            prefix: a name that no other test uses; nothing is stored under it yet.
            url: another address to reach the server by (a proxy's).
        """
        ...

    def forget_everything(self) -> None:
        """Make it what it is after a restart without its storage: up, empty, the same logins."""
        ...

    def stop(self) -> None:
        """End it."""
        ...


def running(backend: str) -> RunningServer:
    """Return the server of a backend, started once in this process, with its login in `os.environ`.

    Raises:
        pytest.skip.Exception: it is not built (`make servers`); under `CI=true` the test fails instead.
    """
    if backend not in _started:
        server: RunningServer = importlib.import_module(MODULES[backend]).start()
        atexit.register(_stop, os.getpid(), server)
        _started[backend] = server
        os.environ.update(server.environ)
    return _started[backend]


def _stop(owner: int, server: RunningServer) -> None:
    if os.getpid() == owner:  # forks of a race leave it alone
        server.stop()


def left_out(what: str) -> NoReturn:
    """Leave a test out for want of a server that nobody built; a failure under `CI=true`."""
    text = f"{what} is not built here: run `make servers` first"
    if os.environ.get("CI") == "true":
        pytest.fail(f"left out under CI=true: {text}")
    pytest.skip(text)


def free_port() -> int:
    """Return a loopback port on which nothing listens.

    Below those that the kernel gives away by itself, and for each worker of the tests others: whoever asked
    still finds it free when it comes to listen there.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for _ in range(_PORTS):
        port = _FIRST_PORT + worker % 8 * _PORTS + next(_turns) % _PORTS
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def launch(
    command: list[str | Path], log: Path, ready: Callable[[], bool], *, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a server and return once it is ready; its output goes to `log`.

    Raises:
        AssertionError: it ended, or was not ready within three minutes; the message has the log's end.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=dict(env)
        )
    deadline = time.monotonic() + _STARTED
    pause = 0.02
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"{command[0]} did not start:\n{log.read_text()[-3000:]}")
        _wait(process, pause)
    return process


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
