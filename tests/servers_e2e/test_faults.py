"""Every fault of `tests.servers_e2e.faults` before every server elsewhere, met by the real command.

Each time a rotation is due. The previous key goes on signing and verifying, the command says what happened
and ends with the documented exit code, and when the fault is over the next run finishes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.servers import running
from tests.servers.proxy import Proxy
from tests.servers_e2e.faults import FAULTS, Fault
from tests.servers_e2e.ground import DUE, IMPATIENT, REMOTE, Ground
from tests.servers_e2e.warm import Ran, Warm

LONGEST = 45.0
"""Seconds after which even a machine that stood still must have given up: the store has two tries of 400 ms."""


LENT = 12
"""How many faults one key set goes through: AWS keeps every version of a day, and no more than a hundred."""

ROWS = [(name, fault) for name in REMOTE for fault in FAULTS if name in fault.backends]


class Grounds:
    """Key sets after their first run, each for the faults of one backend until one of them spoils it."""

    def __init__(self, home: Path, warm: Warm) -> None:
        self._home, self._warm = home, warm
        self._stack = contextlib.ExitStack()
        self._known: dict[str, Ground] = {}
        self._uses = 0

    @contextlib.contextmanager
    def lent(self, backend: str) -> Iterator[Ground]:
        """Lend a key set; after a failure, or a day's worth of versions for AWS, the next one is new."""
        self._uses += 1
        ground = self._known.pop(backend, None) or self._made(backend)
        yield ground
        if len(ground.marks) < LENT:
            self._known[backend] = ground

    def _made(self, backend: str) -> Ground:
        proxy = self._stack.enter_context(Proxy(running(backend).url, seed=1))
        ground = Ground(backend, self._home / f"{backend}-{self._uses}", proxy)
        self._stack.callback(ground.close)
        for shift in (timedelta(0), DUE):  # the second, so that there is a past to be stale
            ground.marks = [len(proxy.seen) + 1]
            ran = self._warm.run(ground.config, "rotate", shift=shift)
            assert ran.code == 0, ran.err
        ground.shift = DUE
        return ground

    def close(self) -> None:
        """Let go of them."""
        self._stack.close()


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Grounds]:
    """Return the key sets of this module."""
    grounds = Grounds(tmp_path_factory.mktemp("grounds"), warm)
    yield grounds
    grounds.close()


@pytest.mark.parametrize(
    ("backend", "fault"),
    ROWS,
    ids=[f"{name}-{fault.name.replace(' ', '-')}" for name, fault in ROWS],
)
def test_fault(grounds: Grounds, warm: Warm, backend: str, fault: Fault) -> None:
    """Refused as the table has it, nobody without a key, finished afterwards."""
    with grounds.lent(backend) as ground:
        before = ground.signs_and_verifies()
        ground.shift += DUE
        ground.configure(**(IMPATIENT | dict(fault.options)))
        began = time.monotonic()
        with fault.trouble(ground):
            ran = warm.run(ground.config, "rotate", shift=ground.shift, elsewhere=fault.elsewhere)
        took = time.monotonic() - began
        ground.configure()
        kind, code = fault.expected(backend)
        assert ran.code == code, (ran.code, ran.refusals, ran.err)
        assert took < LONGEST, f"{took:.1f} s"
        said_well(ran, kind, fault)
        now = ground.signs_and_verifies()
        if code:
            assert now == before or before not in ground.kids("active")
        finished(ground, warm, before)


def said_well(ran: Ran, kind: str, fault: Fault) -> None:
    """What happened, where, and what to do; no trace, and nothing that looks like our fault."""
    assert "Traceback" not in ran.err
    if ran.code == 0:
        assert not ran.refusals
        return
    said = " ".join(f"{item.message} {item.hint}" for item in ran.refusals).lower()
    if kind:
        assert {item.kind for item in ran.refusals} == {kind}, ran.refusals
        assert all(item.message and item.hint for item in ran.refusals), ran.refusals
    for word in fault.says:
        assert word.lower() in said + ran.out.lower(), (word, ran.refusals, ran.out)


def finished(ground: Ground, warm: Warm, before: str) -> None:
    """With the fault over, the very next run does what was due."""
    # Two minutes on, so that what a lost answer left half done counts as abandoned.
    ground.marks.append(len(ground.between.seen) + 1)
    ground.shift += timedelta(minutes=2)
    again = warm.run(ground.config, "rotate", shift=ground.shift, leap=True)
    assert again.code == 0, again.err
    assert before not in ground.kids("active")
    ground.assert_sound()
