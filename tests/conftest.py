"""What every test process begins with."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from rotator import lazy_log, logs
from tests.scheduling import Units, place_of

# Started in the background of a script, this process ignores Ctrl-C, and so would every command that it
# starts (POSIX: an ignored signal stays ignored across exec). The commands' own answer to it is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Where Linux keeps files in memory. A file store waits for the disk twice at every write (milliseconds each on
# a common disk, against microseconds), and nothing but a power cut would show a test the difference.
_MEMORY = Path("/dev/shm")
_ROOM = 2 * 2**30  # bytes; a container often has 64 MiB there


def pytest_configure() -> None:
    """Have the tests' directories in memory, where there is room and nobody said otherwise."""
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones first."""
    items.sort(key=lambda item: place_of(item.nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Units:
    """Return what hands out the tests."""
    return Units(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests each backend passed, and how many were left out for want of its server."""
    passed = _by_backend(terminalreporter.stats.get("passed", []))
    skipped = _by_backend(terminalreporter.stats.get("skipped", []))
    if len(passed) > 1:
        terminalreporter.section("tests per backend")
        for backend in sorted(passed.keys() | skipped.keys()):
            left_out = f", {skipped[backend]} left out" if skipped[backend] else ""
            terminalreporter.write_line(f"{backend:<8} {passed[backend]}{left_out}")


def _by_backend(reports: Iterable[pytest.TestReport]) -> Counter[str]:
    """Count tests by the backend that their names name: a folder, or a parameter."""
    return Counter(
        found
        for report in reports
        for found in set(re.findall(r"\b(aws|conjur|file|vault)\b", report.nodeid))
    )


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Undo what a test did to the logging of this process: the next one starts as if alone."""
    root = logging.getLogger()
    level, handler = root.level, logs._State.handler
    threshold, pending = lazy_log._State.threshold, lazy_log._State.pending
    yield
    for left in [item for item in root.handlers if isinstance(item, logs._Libraries)]:
        if left is not handler:
            root.removeHandler(left)
    root.setLevel(level)
    logs._State.handler = handler
    lazy_log._State.threshold, lazy_log._State.pending = threshold, pending
    if threshold is None:
        structlog.reset_defaults()
