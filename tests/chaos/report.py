"""What came of a chaos: a table for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.chaos.watch import slope

_WARM: Final = 0.4  # of a run: by then allocators have what they come to want
_LONG: Final = 240.0  # seconds; of less, a slope says nothing
_GROWTH: Final = 6 * 2**20  # bytes that a process may gain in the rest of a run


@dataclass
class Report:
    """The outcome of one run.

    Attributes:
        seconds: from the first process to the last.
        rotations: by key set.
        tokens: by key set, `signed`, `checks`, `late`, `rejected`.
        counts: what was done, by its kind.
        requests: by key set, how many the fault proxy saw and how many of them it spoilt.
        events: how often something was logged, and how many daemon processes there were.
        keys: how many private keys were known, in `needles` forms.
        searched: bytes of output that were searched for them.
        memory: by process, `from` and `to` (MiB, ends of the line) and `slope` (KiB a minute).
        findings: what should not have been; empty when all is well.
    """

    seed: int
    home: Path
    seconds: float = 0.0
    rotations: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, dict[str, int]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    requests: dict[str, tuple[int, int]] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    keys: int = 0
    needles: int = 0
    searched: int = 0
    leaks: list[str] = field(default_factory=list)
    memory: dict[str, dict[str, float]] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def add_pair(self, name: str, tokens: int, found: Mapping[str, Any]) -> None:
        """Take in what one signer and its verifier did."""
        sums = self.tokens.setdefault(
            name, dict.fromkeys(("signed", "checks", "late", "rejected"), 0)
        )
        sums["signed"] += tokens
        sums["checks"] += found["checks"]
        sums["late"] += found["late"]
        sums["rejected"] += len(found["rejected"])
        if found["rejected"]:
            first = found["rejected"][0]
            self.findings.append(f"{name}: {len(found['rejected'])} tokens rejected, first {first}")
        if found["late"] > found["checks"] / 2:
            self.findings.append(
                f"{name}: {found['late']} of {found['checks']} checks came too late"
            )

    def add_memory(self, memory: Mapping[tuple[str, int], list[tuple[float, int]]]) -> None:
        """Take in how large processes were, those that lived to the end."""
        last = max((points[-1][0] for points in memory.values()), default=0.0)
        for (what, pid), points in memory.items():
            if points[-1][0] < last - 10:
                continue  # it ended
            measured = [item for item in points if item[0] >= last * _WARM]
            rise = slope(measured)
            if len(measured) < 3:
                continue
            seconds = measured[-1][0] - measured[0][0]
            middle = sum(size for _, size in measured) / len(measured)
            self.memory[what] = {
                "from": round((middle - rise * seconds / 2) / 2**20, 1),
                "to": round((middle + rise * seconds / 2) / 2**20, 1),
                "slope": round(rise * 60 / 1024, 1),
            }
            if seconds >= _LONG and rise * seconds > _GROWTH:
                self.findings.append(f"{what} (process {pid}) grows: {self.memory[what]}")

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "format": "rotator.chaos/1",
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "rotations": self.rotations,
            "tokens": self.tokens,
            "done": self.counts,
            "requests": {n: {"seen": a, "spoilt": b} for n, (a, b) in self.requests.items()},
            "events": self.events,
            "rejected": sum(item["rejected"] for item in self.tokens.values()),
            "searched": {"keys": self.keys, "forms": self.needles, "bytes": self.searched},
            "leaks": len(self.leaks),
            "memory": self.memory,
            "findings": self.findings,
        }

    def __str__(self) -> str:
        """Return it for people."""
        total = {
            what: sum(item[what] for item in self.tokens.values())
            for what in ("signed", "checks", "late", "rejected")
        }
        done = self.counts
        requests = sum(seen for seen, _ in self.requests.values())
        spoilt = sum(spoilt for _, spoilt in self.requests.values())
        kept = ", ".join(f"{name} {count}" for name, count in self.rotations.items())
        faults = sum(done.get(kind, 0) for kind in ("outage", "spoil", "unmount"))
        rows = {
            f"seed {self.seed}": f"{self.seconds:.0f} s",
            "rotations": f"{sum(self.rotations.values())} ({kept})",
            "tokens": f"{total['signed']:,} signed, {total['checks']:,} checks, {total['late']:,} too late to count",
            "rejected": str(total["rejected"]),
            "processes": f"{self.events.get('processes', 0)} daemons; {done.get('kill', 0)} kills, "
            f"{done.get('pause', 0)} pauses, {done.get('roll', 0)} rolling restarts, "
            f"{done.get('kill the server', 0)} servers killed, {done.get('stop the server', 0)} stopped",
            "stores": f"{faults} faults ({done.get('outage', 0)} outages, {done.get('spoil', 0)} spells of bad answers, "
            f"{done.get('unmount', 0)} unmounts); {spoilt:,} of {requests:,} requests spoilt",
            "reloads": f"{done.get('reload', 0)} changed, {done.get('bad reload', 0)} refused",
            "orders": f"{done.get('order', 0)}",
            "discarded": f"{self.events.get('key.discarded', 0)} keys",
            "leaked bytes": f"{len(self.leaks)} (of {self.keys} keys in {self.needles:,} forms, in {self.searched:,} bytes)",
        }
        for what, sizes in self.memory.items():
            slope_of = f"{sizes['slope']:+.1f} KiB a minute"
            rows[f"memory: {what}"] = f"{sizes['from']} to {sizes['to']} MiB, {slope_of}"
        rows["findings"] = str(len(self.findings))
        wide = max(map(len, rows))
        lines = [f"{name:<{wide}}  {text}" for name, text in rows.items()]
        return "\n".join([*lines, *(f"! {finding}" for finding in self.findings)])
