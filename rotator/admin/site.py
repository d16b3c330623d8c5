"""What `/healthz`, `/readyz` and `/metrics` answer; `/` is a page of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from rotator.admin.exchange import Answer, Route, said
from rotator.atomic import read_regular
from rotator.errors import StoreError
from rotator.metrics import Meter
from rotator.metrics.surroundings import Reload, Surroundings
from rotator.publication.server import public_file
from rotator.publication.whitelist import Refused, checked_jwks
from rotator.settings import KeySetSettings, PublishSettings, Settings

LISTED: Final = 100
"""How many key sets one answer names."""

STILL: Final = 90.0
"""Seconds after which a main loop that has not come round counts as hanging; it does every 30 s."""


class AdminSite:
    """The pages of one daemon.

    Args:
        settings: the configuration in force.
        meter: what is known of each key set.
        around: what else the metrics tell, the built-in server among it.
        reload: how the configuration in force came about.
        beat: `time.monotonic()` when the main loop last came round, None before it first did.
        page: makes the status page, where there is one.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        meter: Meter,
        around: Surroundings,
        *,
        reload: Callable[[], Reload],
        beat: Callable[[], float | None],
        page: Route | None = None,
    ) -> None:
        self._settings, self._meter = settings, meter
        self._around, self._reload, self._beat, self._page = around, reload, beat, page
        self._good: set[Path] = set()
        self._registry: Any = None

    @property
    def routes(self) -> Mapping[str, Route]:
        """What makes the answer of each path."""
        routes = {"/healthz": self.health, "/readyz": self.readiness, "/metrics": self.metrics}
        return routes if self._page is None else {"/": self._page, **routes}

    def health(self) -> Answer:
        """200 while the daemon lives: its main loop comes round."""
        beat = self._beat()
        still = 0.0 if beat is None else time.monotonic() - beat
        if still <= STILL:
            return said(200, {"alive": True})
        reason = f"the main loop has not come round for {still:.0f} s"
        return said(503, {"alive": False, "reason": reason})

    def readiness(self) -> Answer:
        """200 while there is a JWKS to serve: what was good last counts, whatever became of the store.

        One key set without a document makes nobody unready once it was tried: whoever took the others' JWKS out
        of service for it would make an outage of a fault. It is named, here and in the metrics.
        """
        settings, reading = self._settings(), self._meter.read()
        known = {item.key_set: item for item in reading.key_sets}
        public = [s for s in settings.key_sets.values() if not s.policy.kind.symmetric]
        lacking = sorted(
            item.name
            for item in public
            if not (item.name in known and known[item.name].publishes)
            and not self._has_last_good(settings, item)
        )
        if lacking:
            ready = all(name in known for name in lacking) and len(lacking) < len(public)
        else:  # where there is no JWKS of any kind (HMAC) it is enough that each was tried
            ready = bool(public) or all(name in known for name in settings.key_sets)
        server = self._around.server() if self._around.server is not None else None
        if server is not None and not server[0]:
            ready = False
        members: dict[str, Any] = {
            "ready": ready,
            "key_sets": len(settings.key_sets),
            "failing": sum(item.failing for item in reading.key_sets),
            "overdue": sum(item.overdue(reading.now) is not None for item in reading.key_sets),
        }
        if lacking:
            members |= {"lacking": len(lacking), "without_document": lacking[:LISTED]}
        if server is not None:
            members["server"] = "serves" if server[0] else "does not run; it is started again"
        if error := self._reload().error:
            members["configuration"] = f"the newest was refused: {error}"
        return said(200 if ready else 503, members)

    def metrics(self) -> Answer:
        """Everything in `docs/metrics.md`."""
        from rotator.metrics.exposition import CONTENT_TYPE, registry_of, render

        if self._registry is None:
            self._registry = registry_of(self._meter, self._around, process=True)
        return Answer(200, CONTENT_TYPE, render(self._registry))

    def _has_last_good(self, settings: Settings, key_set: KeySetSettings) -> bool:
        """Tell whether a document of an earlier process is there to serve."""
        return any(self._is_good(path) for path in _files(settings, key_set))

    def _is_good(self, path: Path) -> bool:
        if path in self._good:
            return True
        try:
            body = read_regular(path)
            if body is not None:
                checked_jwks(body)
                self._good.add(path)
        except (StoreError, Refused):
            return False
        return path in self._good


def _files(settings: Settings, key_set: KeySetSettings) -> Iterable[Path]:
    if settings.server is not None:
        yield public_file(settings.public_dir, key_set.name)
        return  # what is published elsewhere is not what this process serves
    for target in key_set.publish:
        if isinstance(target, PublishSettings):
            yield target.path
