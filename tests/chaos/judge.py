"""Whether all is well: each key set once the weather is over, and everything that was ever written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import jwt

from tests.campaign.needles import needles_of, search
from tests.chaos.report import Report
from tests.chaos.stage import Stage
from tests.chaos.watch import Watch
from tests.servers_e2e.leftovers import LOCATORS

_IN_USE: Final = {"active", "pending", "retiring"}
_SECRET_DIRECTORIES: Final = {"signing", "verification", "material"}


class Judge:
    """Looks at the stores by their own interfaces, and at every byte that was left."""

    def __init__(self, stage: Stage, watch: Watch) -> None:
        self._stage, self._watch = stage, watch

    def flaws(self, name: str) -> list[str]:
        """What is not in order with a key set just now; in order is: nothing half done, lost or left over."""
        try:
            return list(self._flaws(name))
        except Exception as error:  # noqa: BLE001 - in the midst of a change anything may not fit
            return [f"{type(error).__name__}: {error}"]

    def _flaws(self, name: str) -> Iterator[str]:
        ground = self._stage.grounds[name]
        ring = ground.ring()
        phases = {key["kid"]: key["phase"] for key in ring["keys"]}
        if sorted(phases.values()).count("active") != 1 or not set(phases.values()) <= _IN_USE:
            yield f"phases {sorted(phases.values())}"
            return
        material = ground.store.material(name)
        for key in ring["keys"]:
            if material.get(key["locator"], key["kid"]) is None:
                yield f"the material of {key['kid']} is lost"
        orphans = LOCATORS[ground.backend](ground) - {key["locator"] for key in ring["keys"]}
        if orphans:
            yield f"orphans: {sorted(orphans)}"
        document = json.loads(ground.signing.read_bytes())
        if phases.get(document["kid"]) != "active":
            yield "signers hold another key than the active one"
        published = {key["kid"]: key for key in self._stage.published(name)}
        if not set(phases) <= set(published):
            yield "verifiers do not have every key"
        claims = jwt.encode({}, jwt.PyJWK(document["jwk"]).key, document["alg"])
        jwt.decode(claims, jwt.PyJWK(published[document["kid"]]).key, [document["alg"]])

    def after(self, report: Report) -> None:
        """Say how it ended: exit codes, faults of the program, memory, and keys in any output."""
        stage = self._stage
        report.rotations = {name: self._watch.rotations(name) for name in stage.grounds}
        for replica in stage.replicas.values():
            wrong = [code for code in replica.codes if code != 143]
            if wrong:
                report.findings.append(f"{replica.name} answered SIGTERM with {wrong}")
            for event in ("key.discarded", "key_set.failing", "target.failing", "config.differs"):
                report.events[event] = report.events.get(event, 0) + replica.count(event)
        report.events["processes"] = sum(len(r.past) for r in stage.replicas.values())
        report.findings += _faults_of_the_program(stage.home / "logs")
        report.add_memory(self._watch.memory)
        points = {f"{what} {pid}": sizes for (what, pid), sizes in self._watch.memory.items()}
        (stage.home / "memory.json").write_text(json.dumps(points))
        places = dict(self._places())
        needles = needles_of(self._watch.materials.values())
        report.keys, report.needles = len(self._watch.materials), len(needles)
        report.searched = sum(map(len, places.values()))
        report.leaks = list(search(needles, places))
        report.findings += [f"a private key in {leak}" for leak in report.leaks]
        # The same search finds what was planted, so that its silence says something.
        if needles and not list(search(needles, {"planted": b"x" + next(iter(needles)) + b"y"})):
            report.findings.append("the search does not find what was planted")

    def _places(self) -> Iterator[tuple[str, bytes]]:
        """Every file but material and deliveries, and the heads of requests, which servers log."""
        home = self._stage.home
        for path in sorted(home.rglob("*")):
            inside = path.relative_to(home).parts
            if path.is_file() and not path.is_symlink() and _SECRET_DIRECTORIES.isdisjoint(inside):
                yield str(path), path.read_bytes()
        for name, proxy in self._stage.proxies.items():
            for request in proxy.seen:
                head = f"{request.method} {request.path} {request.headers}"
                yield f"head of request {request.number} to {name}", head.encode()


def _faults_of_the_program(logs: Path) -> Iterator[str]:
    """Yield lines that no weather excuses."""
    for path in sorted(logs.iterdir()):
        for line in path.read_bytes().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                if b"Traceback" in line:  # somebody died without a word of ours
                    yield f"{path.name}: {line[:600].decode(errors='replace')}"
                continue
            if event["event"] == "key_set.traceback" or "fault of the program" in str(event):
                yield f"{path.name}: {line[:3000].decode(errors='replace')}"
