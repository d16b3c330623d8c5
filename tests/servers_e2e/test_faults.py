"""Every fault of `tests.servers_e2e.faults` before every server elsewhere, met by the real command.

Each time a rotation is due. The previous key goes on signing and verifying, the command says what happened
and ends with the documented exit code, and when the fault is over the next run finishes.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from tests.servers import running
from tests.servers.proxy import Proxy
from tests.servers_e2e.faults import FAULTS, Fault
from tests.servers_e2e.ground import DUE, IMPATIENT, REMOTE, Ground
from tests.servers_e2e.warm import Ran, Warm

LONGEST = 15.0
"""Seconds after which even a busy machine must have given up: the store has two tries of 400 ms."""


ROWS = [(name, fault) for name in REMOTE for fault in FAULTS if name in fault.backends]


@pytest.fixture(scope="module")
def grounds(
    tmp_path_factory: pytest.TempPathFactory, warm: Warm
) -> Iterator[Callable[[str], Ground]]:
    """Return what gives the one key set of a backend, after its first run: all faults come over this one."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def ground_of(backend: str) -> Ground:
            proxy = stack.enter_context(Proxy(running(backend).url, seed=1))
            ground = Ground(backend, tmp_path_factory.mktemp(backend), proxy)
            stack.callback(ground.close)
            for shift in (timedelta(0), DUE):  # the second, so that there is a past to be stale
                ran = warm.run(ground.config, "rotate", shift=shift)
                assert ran.code == 0, ran.err
                ground.marks.append(len(proxy.seen) + 1)
            ground.marks.pop()
            ground.shift = DUE
            return ground

        yield ground_of


@pytest.mark.parametrize(
    ("backend", "fault"),
    ROWS,
    ids=[f"{name}-{fault.name.replace(' ', '-')}" for name, fault in ROWS],
)
def test_fault(grounds: Callable[[str], Ground], warm: Warm, backend: str, fault: Fault) -> None:
    """Refused as the table has it, nobody without a key, finished afterwards."""
    ground = grounds(backend)
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
