"""`serve`: publishes what its sources say, never goes back, keeps the last good one, ends on SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Self

import psutil
import pytest

from rotator.errors import StoreUnavailable
from rotator.publication import FilePublication, ServerPublication
from rotator.server import ServerProcess, Site, serve
from rotator.stores import Document


def jwks(kid: str) -> bytes:
    """Return a JWKS of one Ed25519 key."""
    return json.dumps(
        {"keys": [{"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": "AAAA"}]}
    ).encode()


@dataclass
class Running:
    """`serve` in a thread, with sources that a test changes."""

    public: Path
    sources: dict[str, Callable[[], Document | None]]
    rounds: int = 0
    turned: threading.Condition = field(default_factory=threading.Condition)
    stop: threading.Event = field(default_factory=threading.Event)
    server: ServerProcess | None = None

    def __enter__(self) -> Self:
        started = threading.Event()
        names = (*self.sources, "last")  # a source that only counts the rounds

        def count() -> None:
            with self.turned:
                self.rounds += 1
                self.turned.notify_all()

        def on_start(server: ServerProcess) -> None:
            self.server = server
            started.set()

        site = Site(self.public, names)
        sources = {name: self.load_of(name) for name in self.sources} | {"last": count}
        self._thread = threading.Thread(
            target=lambda: serve(
                ServerProcess("127.0.0.1", 0, site),
                site,
                sources,
                resync=timedelta(milliseconds=50),
                stop=self.stop,
                started=on_start,
            )
        )
        self._thread.start()
        assert started.wait(60)
        return self

    def load_of(self, name: str) -> Callable[[], Document | None]:
        """Return a source that asks whichever source a test has put there by then."""

        def load() -> Document | None:
            return self.sources[name]()

        return load

    def turn(self) -> None:
        """Wait until every source was read anew, from beginning to end."""
        with self.turned:
            goal = self.rounds + 2
            assert self.turned.wait_for(lambda: self.rounds >= goal, timeout=60)

    def served(self, key_set: str) -> Document | None:
        """Return what the server serves."""
        assert self.server is not None
        return ServerPublication(self.server.url, self.public, key_set).look().document

    def __exit__(self, *_error: object) -> None:
        self.stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


def failing() -> Document | None:
    """Stand for a store that is down."""
    raise StoreUnavailable("the store does not answer")


def broken() -> Document | None:
    """Stand for a fault of ours."""
    raise ZeroDivisionError


def test_news_is_served_and_nothing_ever_goes_back(tmp_path: Path) -> None:
    sources: dict[str, Callable[[], Document | None]] = {
        "web": lambda: Document(jwks("k3"), "web", 3, max_age=5, stale=0)
    }
    with Running(tmp_path / "public", sources) as running:
        document = running.served("web")
        assert document is not None
        assert (document.body, document.revision, document.max_age) == (jwks("k3"), 3, 5)
        for source, revision in (
            (lambda: Document(jwks("k4"), "web", 4), 4),
            (lambda: Document(jwks("old"), "web", 2), 4),
            (failing, 4),
            (broken, 4),
            (lambda: None, 4),
            (lambda: Document(b"{}", "web", 9), 4),
            (lambda: Document(jwks("other"), "other", 9), 4),
            (lambda: Document(jwks("k5"), "web", 5), 5),
        ):
            sources["web"] = source
            running.turn()
            document = running.served("web")
            assert document is not None
            assert (document.body, document.revision) == (jwks(f"k{revision}"), revision)


def test_one_failing_source_does_not_hold_up_another(tmp_path: Path) -> None:
    sources: dict[str, Callable[[], Document | None]] = {
        "bad": broken,
        "web": lambda: Document(jwks("k1"), "web", 1),
    }
    with Running(tmp_path / "public", sources) as running:
        assert running.served("bad") is None
        assert running.served("web") is not None


def test_a_file_changed_by_hand_is_put_right(tmp_path: Path) -> None:
    path = tmp_path / "public" / "web" / "jwks.json"
    with Running(tmp_path / "public", {"web": lambda: Document(jwks("k1"), "web", 1)}) as running:
        path.write_bytes(jwks("planted"))
        running.turn()
        assert path.read_bytes() == jwks("k1")


def test_what_was_published_before_is_served_while_the_store_is_down(tmp_path: Path) -> None:
    public = tmp_path / "public"
    public.mkdir()
    before = FilePublication(public / "web" / "jwks.json", "web")
    before.write(Document(jwks("k1"), "web", 1), replacing=None)
    with Running(public, {"web": failing}) as running:
        document = running.served("web")
        assert document is not None
        assert document.body == jwks("k1")


SERVE = """
import sys
from datetime import timedelta
from pathlib import Path
import structlog
from rotator.server import ServerProcess, Site, serve

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
site = Site(Path(sys.argv[1]), ("web",))
serve(ServerProcess("127.0.0.1", 0, site), site, {"web": lambda: None},
      resync=timedelta(hours=1), started=lambda server: print(server.pid, flush=True))
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_its_child(tmp_path: Path, number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path / "public")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        os.kill(process.pid, number)
        assert "ended" in process.stdout.read()
        assert process.wait(60) == 0
    assert not psutil.pid_exists(child)
