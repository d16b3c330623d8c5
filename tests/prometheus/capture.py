"""A daemon with a moved clock, scraped every minute; what it told, as promtool's unit tests take it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from rotator.metrics import Meter
from rotator.metrics.exposition import registry_of, render
from rotator.metrics.surroundings import Surroundings
from rotator.metrics.textfile import parsed
from rotator.reconcile.site import Site
from rotator.stores import Target
from tests.unit.daemon_world import MINUTE, Log, MovedClock, World

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When promtool's time begins, so that dates in metrics are what `time()` is compared with."""

SCRAPED: Final = (
    {"job": "rotator", "instance": "one:8081"},
    {"job": "rotator", "instance": "two:8081"},
)
"""What Prometheus adds to each series that it scrapes: two replicas, that see the same."""

Place = tuple[str, tuple[tuple[str, str], ...]]
DURATIONS: Final[dict[str, Any]] = {"propagation": 15 * MINUTE, "rotate_every": 40 * MINUTE}


@dataclass
class Series:
    """Samples by minute; a series that ended has a marker, as Prometheus gives it."""

    samples: dict[Place, list[str]] = field(default_factory=dict)
    minutes: int = 0

    def add(self, values: dict[Place, float]) -> None:
        """Take what one scrape found."""
        for place, value in values.items():
            self.samples.setdefault(place, ["_"] * self.minutes).append(f"{value:.6f}")
        self.minutes += 1
        for known in self.samples.values():
            if len(known) < self.minutes:
                known.append("stale")

    def as_input(self) -> list[dict[str, str]]:
        """Return them in promtool's words."""
        return [
            {"series": written(place), "values": " ".join(values)}
            for place, values in self.samples.items()
        ]


def written(place: Place) -> str:
    """Write a series as PromQL does."""
    name, labels = place
    return f"{name}{{{','.join(f'{label}={_quoted(value)}' for label, value in labels)}}}"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Counted(Log):
    """Events on their way through a meter, as a daemon's are."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._through = meter.through(super().emit)

    def emit(self, level: str, event: str, **fields: Any) -> None:
        self._through(level, event, **fields)


@dataclass
class Run:
    """One daemon over one key set, its meter, and who scrapes it."""

    path: Path
    series: Series = field(default_factory=Series)
    more: dict[Place, float] = field(default_factory=dict)
    """What other exporters tell."""
    scraped: bool = True
    observers: list[Any] = field(default_factory=list)
    each_minute: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.clock = MovedClock(wall=EPOCH)
        self.meter = Meter(self.clock.now)
        self.world = World(self.path, clock=self.clock, log=Counted(self.meter))
        self.published = self.path / "web.json"

    def start(self, *more: Target, **policies: Any) -> Site:
        """Begin the life of a key set with a daemon of its own."""
        from rotator.daemon.observers import Observers

        site = self.world.site("web", *more, **(DURATIONS | policies))
        self.daemon = self.world.daemon([site], observer=Observers(self.meter, *self.observers))
        state = self.daemon.state
        self.around = Surroundings("1.2.3", lambda: state.reload, lambda: state.server())  # noqa: PLW0108 - replaced later
        return site

    def minutes(self, count: int) -> None:
        """Let time pass, scraped at the end of each minute."""
        for _ in range(count):
            with self.meter.listening():
                self.world.go_on(self.daemon, MINUTE)
            self.each_minute()
            self.scrape()

    def text(self, *, process: bool = False) -> str:
        """What the admin listener would answer now; with what it says of its process, if that is asked for."""
        return render(registry_of(self.meter, self.around, process=process)).decode()

    def scrape(self) -> None:
        """Take what is told now, as Prometheus does."""
        found = dict(self.more)
        if self.scraped:
            for family in parsed(self.text()).values():
                for (name, labels), value in family.series.items():
                    if "_seconds_bucket" in name:
                        continue  # no alert asks for them, and they are many
                    for replica in SCRAPED:
                        found[name, (*labels, *replica.items())] = value
            for replica in SCRAPED:
                found["up", tuple(replica.items())] = 1
        self.series.add(found)

    @property
    def elapsed(self) -> timedelta:
        """When the last scrape was, since promtool's time began."""
        return (self.series.minutes - 1) * MINUTE

    def close(self) -> None:
        """End what the daemon holds."""
        self.world.waker.close()


Answer = Callable[[], tuple[int, bytes]]


@contextlib.contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """Answer each GET on loopback with a status and a body, until the end of the block; its URL is returned."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
