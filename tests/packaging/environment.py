"""What is shipped, and environments made from nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Built:
    """The two files of a release."""

    wheel: Path
    sdist: Path


@dataclass(frozen=True)
class Installed:
    """An environment with the locked core requirements and the wheel."""

    bin: Path

    def run(
        self, *words: str | Path, cwd: Path, expect: tuple[int, ...] = (0,)
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of this environment in `cwd`, with nothing inherited that could help it."""
        program, *arguments = words
        done = subprocess.run(
            (self.bin / program, *arguments),
            cwd=cwd,
            env={"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(cwd), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode in expect, (
            f"{words} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def pip(self, *words: str | Path) -> None:
        """Run the pip of the environment that runs the tests on this one, which has none.

        A download that breaks off in its midst is tried again, which pip does not do.
        """
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
        command = (*pip, "--python", self.bin / "python", *words)
        if "-r" not in words or _done(*command).returncode != 0:
            must(*command)


def must(*words: str | Path, cwd: Path = ROOT) -> None:
    """Run a command of the preparation; its output is the message when it fails."""
    done = _done(*words, cwd=cwd)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"


def _done(*words: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def environment(venv: Path, built: Built) -> Installed:
    """Make an environment with the runtime lock and the wheel."""
    must(sys.executable, "-m", "venv", "--without-pip", venv)
    made = Installed(venv / "bin")
    # What is imported is compiled then; to compile all of it here takes longer than to install it.
    made.pip(
        "install", "--no-compile", "--require-hashes", "-r", ROOT / "requirements" / "runtime.txt"
    )
    made.pip("install", "--no-index", "--no-deps", built.wheel)
    return made


def locked(*names: str) -> str:
    """Return the lines of the development lock that pin these distributions, hashes and all."""
    lock = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    pins = [pin for pin in re.split(r"\n(?=\S)", lock) if pin.partition("==")[0] in names]
    assert len(pins) == len(names)
    return "\n".join(pins) + "\n"
