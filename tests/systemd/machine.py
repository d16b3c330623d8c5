"""A real systemd, as PID 1 of namespaces of its own: for root on a Linux that allows it; nothing of the host changes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

import pytest

from tests.campaign.processes import BOUND, until
from tests.systemd.units import ROOT

_SCRIPT: Final = Path(__file__).with_name("machine.sh")
_NAMESPACES: Final = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
_NEEDED: Final = ("unshare", "nsenter", "setpriv", "pivot_root", "ip", "systemctl", "journalctl")


class Machine:
    """A running machine.

    Attributes:
        root: its file system, from outside.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.root = Path(f"/proc/{pid}/root")

    def run(self, *script: str) -> subprocess.CompletedProcess[str]:
        """Run commands inside as root, in the repository, until one fails."""
        inside = ("nsenter", "--target", str(self._pid), "--all", "env", "-i", "TERM=dumb")
        return subprocess.run(
            [
                *(*inside, "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "/bin/sh", "-euc"),
                "\n".join(("cd /opt/repository", *script)),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BOUND,
            check=False,
        )

    def do(self, *script: str) -> str:
        """Run commands, each of which must succeed; return what they print."""
        ran = self.run(*script)
        journal = (
            ""
            if ran.returncode == 0
            else self.run(
                "systemctl --failed --no-pager; systemctl status --no-pager rotator credential; journalctl --no-pager -o cat -n 20"
            ).stdout
        )
        assert ran.returncode == 0, (ran.stdout, ran.stderr, journal)
        return ran.stdout

    def write(self, path: str, text: str) -> None:
        """Write a file inside."""
        (self.root / path.lstrip("/")).write_text(text)


@contextmanager
def booted(scratch: Path) -> Iterator[Machine]:
    """Boot a machine; left out, in so many words, where that cannot be."""
    group = _group()
    scratch.mkdir()
    words = ["setpriv", "--pdeathsig", "KILL", "unshare", *_NAMESPACES]
    words += ["--fork", "--kill-child", "--propagation", "private", "/bin/sh", str(_SCRIPT)]
    words += [str(scratch), str(ROOT), sys.prefix, sys.base_prefix]
    enter = f'echo $$ > {group}/cgroup.procs && exec "$@"'
    with (scratch.parent / "machine.log").open("wb") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", enter, "sh", *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        until(lambda: process.poll() is not None or _systemd_of(process.pid) is not None)
        pid = _systemd_of(process.pid)
        if pid is None:
            _left_out((scratch.parent / "machine.log").read_text().strip() or "it did not start")
        machine = Machine(pid)
        until((machine.root / "run/systemd/private").exists)
        yield machine
    finally:
        pid = _systemd_of(process.pid)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait(BOUND)
        _removed(group)


def _systemd_of(pid: int) -> int | None:
    """The machine's PID 1, once it is systemd: the only child of what made the namespaces."""
    with contextlib.suppress(OSError, ValueError):
        child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
            return child
    return None


def _group() -> Path:
    """Make a control group for the machine's processes."""
    if os.geteuid() != 0:
        _left_out("it needs root")
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing or not Path("/usr/lib/systemd/systemd").exists():
        _left_out(f"not installed here: {', '.join(missing) or 'systemd'}")
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    try:
        group = Path(next(where for _, where, kind, *_ in mounts if kind == "cgroup2"))
        group /= f"rotator-test-{os.getpid()}"
        group.mkdir()
    except (StopIteration, OSError) as error:
        _left_out(f"no control group can be made: {error!r}")
    return group


def _removed(group: Path) -> None:
    """Remove a control group and those in it, once their processes are gone."""

    def gone() -> bool:
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        return not group.exists()

    until(gone)


def _left_out(why: str) -> NoReturn:
    pytest.skip(f"no systemd can be booted on this host: {why}")
