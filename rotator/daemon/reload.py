"""Going over to a changed configuration while the daemon runs: read, check, make ready, and only then swap.

Whatever is wrong with it, the configuration in force stays in force, and what it opened stays open.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from rotator.assemble import Assembly
from rotator.daemon import voice
from rotator.daemon.daemon import HEARTBEAT, Daemon
from rotator.daemon.edge import Edge
from rotator.daemon.lanes import Lanes
from rotator.daemon.waker import Waker
from rotator.daemon.watch import Change, Watch
from rotator.errors import ConfigError, RotatorError
from rotator.reconcile.site import Emit
from rotator.service_manager import Notifier
from rotator.settings import Settings

Load = Callable[[], Settings]
"""Reads and checks the configuration; raises ConfigError."""

_SETTLE: Final = timedelta(seconds=1)  # until a file that is being written is looked at again


@dataclass(frozen=True, slots=True)
class Parts:
    """What of a running daemon a reload changes, or tells."""

    daemon: Daemon
    edge: Edge
    lanes: Lanes
    waker: Waker
    notifier: Notifier
    emit: Emit


class Reloader:
    """Keeps a daemon in step with its configuration.

    Args:
        assembly: what is in force at the start.
        load: reads the configuration anew.
    """

    def __init__(self, assembly: Assembly, load: Load, watch: Watch, parts: Parts) -> None:
        self.assembly = assembly
        self._load, self._watch, self._parts = load, watch, parts
        self._alive = [assembly]
        self._lock = threading.Lock()  # which assemblies are alive
        self._lanes = {name: name for name in assembly.settings.stores}
        self._count = 0
        self._look_at = assembly.clock.elapsed() + HEARTBEAT

    def lane_of(self, key_set: str) -> str:
        """Return which lane ticks a key set: one for each store, a new one when that was changed."""
        return self._lanes[self.assembly.settings.key_sets[key_set].store]

    def look(self) -> timedelta:
        """Reload if SIGHUP asked for it or a file changed; return after how long to look again."""
        asked = self._parts.waker.take_reload()
        elapsed = self.assembly.clock.elapsed()
        if asked:
            self.reload(asked=True)
        elif elapsed >= self._look_at:
            change = self._watch.look()
            if change is Change.DONE:
                self.reload()
            pause = _SETTLE if change is Change.GOING_ON else HEARTBEAT
            self._look_at = elapsed + pause
        return max(self._look_at - elapsed, timedelta(0))

    def reload(self, *, asked: bool = False) -> None:
        """Read the configuration and go over to it, or say why not.

        Args:
            asked: by an operator, who is told of a refusal although it was said before.
        """
        parts, state = self._parts, self._parts.daemon.state
        parts.notifier.reloading()
        mark, now = self._watch.mark(), self.assembly.clock.now()
        try:
            changes = self._go_over(self._load())
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the one before stays
            reason, hint = voice.reason_of(error)
            if asked or reason != state.reload.error:
                voice.refused(parts.emit, reason, hint)
            state.reload = replace(
                state.reload,
                refusals=state.reload.refusals + 1,
                error=reason,
                hint=hint,
                refused_at=now,
            )
            if not isinstance(error, RotatorError) or isinstance(error, ConfigError):
                self._watch.accept(mark)  # else it may pass by itself, and is tried again
            status = "configuration refused, the one before is in force"
        else:
            self._watch.accept(mark)
            self._watch.follow(self.assembly.settings)
            state.reload = replace(
                state.reload, loaded_at=now, reloads=state.reload.reloads + 1, error="", hint=""
            )
            count = len(self.assembly.settings.key_sets)
            voice.reloaded(parts.emit, count, changes)
            status = voice.counted(count)
        parts.notifier.ready(status)

    def close(self) -> None:
        """Close the stores of every configuration that was in force."""
        for assembly in list(self._alive):
            assembly.close()

    def _go_over(self, settings: Settings) -> Mapping[str, list[str]]:
        """Make another configuration ready and swap; return which key sets that makes a difference to."""
        before, parts = self.assembly, self._parts
        after = before.successor(settings)
        url = parts.edge.prepare(settings)
        try:
            sites = list(after.sites(url))
        except BaseException:
            parts.edge.abort()
            after.close(keeping=[before])
            raise
        changes = _compare(before.settings, settings, moved=url != parts.edge.url)
        self._renew_lanes(before.settings, settings)
        self.assembly = after
        with self._lock:
            self._alive.append(after)
        # The server first: a key set that is new there is looked at there.
        parts.edge.commit()
        parts.daemon.replace(
            sites, self.lane_of, changed=changes["changed"], done=lambda: self._release(before)
        )
        parts.lanes.keep(set(self._lanes.values()))
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
