"""`rotator run --metrics-file`: the file is written anew every half minute, and once more at the end."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rotator.errors import RotatorError
from rotator.metrics.textfile import write_metrics
from rotator.reconcile.site import Emit

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

EVERY: Final = 30.0  # seconds


class MetricsFile:
    """Keeps a metrics file up to date from a thread of its own.

    Args:
        emit: is told once when the file cannot be written, and again when the reason changes.
        every: seconds between two writes.
    """

    def __init__(
        self, path: Path, registry: CollectorRegistry, emit: Emit, *, every: float = EVERY
    ) -> None:
        self._path, self._registry, self._emit, self._every = path, registry, emit, every
        self._stopping = threading.Event()
        self._said = ""
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write once more, and no more."""
        self._stopping.set()
        self._thread.join(self._every)

    def _run(self) -> None:
        while not self._stopping.wait(self._every):
            self._write()
        self._write()

    def _write(self) -> None:
        try:
            write_metrics(self._path, self._registry)
        except RotatorError as error:
            if self._said != error.message:
                self._said = error.message
                self._emit("warning", "metrics.untold", reason=error.message, hint=error.hint)
        else:
            self._said = ""
