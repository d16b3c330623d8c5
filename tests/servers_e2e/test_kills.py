"""`kill -9` just after each write that a run makes to the server: the next run finishes what was begun.

The proxy tells when the server has answered a write, and the process dies before it hears of it. The file
store's twin is `tests/cli/test_shows.py`, which kills after each change of the file system.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.servers import running
from tests.servers.exchange import Request
from tests.servers.misdeeds import telling
from tests.servers.proxy import Proxy, When
from tests.servers_e2e.ground import DUE, REMOTE, Ground, is_write
from tests.servers_e2e.warm import Ran, Warm

IN_USE = {"active", "pending", "retiring"}
TOGETHER = 8
"""How many kills one key set goes through."""


@pytest.fixture(params=REMOTE)
def backend(request: pytest.FixtureRequest) -> str:
    """Return the name of a backend, each in turn."""
    return str(request.param)


@pytest.fixture
def proxy(backend: str) -> Iterator[Proxy]:
    """Run a proxy before the server of the backend."""
    with Proxy(running(backend).url) as proxy:
        yield proxy


def first_in_a_row(when: When, most: int = 3) -> When:
    """Pick the first few of requests to the same place: Conjur destroys a key by twenty writes, all alike."""
    last: object = None
    count = 0

    def picks(request: Request) -> bool:
        nonlocal last, count
        if not when(request):
            return False
        place = (request.path, request.header("X-Amz-Target"))
        count = count + 1 if place == last else 1
        last = place
        return count <= most

    return picks


def killed(warm: Warm, ground: Ground, proxy: Proxy, number: int, shift: timedelta) -> Ran:
    """Run `rotate`, killed as soon as the server has answered its write of that number."""
    gate = f"kill-{number}"
    pid = warm.start(ground.config, "rotate", shift=shift, gate=gate, leap=True)
    kill = telling(lambda _: os.kill(pid, signal.SIGKILL))
    with proxy.misbehaving(kill, when=first_in_a_row(is_write), skip=number - 1, times=1):
        warm.open(gate)
        return warm.wait(pid)


def finished(warm: Warm, ground: Ground, shift: timedelta, number: int) -> None:
    """The next run finishes the work; after a minute nothing of the killed one is left."""
    again = warm.run(ground.config, "rotate", shift=shift, leap=True)
    assert again.code == 0, f"after write {number}: {again.err}"
    phases = {key["phase"] for key in ground.assert_sound()["keys"]}
    if not phases <= IN_USE:
        # What the killed one left unfinished was given up; it is gone once nobody can write it any more.
        shift += timedelta(minutes=2)
        later = warm.run(ground.config, "rotate", shift=shift, leap=True)
        assert later.code == 0, f"after write {number}: {later.err}"
        phases = {key["phase"] for key in ground.assert_sound()["keys"]}
    assert phases <= IN_USE, phases


@pytest.mark.slow
def test_of_a_first_run(tmp_path: Path, warm: Warm, proxy: Proxy, backend: str) -> None:
    """Ring, material, first key, next key."""
    number = 0
    while True:
        number += 1
        ground = Ground(backend, tmp_path / str(number), proxy)
        ran = killed(warm, ground, proxy, number, timedelta(0))
        if ran.code == 0:
            break
        assert ran.code == -signal.SIGKILL, ran.err
        finished(warm, ground, timedelta(0), number)
        ground.close()
    assert number > 7  # creating, material and pending of two keys, and a promotion


@pytest.mark.slow
def test_of_a_rotation(tmp_path: Path, warm: Warm, proxy: Proxy, backend: str) -> None:
    """Promotion, the next key, retirement and destruction of the last, documents in the store, all in one run.

    A key set goes through several of them, each a rotation later; not through all, for AWS keeps every
    version of a day and refuses more than a hundred.
    """
    number = 0
    while True:
        number += 1
        if number % TOGETHER == 1:
            ground = Ground(backend, tmp_path / str(number), proxy, stored=True)
            for shift in (timedelta(0), DUE):
                assert warm.run(ground.config, "rotate", shift=shift).code == 0
        shift += DUE
        ran = killed(warm, ground, proxy, number, shift)
        if ran.code == 0:
            break
        assert ran.code == -signal.SIGKILL, ran.err
        ground.signs_and_verifies()
        finished(warm, ground, shift, number)
    ground.assert_sound()
    ground.close()
    assert number > 8  # retired, destroyed, promoted, creating, material, pending, announced, …
