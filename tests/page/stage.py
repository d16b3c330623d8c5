"""Key sets on a real file store with a real HTTP probe, real ticks under moved clocks, and the page that they make."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from rotator.admin import AdminListener, AdminSite
from rotator.admin.page import StatusPage
from rotator.admin.page_known import Known
from rotator.daemon.observers import Observers
from rotator.daemon.state import DaemonState
from rotator.metrics import Meter
from rotator.metrics.surroundings import Surroundings
from rotator.probes import UrlProbe
from rotator.reconcile.settle import settle
from rotator.reconcile.site import Site
from rotator.settings import Settings
from tests.unit.daemon_world import HOUR, MINUTE, SECOND, START, World

__all__ = ["HOUR", "MINUTE", "SECOND", "START", "Page", "Stage", "edge"]

VOID = frozenset({"meta", "link"})


@dataclass
class Edge:
    """An HTTP server where verifiers read a file; `status` other than 200 is all that it answers."""

    file: Path
    url: str = ""
    status: int = 200


@contextmanager
def edge(file: Path) -> Iterator[Edge]:
    """Serve a JWKS on loopback."""
    found = Edge(file)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = found.file.read_bytes() if found.file.exists() else b""
            self.send_response(found.status if body else 404)
            self.send_header("Content-Type", "application/jwk-set+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/web/jwks.json"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Stage:
    """Key sets whose ticks the page is told of.

    Attributes:
        names: what the configuration names; key sets that are made here come to it.
    """

    path: Path
    names: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world = World(self.path)
        self.world.waker.close()  # no daemon runs here
        self.clock = self.world.clock
        self.meter, self.known = Meter(self.clock.now), Known()
        self.observer = Observers(self.meter, self.known)
        self.state = DaemonState(START)
        around = Surroundings("1.2.3", lambda: self.state.reload, lambda: None)
        settings = cast("Settings", SimpleNamespace(key_sets=self.names))
        self.page = StatusPage(lambda: settings, self.meter, self.known, around)
        self.site = AdminSite(
            lambda: settings,
            self.meter,
            around,
            reload=lambda: self.state.reload,
            beat=lambda: None,
            page=self.page.answer,
        )

    def key_set(self, name: str = "web", *probes: str) -> Site:
        """A key set with a signing delivery, a published file and probes."""
        self.names[name] = None
        return self.world.site(name, *(UrlProbe(url, name) for url in probes))

    def settle(self, site: Site) -> None:
        """Tick until nothing changes any more."""
        settle(site, self.clock.advance, self.observer.ticked)

    def live(self, site: Site, duration: timedelta, every: timedelta = 5 * MINUTE) -> None:
        """Let time pass, and tick."""
        for _ in range(int(duration / every)):
            self.clock.advance(every)
            self.settle(site)

    def look(self) -> Page:
        """The page as it is now."""
        return Page.read(self.page.answer().body.decode())

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Run the admin listener; give its URL."""
        listener = AdminListener("127.0.0.1", 0, self.site.routes, frozenset({"/healthz"}))
        listener.start(lambda: None, lambda _: None)
        try:
            yield listener.url
        finally:
            listener.stop()


class Page(HTMLParser):
    """A page, read strictly: every element is closed, no id is there twice.

    Attributes:
        tags: every element with its attributes, in order.
        said: its text by the element that it is in.
    """

    def __init__(self) -> None:
        super().__init__()
        self.source = ""
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.said: list[tuple[str, str]] = []
        self._open: list[str] = []

    @classmethod
    def read(cls, source: str) -> Page:
        page = cls()
        page.source = source
        page.feed(source)
        page.close()
        assert page._open == []
        ids = [found["id"] for _, found in page.tags if "id" in found]
        assert len(ids) == len(set(ids))
        return page

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append((self._open[-1] if self._open else "", data))

    @property
    def text(self) -> str:
        """All that a person reads, on one line."""
        return " ".join(" ".join(said for tag, said in self.said if tag != "style").split())

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every element of a name."""
        return [found for name, found in self.tags if name == tag]

    def texts(self, tag: str) -> list[str]:
        """The texts in every element of a name."""
        return [said for name, said in self.said if name == tag]

    def bars(self) -> list[str]:
        """What the bars of the pictures are, the legend's left out."""
        return [found["class"] for found in self.all("rect") if found["width"] != "30"]
