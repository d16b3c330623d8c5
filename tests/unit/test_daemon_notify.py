"""What systemd is told, on a real datagram socket."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.service_manager import Notifier

BOUND = 20.0  # seconds; only a test that fails waits so long


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager: its socket, and its `NOTIFY_SOCKET`."""
    name = str(tmp_path / "n") if request.param == "path" else f"@rotator-test-{os.getpid()}"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as made:
        made.settimeout(BOUND)
        made.bind(name.replace("@", "\0", 1) if name[0] == "@" else name)
        yield made, name


def test_each_message_is_one_datagram(manager: tuple[socket.socket, str]) -> None:
    """Assignments, one a line; a line break in a status begins no assignment of its own."""
    heard, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready("2 key sets")
    assert heard.recv(4096) == b"READY=1\nSTATUS=2 key sets"
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    first, second = heard.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= before + 60_000_000
    notifier.status("all\nREADY=1 is well")
    assert heard.recv(4096) == b"STATUS=all READY=1 is well"
    notifier.alive()  # nobody asked for it
    notifier.stopping()
    assert heard.recv(4096).startswith(b"STOPPING=1\n")


def test_watchdog_is_fed_when_it_is_this_process_that_is_watched(
    manager: tuple[socket.socket, str],
) -> None:
    """At half of what is asked for (sd_watchdog_enabled(3)); not for another process."""
    heard, name = manager
    asked = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier(asked)
    assert notifier.watchdog_every == timedelta(seconds=1.5)
    notifier.alive()
    assert heard.recv(4096) == b"WATCHDOG=1"
    assert Notifier({**asked, "WATCHDOG_PID": "1"}).watchdog_every is None
    assert Notifier({**asked, "WATCHDOG_USEC": "0"}).watchdog_every is None
    assert Notifier({**asked, "WATCHDOG_USEC": "soon"}).watchdog_every is None
    assert Notifier({**asked, "NOTIFY_SOCKET": ""}).watchdog_every is None


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative", "/nowhere/there", "@nobody"])
def test_nobody_listening_is_no_fault(address: str) -> None:
    """Whatever the variable says, the daemon goes on."""
    Notifier({"NOTIFY_SOCKET": address}).ready("well")


def test_a_manager_that_does_not_read_holds_nothing_up(tmp_path: Path) -> None:
    """Its queue is full: after a moment the message is dropped."""
    name = str(tmp_path / "n")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as made:
        made.bind(name)
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as filler:
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    filler.sendto(b"x", name)
        began = time.monotonic()
        Notifier({"NOTIFY_SOCKET": name}).status("late")
        assert time.monotonic() - began < BOUND / 2
