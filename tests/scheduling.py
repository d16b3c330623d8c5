"""Which tests go to which worker, and in which order: what waits beside what computes, long ones first.

A file is a unit, so that what its tests share is made once; a few files are taken apart. (The marks of xdist's
`loadgroup` do nothing under pytest 9.2, which keeps a test's name elsewhere.)
"""

from __future__ import annotations

from typing import Any, Final

from xdist.scheduler import LoadScopeScheduling

WAITING: Final = (
    "tests/campaign/test_signer_verifier.py",
    "tests/campaign/test_kill_and_pause.py",
    "tests/servers_e2e/test_signer_verifier.py",
    "tests/servers_e2e/test_adopt_move.py::test_show_8",
    "tests/campaign/test_stopped.py",
    "tests/fuzz/test_daemon_faults.py",
    "tests/campaign/test_leaks.py",
    "tests/fuzz/",
    "tests/chaos/",
)
"""Real processes that rotate in seconds, and attacks: they wait more than they compute, and a clock judges
them. One worker has them all, one after the other."""

TOGETHER: Final = (
    "tests/packaging/",
    "tests/aws/",
    "tests/conjur/",
    "tests/kubernetes/",
    "tests/vault/",
)
"""Folders whose tests share an environment or a server."""

APART: Final = ("tests/servers_e2e/", "tests/model/", "tests/contract/", "tests/soak/")
"""Folders whose tests are long and share little."""

FIRST: Final = (
    "tests/packaging/",
    "tests/soak/",
    "tests/servers_e2e/",
    "tests/model/",
    "tests/cli/",
    "tests/contract/",
)
"""What is begun first, so that nothing long is left for the end."""


def unit_of(nodeid: str) -> str:
    """Return the name of the tests that run one after the other on one worker."""
    if nodeid.startswith(WAITING):
        return "waiting"
    for folder in TOGETHER:
        if nodeid.startswith(folder):
            return folder
    return nodeid if nodeid.startswith(APART) else nodeid.partition("::")[0]


def place_of(nodeid: str) -> int:
    """Return how early a test belongs into the run; the smaller, the earlier."""
    order = (*WAITING, *FIRST)
    return next(
        (n for n, beginning in enumerate(order) if nodeid.startswith(beginning)), len(order)
    )


class Units(LoadScopeScheduling):
    """Hands out units in the order of the collection."""

    def __init__(self, config: Any, log: Any = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
