"""Going over to a changed configuration while the daemon runs: read, check, make ready, and only then swap.

Whatever is wrong with it, the configuration in force stays in force, and what it opened stays open. All but the
swap is done beside the main loop: ten thousand files take seconds to read, and a server some time to start.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from rotator.assemble import Assembly
from rotator.daemon import voice
from rotator.daemon.daemon import HEARTBEAT, Daemon
from rotator.daemon.edge import Edge
from rotator.daemon.lanes import Lanes
from rotator.daemon.waker import Waker
from rotator.daemon.watch import Change, Watch
from rotator.errors import ConfigError, RotatorError
from rotator.notify.configured import reconfigure
from rotator.notify.desk import Desk
from rotator.reconcile.site import Emit, Site
from rotator.service_manager import Notifier
from rotator.settings import Settings

Load = Callable[[], Settings]
"""Reads and checks the configuration; raises ConfigError."""

Aside = Callable[[Callable[[], None]], None]
"""Does something that may take long: `at_once`, or `in_a_thread`."""

_SETTLE: Final = timedelta(seconds=1)  # until a file that is being written is looked at again
_PARTING: Final = 1.0  # seconds that the end waits for a configuration that is being read


class Follower(Protocol):
    """Something beside the daemon that goes over to another configuration together with it."""

    def prepare(self, settings: Settings) -> object:
        """Make ready what another configuration asks for, beside what runs; `commit` or `abort` follows.

        Raises:
            RotatorError: it cannot be had; nothing was changed.
        """
        ...

    def commit(self) -> None:
        """Go over to what was prepared."""
        ...

    def abort(self) -> None:
        """End what was prepared, if anything was, and go on as before."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What of a running daemon a reload changes, or tells."""

    daemon: Daemon
    edge: Edge
    lanes: Lanes
    waker: Waker
    notifier: Notifier
    emit: Emit
    followers: tuple[Follower, ...] = ()
    desk: Desk | None = None


@dataclass(slots=True)
class _Made:
    """A configuration that was read and made ready, beside the one in force; or why it could not be.

    Attributes:
        asked: an operator asked for it, who is told of a refusal although it was said before.
        mark: what the files looked like before they were read.
        done: set at the end, by whichever thread came there.
    """

    asked: bool
    mark: bytes
    now: datetime
    after: Assembly | None = None
    url: str | None = None
    sites: list[Site] = field(default_factory=list)
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)


def at_once(job: Callable[[], None]) -> None:
    """Do it here and now."""
    job()


def in_a_thread(job: Callable[[], None]) -> None:
    """Do it in a thread that keeps no process from ending."""
    threading.Thread(target=job, name="reload", daemon=True).start()


class Reloader:
    """Keeps a daemon in step with its configuration.

    Args:
        assembly: what is in force at the start.
        load: reads the configuration anew.
        aside: how that is done; the loop goes on meanwhile if it is in a thread.
    """

    def __init__(
        self, assembly: Assembly, load: Load, watch: Watch, parts: Parts, aside: Aside = at_once
    ) -> None:
        self.assembly = assembly
        self._load, self._watch, self._parts, self._aside = load, watch, parts, aside
        self._alive = [assembly]
        self._lock = threading.Lock()  # which assemblies are alive
        self._lanes = {name: name for name in assembly.settings.stores}
        self._count = 0
        self._look_at = assembly.clock.elapsed() + HEARTBEAT
        self._making: _Made | None = None

    def lane_of(self, key_set: str) -> str:
        """Return which lane ticks a key set: one for each store, a new one when that was changed."""
        return self._lanes[self.assembly.settings.key_sets[key_set].store]

    def look(self) -> timedelta:
        """Reload if SIGHUP asked for it or a file changed; return after how long to look again."""
        elapsed = self.assembly.clock.elapsed()
        if self._making is not None:
            if not self._making.done.is_set():
                return HEARTBEAT  # its end wakes the loop; who asks meanwhile is heard after it
            self._finish(self._making)
        if self._parts.waker.take_reload():
            self.reload(asked=True)
        elif elapsed >= self._look_at:
            change = self._watch.look()
            if change is Change.DONE:
                self.reload()
            pause = _SETTLE if change is Change.GOING_ON else HEARTBEAT
            self._look_at = elapsed + pause
        return max(self._look_at - elapsed, timedelta(0))

    def reload(self, *, asked: bool = False) -> None:
        """Read the configuration and go over to it, or say why not; at a later look if it is read aside.

        Args:
            asked: by an operator, who is told of a refusal although it was said before.
        """
        self._parts.notifier.reloading()
        made = _Made(asked, self._watch.mark(), self.assembly.clock.now())
        self._making = made
        try:
            self._aside(lambda: self._make(made))
        except RuntimeError as error:  # there is no thread to be had
            made.error = error
            made.done.set()
        if made.done.is_set():
            self._finish(made)

    def close(self) -> None:
        """Close the stores of every configuration that was in force."""
        made = self._making
        if made is not None and made.done.wait(_PARTING) and made.after is not None:
            self._drop(made.after)
        for assembly in list(self._alive):
            assembly.close()

    def _make(self, made: _Made) -> None:
        """Read another configuration and make ready what it asks for; maybe in a thread."""
        before, parts = self.assembly, self._parts
        try:
            settings = self._load()
            after = before.successor(settings)
            try:
                made.url = parts.edge.prepare(settings)
                for follower in parts.followers:
                    follower.prepare(settings)
                made.sites = list(after.sites(made.url))
            except BaseException:
                self._drop(after)
                raise
            made.after = after
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the one before stays
            made.error = error
        finally:
            made.done.set()
            parts.waker.wake()

    def _drop(self, after: Assembly) -> None:
        """Let go of what was made ready and does not come into force."""
        self._parts.edge.abort()
        for follower in self._parts.followers:
            follower.abort()
        after.close(keeping=[self.assembly])

    def _finish(self, made: _Made) -> None:
        """Go over to what was made ready, or say why it was not."""
        parts, state = self._parts, self._parts.daemon.state
        self._making = None
        changes: Mapping[str, list[str]] = {}
        if made.after is not None:
            try:
                changes = self._go_over(made, made.after)
            except Exception as error:  # noqa: BLE001 - a fault here must not end the rotation
                made.error = error
        if made.error is not None:
            self._refuse(made, made.error)
            parts.notifier.ready("configuration refused, the one before is in force")
            return
        self._watch.accept(made.mark)
        self._watch.follow(self.assembly.settings)
        state.reload = replace(
            state.reload, loaded_at=made.now, reloads=state.reload.reloads + 1, error="", hint=""
        )
        count = len(self.assembly.settings.key_sets)
        voice.reloaded(parts.emit, count, changes)
        parts.notifier.ready(voice.counted(count))

    def _refuse(self, made: _Made, error: Exception) -> None:
        state = self._parts.daemon.state
        reason, hint = voice.reason_of(error)
        said_before = reason == state.reload.error
        refusals = state.reload.refusals + 1
        state.reload = replace(state.reload, refusals=refusals, error=reason, hint=hint)
        if made.asked or not said_before:  # whoever hears of it finds it at /readyz
            voice.refused(self._parts.emit, reason, hint)
        if not isinstance(error, RotatorError) or isinstance(error, ConfigError):
            self._watch.accept(made.mark)  # else it may pass by itself, and is tried again

    def _go_over(self, made: _Made, after: Assembly) -> Mapping[str, list[str]]:
        """Swap; return which key sets that makes a difference to."""
        before, parts = self.assembly, self._parts
        changes = _compare(before.settings, after.settings, moved=made.url != parts.edge.url)
        self._renew_lanes(before.settings, after.settings)
        self.assembly = after
        with self._lock:
            self._alive.append(after)
        # The server first: a key set that is new there is looked at there.
        for follower in (parts.edge, *parts.followers):
            follower.commit()
        parts.daemon.replace(
            made.sites, self.lane_of, changed=changes["changed"], done=lambda: self._release(before)
        )
        parts.lanes.keep(set(self._lanes.values()))
        if parts.desk is not None:
            reconfigure(parts.desk, after.settings, after.store, parts.emit)
        return changes

    def _renew_lanes(self, before: Settings, after: Settings) -> None:
        """Give each store that was changed a lane of its own, whose threads the one before cannot hold up."""
        self._count += 1
        kept = {name for name in after.stores if before.stores.get(name) == after.stores[name]}
        self._lanes = {
            name: self._lanes[name] if name in kept else f"{name}~{self._count}"
            for name in after.stores
        }

    def _release(self, assembly: Assembly) -> None:
        """Close the stores that only a configuration of before used, in a thread: one may hang."""

        def release() -> None:
            with self._lock:
                self._alive.remove(assembly)
                others = list(self._alive)
            assembly.close(keeping=others)

        threading.Thread(target=release, name="release", daemon=True).start()


def _compare(before: Settings, after: Settings, *, moved: bool) -> dict[str, list[str]]:
    """Return the names of the key sets that were added, removed and changed.

    Args:
        moved: the built-in server, a target of each of them, is at another address.
    """
    stores = {name for name in after.stores if before.stores.get(name) != after.stores[name]}
    common = [name for name in after.key_sets if name in before.key_sets]
    return {
        "added": [name for name in after.key_sets if name not in before.key_sets],
        "removed": [name for name in before.key_sets if name not in after.key_sets],
        "changed": [
            name
            for name in common
            if moved
            or before.key_sets[name] != after.key_sets[name]
            or not stores.isdisjoint(_stores_of(after, name))
        ],
    }


def _stores_of(settings: Settings, key_set: str) -> set[str]:
    item = settings.key_sets[key_set]
    return {item.store, *(document.store for document in item.documents)}
