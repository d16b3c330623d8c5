"""Looks at rings, material and memory while the chaos goes on, past the proxies."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import psutil

from tests.campaign.processes import BOUND
from tests.chaos.stage import Stage

EVERY: Final = 0.5  # seconds
_MEMORY_EVERY: Final = 2.0  # seconds


class Watch:
    """Collects what happened to the rings, every key that ever was, and how large processes are.

    Attributes:
        active: by key set, the kids that signed, in their order.
        materials: by key set and kid, private keys.
        findings: what must never be seen.
        memory: by what it is of, seconds since the start and bytes.
        watched: by what it is of, how to get its process id at the moment.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.active: dict[str, list[str]] = {name: [] for name in stage.grounds}
        self.materials: dict[tuple[str, str], bytes] = {}
        self.findings: list[str] = []
        self.memory: dict[tuple[str, int], list[tuple[float, int]]] = {}
        self.watched: dict[str, Callable[[], int | None]] = {}
        self._revisions: dict[str, int] = {}
        self._began = time.monotonic()
        self._measured = float("-inf")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        """How long it has been looking."""
        return time.monotonic() - self._began

    def stop(self) -> None:
        """Look for the last time."""
        self._stop.set()
        self._thread.join(BOUND)
        self._look()

    def rotations(self, name: str) -> int:
        """How often the key that signs was replaced."""
        return max(len(self.active[name]) - 1, 0)

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            self._look()
            if self.seconds - self._measured >= _MEMORY_EVERY:
                self._measured = self.seconds
                self._measure()

    def _look(self) -> None:
        for name in self._stage.grounds:
            try:
                with self._stage.moving:
                    if name not in self._stage.away:
                        self._look_at(name)
            except Exception as error:  # noqa: BLE001 - whatever a look cannot bear is a finding
                self._find(f"{name}: {type(error).__name__}: {error}")

    def _look_at(self, name: str) -> None:
        ground = self._stage.grounds[name]
        stored = ground.store.rings(name).load()
        before = self._revisions.get(name)
        if stored is None:
            if before is not None:
                self._find(f"{name}: the ring is lost after revision {before}")
            return
        ring = ground.ring()
        if before is not None and ring["revision"] < before:
            self._find(f"{name}: revision {ring['revision']} after {before}")
        self._revisions[name] = ring["revision"]
        self._note_active(name, ring["keys"])
        for key in ring["keys"]:
            if key.get("locator") and (name, key["kid"]) not in self.materials:
                found = ground.store.material(name).get(key["locator"], key["kid"])
                if found is not None:
                    self.materials[name, key["kid"]] = found.reveal()

    def _note_active(self, name: str, keys: Iterable[dict[str, Any]]) -> None:
        signing = [key["kid"] for key in keys if key["phase"] == "active"]
        if len(signing) > 1:
            self._find(f"{name}: {len(signing)} keys sign")
        known = self.active[name]
        if signing and (not known or known[-1] != signing[0]):
            if signing[0] in known:
                self._find(f"{name}: {signing[0]} signs again")
            known.append(signing[0])

    def _measure(self) -> None:
        for what, process in list(self.watched.items()):  # it is cleared once they end
            try:
                pid = process()
                if pid is None:
                    continue
                size = psutil.Process(pid).memory_info().rss
            except (psutil.Error, ValueError):  # it ended, or has no worker at the moment
                continue
            self.memory.setdefault((what, pid), []).append((self.seconds, size))

    def _find(self, finding: str) -> None:
        if finding not in self.findings:
            self.findings.append(finding)


def slope(points: list[tuple[float, int]]) -> float:
    """Return the slope of the line through the points with the least squares, in bytes a second."""
    if len(points) < 3:
        return 0.0
    middle = sum(at for at, _ in points) / len(points)
    mean = sum(size for _, size in points) / len(points)
    spread = sum((at - middle) ** 2 for at, _ in points)
    return sum((at - middle) * (size - mean) for at, size in points) / spread if spread else 0.0
