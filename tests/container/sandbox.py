"""Runs a program as a container engine would: its own root, read-only, as a user, with volumes; no engine is needed.

What is used of the kernel is what engines use: a mount namespace of its own, bind mounts, `no_new_privs`. It takes root
and Linux; a test that has neither is left out in so many words.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers import left_out

NEEDED = ("unshare", "nsenter", "setpriv", "chroot", "mount", "ip")
_DEVICES = ("null", "zero", "full", "random", "urandom")


def need_namespaces() -> None:
    """Leave the test out where namespaces cannot be made."""
    if sys.platform != "linux" or os.getuid() != 0 or not all(map(shutil.which, NEEDED)):
        left_out(f"root on Linux with {', '.join(NEEDED)}")


@dataclass(frozen=True, slots=True)
class Volume:
    """What of this machine is seen where.

    Attributes:
        source: a file or directory here; None is an empty tmpfs, writable for everybody.
        target: where it is seen.
    """

    source: Path | None
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Sandbox:
    """One container: a root, an environment, a user, volumes.

    Attributes:
        root: its root file system; mount points that it lacks are made in it, as engines do.
        user: uid and gid.
        network: the process whose network namespace it joins; None is this machine's.
    """

    root: Path
    environ: Mapping[str, str]
    user: tuple[int, int] = (0, 0)
    volumes: Sequence[Volume] = field(default=())
    network: int | None = None
    read_only: bool = True

    def words(self, command: Sequence[str]) -> list[str]:
        """Return the words that run a command in it; every program on the way replaces itself by the next."""
        uid, gid = self.user
        chroot = f"{shutil.which('chroot')} --groups= --userspec={uid}:{gid} {{root}}"
        lines = [
            "mount --bind {root} {root}",
            *(
                f"mount --bind {shlex.quote(f'/dev/{name}')} {self._point(f'/dev/{name}', file=True)}"
                for name in _DEVICES
            ),
            f"mount --rbind /proc {self._point('/proc')}",
            *(self._mounted(volume) for volume in self.volumes),
            *(["mount -o remount,bind,ro {root}"] if self.read_only else []),
            f"exec setpriv --no-new-privs env -i {self._environ()} {chroot} {shlex.join(command)}",
        ]
        root = shlex.quote(str(self.root))
        script = "set -e\n" + "\n".join(lines).replace("{root}", root)
        inside = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
        if self.network is None:
            return inside
        return ["nsenter", f"--net=/proc/{self.network}/ns/net", *inside]

    def run(self, *command: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.words(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *command: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a command; what it says goes to a file. It is the process that is returned, not a child of it."""
        with log.open("ab") as out:
            return subprocess.Popen(
                self.words(command), stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def _environ(self) -> str:
        return shlex.join(f"{name}={text}" for name, text in self.environ.items())

    def _point(self, target: str, *, file: bool = False) -> str:
        point = self.root / target.lstrip("/")
        if file:
            point.parent.mkdir(parents=True, exist_ok=True)
            point.touch()
        else:
            point.mkdir(parents=True, exist_ok=True)
        return shlex.quote(str(point))

    def _mounted(self, volume: Volume) -> str:
        if volume.source is None:
            return f"mount -t tmpfs -o mode=1777 tmpfs {self._point(volume.target)}"
        point = self._point(volume.target, file=volume.source.is_file())
        line = f"mount --bind {shlex.quote(str(volume.source))} {point}"
        return f"{line}\nmount -o remount,bind,ro {point}" if volume.read_only else line
