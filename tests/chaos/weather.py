"""What befalls the replicas, their servers, their stores and their configurations, by chance."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, Final

import psutil

from tests.campaign.processes import BOUND, pause
from tests.chaos.replica import Replica
from tests.chaos.stage import QUICK, Stage
from tests.servers import misdeeds
from tests.servers.proxy import Action
from tests.servers_e2e.faults import too_many

MOMENTS: Final = (
    "key.creating",
    "key.created",
    "key.announced",
    "key.promoted",
    "key.delivered",
    "key.superseded",
    "key.retired",
    "key.destroyed",
    "store.call",
    "store.call",
)
"""Right after these a process is struck, for then something is half done."""

_HUNG_WITHIN: Final = 30.0  # seconds; then its daemon must have replaced a server that hangs

STEADY: Final = "a"
"""This replica is stopped and reloaded as the others are, but never ends: its memory is looked at."""

_WEIGHTS: Final = {
    "kill": 5,
    "pause": 3,
    "roll": 2,
    "outage": 6,
    "spoil": 3,
    "unmount": 2,
    "reload": 3,
    "bad reload": 2,
    "kill the server": 2,
    "stop the server": 1,
    "order": 1,
}


_CHANGES: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"rotate_every": "9s"},
    {"resync": "800ms"},
    {"token_ttl": "3500ms", "leeway": "1200ms"},
    {"propagation": "5s", "rotate_every": "9s"},
)


class Weather:
    """Does one thing at a time to a stage, and undoes it when its time has come."""

    def __init__(self, stage: Stage, dice: random.Random, trace: IO[str]) -> None:
        self._stage, self._dice, self._trace = stage, dice, trace
        self._began = time.monotonic()
        self._later: list[tuple[float, str, Callable[[], Any]]] = []
        self._orders: list[subprocess.Popen[bytes]] = []
        self._spoilt: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.findings: list[str] = []
        self._deeds: dict[str, Callable[[], str | None]] = {
            "kill": self._kill,
            "pause": self._pause,
            "roll": self._roll,
            "outage": self._outage,
            "spoil": self._spoil,
            "unmount": self._unmount,
            "reload": self._reload,
            "bad reload": self._bad_reload,
            "kill the server": self._kill_server,
            "stop the server": self._stop_server,
            "order": self._order,
        }

    def blow(self) -> None:
        """Do something, if the state of things allows what the dice say."""
        what = self._dice.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        done = self._deeds[what]()
        if done is not None:
            self.counts[what] += 1
            self.tell(what, done)

    def look_after(self) -> None:
        """Undo what is over, and start what ended as it may, as a service manager does."""
        for item in [item for item in self._later if item[0] <= time.monotonic()]:
            self._undo(item)
        for replica in self._stage.replicas.values():
            if replica.process is None or replica.running or self._is_down(replica):
                continue
            code = replica.process.returncode
            if code != 75:  # an address that its killed predecessor's server still had
                self.findings.append(f"{replica.name} ended with {code}: {replica.tail()[-1000:]}")
            if self.counts["restart"] > self.counts["kill"]:
                self.findings.append(f"{replica.name} cannot start: {replica.tail()[-1000:]}")
            self.tell("restart", f"{replica.name}, ended with {code}")
            self.counts["restart"] += 1
            replica.start()

    def clear_up(self) -> None:
        """Undo everything."""
        for item in list(self._later):
            self._undo(item)
        for order in self._orders:
            if order.wait(BOUND) not in {0, 65, 69, 75, 77}:
                self.findings.append(f"an order ended with {order.returncode}")
        for replica in self._stage.replicas.values():
            self._good(replica)

    def tell(self, what: str, detail: str) -> None:
        """Note what happened."""
        at = round(time.monotonic() - self._began, 3)
        self._trace.write(json.dumps({"at": at, "what": what, "detail": detail}) + "\n")
        self._trace.flush()

    # What is undone later

    def _for(self, seconds: float, what: str, undo: Callable[[], Any]) -> None:
        self._later.append((time.monotonic() + seconds, what, undo))

    def _undo(self, item: tuple[float, str, Callable[[], Any]]) -> None:
        self._later.remove(item)
        self.tell("over", item[1])
        item[2]()

    def _is_down(self, replica: Replica) -> bool:
        return any(what == f"down {replica.name}" for _, what, _ in self._later)

    def _any_replica(self, *, steady: bool) -> Replica | None:
        """A replica in good order, unless it is the only one."""
        there = [
            replica
            for replica in self._stage.replicas.values()
            if replica.ready and not replica.asleep and not self._is_ailing(replica)
        ]
        found = [replica for replica in there if steady or replica.name != STEADY]
        return self._dice.choice(found) if len(there) > 1 and found else None

    def _is_ailing(self, replica: Replica) -> bool:
        ailments = {f"without {replica.name}", f"stopped server of {replica.name}"}
        return any(what in ailments for _, what, _ in self._later)

    # Processes

    def _kill(self) -> str | None:
        replica = self._any_replica(steady=False)
        if replica is None:
            return None
        moment = self._strike_at(replica)
        replica.kill()
        down = self._dice.choice((0.0, 0.0, 0.5, 4.0))
        self._for(down, f"down {replica.name}", replica.start)
        return f"{replica.name} after {moment}, for {down} s"

    def _pause(self) -> str | None:
        replica = self._any_replica(steady=True)
        if replica is None:
            return None
        moment = self._strike_at(replica)
        every = float(QUICK["rotate_every"].removesuffix("s"))
        seconds = self._dice.choice((0.5, 2.5, every + self._dice.uniform(1, 3)))
        replica.stop()
        self._for(seconds, f"pause {replica.name}", replica.go_on)
        return f"{replica.name} after {moment}, for {seconds:.1f} s"

    def _strike_at(self, replica: Replica) -> str:
        moment = self._dice.choice(MOMENTS)
        if not replica.after(moment, self._dice.uniform(0.2, 2.5)):
            moment = "nothing"
        pause(self._dice.choice((0.0, 0.0, 0.002, 0.01, 0.05)))
        return moment

    def _roll(self) -> str | None:
        replica = self._any_replica(steady=False)
        if replica is None:
            return None
        if not replica.roll():
            self.findings.append(f"{replica.name} did not come back: {replica.tail()}")
        if replica.codes[-1:] not in ([], [143]):
            self.findings.append(f"{replica.name} answered SIGTERM with {replica.codes[-1]}")
        return replica.name

    def _kill_server(self) -> str | None:
        replica = self._any_replica(steady=False)
        pid = replica.edge() if replica is not None else None
        if replica is None or pid is None:
            return None
        psutil.Process(pid).kill()
        return replica.name

    def _stop_server(self) -> str | None:
        replica = self._any_replica(steady=False)
        pid = replica.edge() if replica is not None else None
        if replica is None or pid is None:
            return None
        process = psutil.Process(pid)
        process.suspend()
        until = time.monotonic() + _HUNG_WITHIN

        def found_out() -> None:
            # Nobody but its own daemon ends one that is stopped, so that daemon is left alone until then.
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() != psutil.STATUS_STOPPED:
                    return
                process.resume()
                if time.monotonic() >= until:  # the weather did not end before
                    self.findings.append(f"the stopped server of {replica.name} was not replaced")

        self._for(_HUNG_WITHIN, f"stopped server of {replica.name}", found_out)
        return replica.name

    def _order(self) -> str | None:
        name = self._dice.choice(sorted(self._stage.grounds))
        path = self._stage.home / "logs" / f"order-{len(self._orders)}.log"
        command = [sys.executable, "-P", "-m", "rotator", "--log-level", "debug", "rotate", name]
        config = self._stage.home / "order.json"  # never half written
        if not config.exists():
            self._stage.configure("order", self._stage.document(STEADY))
        with path.open("wb") as said:
            self._orders.append(
                subprocess.Popen(
                    [*command, "--now", "--config", str(config)],
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                )
            )
        return f"rotate {name} --now"

    # Stores

    def _outage(self) -> str | None:
        name = self._healthy_store()
        if name is None:
            return None
        proxy = self._stage.proxies[name]
        deeds: dict[str, AbstractContextManager[Any]] = {
            "refuse": proxy.refusing(),
            "hang": proxy.misbehaving(misdeeds.hang),
            "hang after": proxy.misbehaving(misdeeds.hang_after),
            "reset": proxy.misbehaving(misdeeds.reset_before),
            "reset after": proxy.misbehaving(misdeeds.reset_after),
            "slow": proxy.misbehaving(misdeeds.drip(0.002)),
            "500": proxy.misbehaving(misdeeds.answering(500)),
            "500 after": proxy.misbehaving(misdeeds.answering(500, after=True)),
        }
        kind = self._dice.choice(sorted(deeds))
        seconds = self._dice.choice((0.5, 2.0, 5.0, 14.0))
        self._disturb(name, deeds[kind], seconds)
        return f"{name}: {kind} for {seconds} s"

    def _spoil(self) -> str | None:
        name = self._healthy_store()
        if name is None:
            return None
        proxy, backend = self._stage.proxies[name], self._stage.grounds[name].backend
        deeds: list[Action] = [
            *(misdeeds.reset_before, misdeeds.reset_after, misdeeds.hang, misdeeds.hang_after),
            *(misdeeds.garbage, misdeeds.truncated, misdeeds.stale(-20)),
            *(misdeeds.answering(503), misdeeds.answering(500, after=True), too_many()[backend]),
        ]
        share, seconds = self._dice.choice((0.1, 0.3)), self._dice.uniform(3, 10)
        self._disturb(name, proxy.misbehaving(proxy.any_of(deeds), share=share), seconds)
        return f"{name}: {share:.0%} of all requests for {seconds:.1f} s"

    def _healthy_store(self) -> str | None:
        names = sorted(self._stage.proxies.keys() - self._spoilt)
        return self._dice.choice(names) if names else None

    def _unmount(self) -> str | None:
        names = sorted(
            name
            for name, ground in self._stage.grounds.items()
            if ground.backend == "file" and name not in self._spoilt
            if (ground.path / "store").exists()
        )
        if not names:
            return None
        name, seconds = self._dice.choice(names), self._dice.choice((0.3, 2.0, 6.0))
        self._disturb(name, self._stage.moved_away(name), seconds)
        return f"{name} for {seconds} s"

    def _disturb(self, name: str, trouble: AbstractContextManager[Any], seconds: float) -> None:
        held = contextlib.ExitStack()
        held.enter_context(trouble)
        self._spoilt.add(name)

        def undo() -> None:
            self._spoilt.discard(name)
            try:
                held.close()
            except AssertionError as error:
                self.findings.append(str(error))

        self._for(seconds, f"trouble of {name}", undo)

    # Configurations

    def _reload(self) -> str | None:
        replica = self._any_replica(steady=True)
        if replica is None:
            return None
        changes: dict[str, Any] = self._dice.choice(_CHANGES)
        if replica.name != STEADY and self._dice.random() < 0.25:
            changes = {"without": [self._dice.choice(sorted(self._stage.grounds))]}
        document = self._stage.document(replica.name, **changes)
        self._stage.configure(replica.name, document)
        before = replica.log.count("config.reloaded")
        replica.send(signal.SIGHUP)
        if not replica.wait_for("config.reloaded", before + 1):
            self.findings.append(f"{replica.name} did not reload: {replica.tail()}")
        if "without" in changes:
            self._for(
                self._dice.uniform(1, 6), f"without {replica.name}", lambda: self._good(replica)
            )
        return f"{replica.name}: {changes}"

    def _good(self, replica: Replica) -> None:
        self._stage.configure(replica.name)
        # Before it listens to signals, this one would end it.
        if replica.running and replica.wait_for("daemon.started"):
            replica.send(signal.SIGHUP)

    def _bad_reload(self) -> str | None:
        replica = self._any_replica(steady=True)
        if replica is None:
            return None
        path = replica.config
        before, good = replica.log.count("config.refused"), path.read_bytes()
        kind = self._dice.choice(("half a file", "unsafe", "unknown word"))
        bad: dict[str, Any] = json.loads(good)
        if kind == "unsafe":
            bad = self._stage.document(replica.name, propagation="1s")
        elif kind == "unknown word":
            bad["key_set"] = {}
        text = json.dumps(bad).encode()
        path.write_bytes(text[: len(text) // 2] if kind == "half a file" else text)
        replica.send(signal.SIGHUP)
        refused = replica.wait_for("config.refused", before + 1)
        self._write_back(path, good)
        replica.send(signal.SIGHUP)
        if not refused:
            self.findings.append(f"{replica.name} took a configuration that is {kind}")
        return f"{replica.name}: {kind}"

    def _write_back(self, path: Path, good: bytes) -> None:
        new = path.with_suffix(".new")
        new.write_bytes(good)
        new.replace(path)
