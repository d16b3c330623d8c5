"""A key set on a real server whose requests are counted, under a clock that whoever looks on moves.

Ticks are those of a daemon or a one-shot, in this process; what is counted is what went over the wire.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from rotator.assemble import Assembly
from rotator.daemon import Daemon, Waker
from rotator.daemon.lanes import Job
from rotator.hostclock import HostClock
from rotator.plan import next_deadline
from rotator.reconcile.site import Outcome, Site
from rotator.reconcile.tick import tick
from rotator.settings import load_settings
from tests.servers import running
from tests.servers.exchange import Request
from tests.servers.proxy import Proxy
from tests.servers_e2e.ground import is_login, is_write

POLICY: Final = {"token_ttl": "15m", "signer_lag": "5m"}
"""What the quick start has; all else is the default."""

_RESTLESS: Final = 100  # ticks in a row that all change something: that is no life of a key


@dataclass
class MovedClock:
    """The host's clocks, ahead by what they were moved."""

    ahead: timedelta = timedelta(0)
    _real: HostClock = field(default_factory=HostClock)

    def now(self) -> datetime:
        """The wall clock."""
        return self._real.now() + self.ahead

    def elapsed(self) -> timedelta:
        """CLOCK_BOOTTIME."""
        return self._real.elapsed() + self.ahead


@dataclass
class Calls:
    """What went over the wire: the names of all requests, and how many of them were of a kind."""

    names: Counter[str]
    logins: int
    logouts: int
    writes: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.names.total()

    @property
    def reads(self) -> int:
        """All that are nothing else."""
        return self.total - self.logins - self.logouts - self.writes


class Counted:
    """Key sets of one store, behind a proxy that counts.

    Args:
        backend: whose server.
        path: a directory of its own.
        names: of the key sets.
        documents: whether signing documents and JWKS are kept in the store too; else in files.
        options: more options of the store.
    """

    def __init__(
        self,
        backend: str,
        path: Path,
        *,
        names: Sequence[str] = ("orders",),
        documents: bool = True,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.server = running(backend)
        self.proxy = Proxy(self.server.url)
        self.path = path
        self.clock = MovedClock()
        self._seen = 0
        (path / "signing").mkdir(exist_ok=True)
        prefix = f"count-{uuid.uuid4().hex[:12]}"
        store = {**self.server.settings(prefix, url=self.proxy.url), **(options or {})}
        self.config = path / "rotator.json"
        self.config.write_text(
            json.dumps(
                {
                    "version": 1,
                    "stores": {"main": {"backend": backend, **store}},
                    "key_sets": {name: self._key_set(name, documents) for name in names},
                },
                indent=1,
            )
        )

    def _key_set(self, name: str, documents: bool) -> dict[str, Any]:
        kept = [{"to": "store", "store": "main"}]
        signing = [{"to": "files", "path": str(self.path / "signing" / name)}]
        jwks = [{"to": "file", "path": str(self.path / f"{name}.json")}]
        return {
            "algorithm": "ES256",
            "policy": POLICY,
            "deliver": kept if documents else signing,
            "publish": kept if documents else jwks,
        }

    @contextmanager
    def process(self) -> Iterator[Assembly]:
        """Be a process that has just started: nothing opened, nobody logged in."""
        settings = load_settings(self.config, {})
        with Assembly(settings, _silent, clock=self.clock) as assembly:
            yield assembly

    def calls(self) -> Calls:
        """Return the requests since this was last asked."""
        seen = self.proxy.seen[self._seen :]
        self._seen += len(seen)
        names = Counter(name_of(request) for request in seen)
        writes = sum(is_write(request) for request in seen)
        return Calls(names, names["login"], names["logout"], writes)

    def first_run(self, site: Site) -> Outcome:
        """Make the first keys; with everything in one store, nothing but an operator's word proves that it may."""
        site.first_run = True
        try:
            return self.rest(site)
        finally:
            site.first_run = False

    def rest(self, site: Site) -> Outcome:
        """Tick until a tick changes nothing; return that one."""
        for _ in range(_RESTLESS):
            outcome = tick(site)
            if not outcome.changed:
                assert not outcome.failures, outcome.failures
                return outcome
        raise AssertionError("it never comes to rest")

    def rotate_once(self, site: Site, outcome: Outcome) -> Outcome:
        """Go from date to date, as crontab or a daemon does, until the next key was promoted and all is at rest."""
        before = outcome.ring.active
        while (
            outcome.ring.active == before
            or outcome.ring.active is None
            or any(key.phase == "retiring" for key in outcome.ring.keys)
        ):
            date = self._next(site, outcome)
            self.clock.ahead += max(date - self.clock.now(), timedelta(0)) + timedelta(seconds=1)
            outcome = self.rest(site)
        return outcome

    def _next(self, site: Site, outcome: Outcome) -> datetime:
        now = self.clock.now()
        asked = (next_deadline(outcome.ring, site.policy), outcome.step.due_at)
        dates = [date for date in asked if date is not None and date > now]
        return min(dates, default=now + site.policy.resync)

    def idle(self, assembly: Assembly, duration: timedelta) -> int:
        """Let a daemon run, at rest, for a time that the clock is moved by; return how often it ticked."""
        waker, ticks = Waker(), 0
        daemon = Daemon(
            assembly.sites(),
            store_of=lambda _: "main",
            clock=self.clock,
            emit=_silent,
            waker=waker,
            workers=_AtOnce(),
            chance=lambda: 0.5,
        )
        end = self.clock.elapsed() + duration
        while (at := daemon.next_at()) is not None and at < end:
            self.clock.ahead += max(at - self.clock.elapsed(), timedelta(0))
            daemon.compare_clocks()
            ticks += daemon.dispatch()
        waker.close()
        return ticks

    def close(self) -> None:
        """End the proxy."""
        self.proxy.stop()


def name_of(request: Request) -> str:
    """Return what a request is called: AWS's operation, or the method and what kind of path it is."""
    target = request.header("X-Amz-Target")
    if target:
        return target.rpartition(".")[2]
    if is_login(request):
        return "logout" if request.path.endswith("/revoke-self") else "login"
    kind = request.path.split("?")[0].strip("/").split("/")
    if kind[0] == "v1":  # Vault: /v1/secret/data/…
        return (
            f"{request.method} {kind[2] if kind[1] not in ('auth', 'sys') else '/'.join(kind[1:4])}"
        )
    return f"{request.method} /{kind[0]}"


class _AtOnce:
    """Workers that tick at once, in this thread."""

    def submit(self, lane: tuple[str, bool], job: Job) -> None:  # noqa: ARG002 - one lane is enough
        job()

    def close(self) -> None:
        return

    def wait_idle(self, timeout: float) -> bool:  # noqa: ARG002 - nothing is ever under way
        return True


def _silent(level: str, event: str, **fields: Any) -> None:
    """Take no note of events."""
