"""A script that runs commands in forks of itself, one request and one answer per line: the test's side of it,
and what is done to the clock of a fork.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tests.cli.bench import BOUND, ROOT, environment


class Script:
    """A process that has everything imported.

    Args:
        module: whose `work()` it runs.
    """

    def __init__(self, module: str) -> None:
        self._command = [sys.executable, "-P", "-c", f"from {module} import work; work()"]
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=environment({"PYTHONPATH": str(ROOT)}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End the script, and with it whatever it started."""
        self._process.communicate(timeout=BOUND)  # closes its input, also when it is gone already

    def _ask(self, **request: Any) -> Any:
        """Ask it something; one that does not answer in time is ended, and the next request finds a new one."""
        if self._process.poll() is not None:
            self._process.communicate()
            self._process = self._start()
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(BOUND, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        finally:
            timer.cancel()
        if not answer:
            process.wait()
            raise AssertionError(f"no answer to {sorted(request)} within {BOUND} s, or it ended")
        return json.loads(answer)


def move_clock(shift: timedelta, *, leap: bool) -> None:
    """Move the clocks of this process.

    Args:
        shift: how far they are ahead.
        leap: its waiting moves them on instead of taking time.
    """
    import rotator.cli.acting
    from rotator.hostclock import HostClock

    real: dict[str, Callable[[HostClock], Any]] = {
        name: getattr(HostClock, name) for name in ("now", "elapsed")
    }
    moved = shift

    def pause(duration: timedelta) -> None:
        nonlocal moved
        moved += duration

    replace(
        HostClock,
        now=lambda clock: real["now"](clock) + moved,
        elapsed=lambda clock: real["elapsed"](clock) + moved,
    )
    if leap:
        replace(rotator.cli.acting, pause=pause)


def replace(where: object, **what: object) -> None:
    """Put something else in the place of members of a module or class, for the rest of this process."""
    for name, value in what.items():
        setattr(where, name, value)
