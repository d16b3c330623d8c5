"""Starts the issuer as a process of its own, and tells it what to do."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.cli.bench import BOUND, ROOT, environment


class RunningIssuer:
    """An issuer that runs.

    Attributes:
        url: where it gives out tokens.
    """

    def __init__(self, document: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.signers.issuer", str(document)],
            cwd=ROOT,
            env=environment({"PYTHONPATH": str(ROOT)}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = f"http://127.0.0.1:{self._line()}/token"

    def tell(self, word: str) -> None:
        """Tell it to `stay`, `follow`, go `back` or `lie`, and wait until it does."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        assert self._line() == "done"

    def end(self) -> None:
        """End it; harmless twice."""
        self._process.communicate(timeout=BOUND)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, "the issuer ended"
        return line


@contextlib.contextmanager
def issuing(document: Path) -> Iterator[RunningIssuer]:
    """Run an issuer while the block lasts."""
    issuer = RunningIssuer(document)
    try:
        yield issuer
    finally:
        issuer.end()
