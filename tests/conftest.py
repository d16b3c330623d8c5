"""What every test process begins with."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

# Started in the background of a script, this process ignores Ctrl-C, and so would every command that it
# starts (POSIX: an ignored signal stays ignored across exec). The commands' own answer to it is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
