"""Metrics: what a life of real ticks makes of them, and that `docs/metrics.md` says the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rotator.algorithms import kind_of
from rotator.calls import Calls
from rotator.daemon.state import DaemonState
from rotator.delivery import FilesDelivery
from rotator.errors import StoreDenied, StoreUnavailable
from rotator.keys import Keys
from rotator.metrics import Meter
from rotator.metrics.exposition import registry_of, render
from rotator.metrics.surroundings import Surroundings
from rotator.metrics.textfile import Family, parsed, write_metrics
from rotator.metrics.writer import MetricsFile
from rotator.notify.post import ReceiverFigures
from rotator.policy import RotationPolicy, Standby
from rotator.publication import FilePublication
from rotator.reconcile.settle import settle
from rotator.reconcile.site import Site
from rotator.ring import Phase
from rotator.signers.command import CommandCheck
from rotator.stores import DocumentKind
from rotator_file.store import FileStore

ROOT = Path(__file__).parents[2]
START = datetime(2030, 1, 1, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
POLICY = RotationPolicy(
    kind=kind_of("EdDSA", None),
    token_ttl=5 * MINUTE,
    signer_lag=MINUTE,
    rotate_every=2 * HOUR,
    propagation=20 * MINUTE,
    verifier_cache=5 * MINUTE,
    leeway=SECOND,
    clock_skew=5 * SECOND,
    jwks_max_age=MINUTE,
    jwks_stale=MINUTE,
    resync=5 * MINUTE,
)


@dataclass
class Host:
    """A moved clock, one file store, and a meter that is told of every tick."""

    path: Path
    limit: int = 1000
    wall: datetime = START
    boot: timedelta = HOUR
    events: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.meter = Meter(self.now, detailed=self.limit)
        self.store = FileStore(self.path / "store")
        self.state = DaemonState(START)

    def now(self) -> datetime:
        return self.wall

    def elapsed(self) -> timedelta:
        return self.boot

    def advance(self, duration: timedelta) -> None:
        """Let time pass, on both clocks."""
        self.wall += duration
        self.boot += duration

    def emit(self, level: str, event: str, **fields: Any) -> None:  # noqa: ARG002 - as events are told
        self.events.append(event)

    def site(self, name: str = "web") -> Site:
        """A key set with a signing delivery and a published file."""
        return Site(
            key_set=name,
            policy=POLICY,
            rings=self.store.rings(name),
            material=self.store.material(name),
            targets=(
                FilesDelivery(self.path / f"{name}-signing", name, DocumentKind.SIGNING),
                FilePublication(self.path / f"{name}.json", name),
            ),
            keys=Keys(),
            clock=self,
            emit=self.meter.through(self.emit),
        )

    def settle(self, site: Site) -> Any:
        """Tick until nothing changes, as `rotate` does; the meter hears the calls too."""
        with self.meter.listening():
            return settle(site, self.advance, self.meter.ticked).outcome

    def text(self) -> str:
        """The metrics as they are told now."""
        around = Surroundings("1.2.3", lambda: self.state.reload, lambda: (True, 2))
        return render(registry_of(self.meter, around)).decode()

    def values(self, name: str) -> dict[tuple[str, ...], float]:
        """The series of one metric, by the values of its labels."""
        families = parsed(self.text())
        found = families.get(name) or families[name.removesuffix("_total")]
        return {tuple(v for _, v in place[1]): value for place, value in found.series.items()}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def listed() -> dict[str, tuple[str, frozenset[str]]]:
    """Type and labels of each metric in the document."""
    rows = {}
    for line in (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0].startswith("`rotator_"):
            labels = frozenset(word.strip() for word in cells[2].split(",") if word.strip())
            rows[cells[0].strip("`")] = (cells[1], labels)
    return rows


def told(text: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Type and labels of each metric that has a series."""
    found = {}
    for name, family in parsed(text).items():
        shown = f"{name}_total" if family.kind == "counter" else name
        for _, labels in family.series:
            found[shown] = (family.kind, frozenset(label for label, _ in labels if label != "le"))
    return found


def test_the_document_lists_what_is_told_and_nothing_else(host: Host) -> None:
    """One life in which everything that is measured happens; names, types and labels, both ways."""
    site = host.site()
    site.signers = (CommandCheck(("false",), every=HOUR),)
    host.settle(site)
    host.advance(2 * HOUR)
    host.settle(site)  # promotes; the key before is superseded
    published = host.path / "web.json"
    published.write_text(published.read_text().replace('"kid":"', '"kid":"x', 1))
    host.settle(site)  # drift
    for file in (published, host.path / "web.json.meta.json"):
        file.unlink()
    published.mkdir()
    host.settle(site)  # a target that fails
    host.meter.through(host.emit)("warning", "clock.jumped", seconds=-3600.0, now="")
    receiver = ReceiverFigures("ops", "command true", {"sent": 3}, pending=1, oldest=START)
    host.meter.told = lambda: (receiver,)
    assert told(host.text()) == listed()


def test_a_life_in_figures(host: Host) -> None:
    """Dates, phases, steps and calls are those of the ring and the store."""
    site = host.site()
    ring = host.settle(site).ring
    active, pending = ring.active, ring.in_phase(Phase.PENDING)[0]
    assert {frozenset(labels) for labels in host.values("rotator_key_info")} == {
        frozenset(("web", active.kid, "EdDSA", "active")),
        frozenset(("web", pending.kid, "EdDSA", "pending")),
    }
    due = (active.activated_at + POLICY.rotate_every).timestamp()
    assert host.values("rotator_rotation_due_timestamp_seconds") == {("web",): due}
    assert host.values("rotator_next_due_timestamp_seconds") == {("web",): due}
    begun = active.activated_at.timestamp()
    assert host.values("rotator_standby_due_timestamp_seconds") == {("web",): begun}
    site.policy = replace(POLICY, standby=Standby.JUST_IN_TIME)
    host.settle(site)
    lead = (POLICY.propagation + 2 * POLICY.resync).total_seconds()
    [wanted] = host.values("rotator_standby_due_timestamp_seconds").values()
    assert due - lead - MINUTE.total_seconds() <= wanted <= due - lead
    assert host.values("rotator_key_activated_timestamp_seconds") == {
        ("web", active.kid): active.activated_at.timestamp()
    }
    assert host.values("rotator_last_success_timestamp_seconds") == {
        ("web",): host.wall.timestamp()
    }
    assert host.values("rotator_key_set_revision") == {("web",): ring.revision}
    steps = host.values("rotator_steps_total")
    assert sum(value for labels, value in steps.items() if "create" in labels) == 2
    assert sum(value for labels, value in steps.items() if "promote" in labels) == 1
    calls = host.values("rotator_store_calls_total")
    saves = sum(value for labels, value in calls.items() if "ring.save" in labels)
    assert saves == ring.revision
    assert 'rotator_store_call_seconds_bucket{le="+Inf",op="ring.save"' in host.text()


def test_series_are_gone_with_their_key_and_their_key_set(host: Host) -> None:
    """A kid that retired is told no more; nor is a key set that left."""
    site = host.site()
    first = host.settle(site).ring.active.kid
    host.advance(2 * HOUR)
    host.settle(site)
    assert first in host.text()
    host.advance(HOUR)
    host.settle(site)
    assert first not in host.text()
    assert 'key_set="web"' in host.text()
    host.meter.dropped("web")
    assert 'key_set="web"' not in host.text()


def test_overdue_grows_although_nobody_ticks(host: Host) -> None:
    """What a store that hangs, or a worker that never returns, does to a rotation is seen."""
    site = host.site()
    host.settle(site)
    assert host.values("rotator_overdue_seconds") == {("web",): 0.0}
    host.advance(2 * HOUR + 5 * MINUTE)
    assert host.values("rotator_overdue_seconds") == {("web",): 0.0}, "it is taken for under way"
    host.advance(HOUR)
    [late] = host.values("rotator_overdue_seconds").values()
    assert HOUR.total_seconds() < late < 2 * HOUR.total_seconds()
    assert host.values("rotator_key_sets_overdue") == {(): 1.0}
    host.meter.failed(site, StoreUnavailable("it is down"))
    assert host.values("rotator_key_set_failing") == {("web",): 1.0}
    assert host.values("rotator_ticks_total")[("StoreUnavailable",)] == 1
    assert host.values("rotator_key_info"), "what was known of its keys stays"
    host.settle(site)
    assert host.values("rotator_overdue_seconds") == {("web",): 0.0}
    assert host.values("rotator_key_set_failing") == {("web",): 0.0}


def test_what_is_held_up_is_overdue(host: Host) -> None:
    """A rotation that is due waits for a target that does not answer: overdue since it was due."""
    site = host.site()
    host.settle(site)
    (host.path / "web.json").unlink()
    (host.path / "web.json").mkdir()
    host.advance(3 * HOUR)
    host.settle(site)
    [late] = host.values("rotator_overdue_seconds").values()
    assert late > (HOUR - MINUTE).total_seconds()
    assert host.values("rotator_key_sets_failing") == {(): 1.0}
    assert {k[-1]: v for k, v in host.values("rotator_target_failing").items()}[
        f"file:{host.path / 'web.json'}"
    ] == 1.0


def test_a_fleet_is_bounded(tmp_path: Path) -> None:
    """Above the limit only key sets that are amiss have series; the sums count all."""
    host = Host(tmp_path, limit=2)
    sites = [host.site(f"set-{number}") for number in range(4)]
    for site in sites:
        host.settle(site)
    assert host.values("rotator_key_sets") == {(): 4.0}
    assert host.values("rotator_key_sets_detailed") == {(): 0.0}
    for site in sites[:3]:
        host.meter.failed(site, StoreDenied("no"))
    assert host.values("rotator_key_sets_failing") == {(): 3.0}
    assert len(host.values("rotator_key_set_failing")) == 2


def test_a_scrape_is_bounded(tmp_path: Path) -> None:
    """Ten thousand key sets that fail at once: as large as the limit allows, and no larger."""
    host = Host(tmp_path, limit=200)
    site = host.site()
    host.settle(site)
    one = replace(host.meter.read().key_sets[0], failing=True)
    for number in range(10_000):
        host.meter._key_sets[f"set-{number}"] = replace(one, key_set=f"set-{number}")
    text = host.text()
    assert text.count("\nrotator_key_set_failing{") == 200
    assert len(text) < 200 * 22 * 200  # series of each, bytes of one
    assert host.values("rotator_key_sets") == {(): 10_001.0}


def test_only_calls_inside_the_block_are_counted(host: Host) -> None:
    """Whoever stopped listening is told no more; an error's name is the outcome."""
    calls = Calls("file", "here")
    with host.meter.listening(), pytest.raises(StoreDenied), calls.logged("ring.load", "web"):
        raise StoreDenied("no")
    with calls.logged("ring.load", "web"):
        pass
    assert sum(host.values("rotator_store_calls_total").values()) == 1
    assert "StoreDenied" in host.text()


def write(host: Host, path: Path, *key_sets: str) -> dict[str, Family]:
    """Write a one-shot's file, and return what is in it."""
    write_metrics(path, registry_of(host.meter, Surroundings("1")), carried=key_sets)
    return parsed(path.read_text())


def series(families: dict[str, Family], name: str) -> dict[str, float]:
    """Values by key set."""
    return {dict(place[1]).get("key_set", ""): v for place, v in families[name].series.items()}


def test_a_file_carries_on_what_the_run_before_knew(tmp_path: Path) -> None:
    """Counters add up; a key set that was not named, or failed at once, keeps its dates; one that left goes."""
    path, host = tmp_path / "rotator.prom", Host(tmp_path)
    for name in ("web", "api", "old"):
        host.settle(host.site(name))
    first = write(host, path, "web", "api", "old")
    assert path.stat().st_mode & 0o777 == 0o644
    again = Host(tmp_path)
    again.advance(3 * HOUR)
    again.meter.failed(again.site("api"), StoreUnavailable("it is down"))
    second = write(again, path, "web", "api")
    success = "rotator_last_success_timestamp_seconds"
    assert series(second, success) == {
        name: series(first, success)[name] for name in ("web", "api")
    }
    assert series(second, "rotator_key_set_failing") == {"web": 0.0, "api": 1.0}
    assert series(second, "rotator_key_set_revision").keys() == {"web", "api"}
    assert second["rotator_key_sets"].series[("rotator_key_sets", ())] == 2
    assert second["rotator_key_sets_failing"].series[("rotator_key_sets_failing", ())] == 1
    steps = second["rotator_steps"].series
    assert steps == first["rotator_steps"].series
    third = Host(tmp_path)
    third.advance(HOUR)
    third.settle(third.site("web"))
    merged = write(third, path, "web", "api")
    assert series(merged, success)["web"] > series(second, success)["web"]
    assert series(merged, success)["api"] == series(second, success)["api"]
    ticks = {place[1][0][1]: value for place, value in merged["rotator_ticks"].series.items()}
    assert ticks["StoreUnavailable"] == 1
    assert ticks["ok"] == 4


@pytest.mark.parametrize("content", [b"", b"\xff\x00 nonsense {{{", b"rotator_x{ 1\n", b"a 1\n"])
def test_a_file_that_is_none_is_replaced(host: Host, content: bytes) -> None:
    """Whatever stood there before."""
    path = host.path / "rotator.prom"
    path.write_bytes(content)
    host.settle(host.site())
    assert series(write(host, path, "web"), "rotator_key_set_failing") == {"web": 0.0}


def test_the_text_that_is_merged_is_the_text_that_was_rendered(host: Host) -> None:
    """Escapes, infinities and all: nothing is lost on the way through a file."""
    site = host.site()
    host.settle(site)
    host.meter.called('a "store"\\\n', "op", "ok", 0.2)
    fresh = parsed(render(registry_of(host.meter, Surroundings("1"))).decode())
    assert write(host, host.path / "new.prom", "web") == fresh


def test_a_daemon_says_once_that_its_file_cannot_be_written(host: Host) -> None:
    """The thread goes on, and the file comes when it can be written."""
    path = host.path / "missing" / "rotator.prom"
    writer = MetricsFile(path, registry_of(host.meter, Surroundings("1")), host.emit, every=0.02)
    writer._write()
    writer._write()
    assert host.events == ["metrics.untold"]
    path.parent.mkdir()
    writer.start()
    writer.stop()
    assert parsed(path.read_text())["rotator_build_info"].series


def names() -> Iterator[str]:
    """Every metric that an expression in the document names."""
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for block in re.findall(r"```promql\n(.*?)```", text, re.DOTALL):
        yield from re.findall(r"rotator_[a-z_]+", re.sub(r"#.*", "", block))


def test_alerts_name_metrics_that_there_are() -> None:
    """An alert on a metric that nobody tells never fires."""
    found = list(names())
    assert len(found) > 5
    assert set(found) <= set(listed())
