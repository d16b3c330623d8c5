"""From what a meter knows to Prometheus' text format; `docs/metrics.md` lists every metric.

Made at each scrape from what is known then: the series of a key are gone with the key, those of a key set
with the key set, and how overdue something is grows although nobody ticks.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from rotator.metrics.figures import KeySetFigures
from rotator.metrics.meter import BUCKETS, Durations, Meter, Reading
from rotator.metrics.surroundings import Surroundings

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "rotator_"

_KEY: Final = ("key_set", "kid")
_TARGET: Final = ("key_set", "target")


def registry_of(
    meter: Meter, surroundings: Surroundings, *, process: bool = False
) -> CollectorRegistry:
    """Return a registry of prometheus-client over a meter.

    Args:
        process: the process's own memory, CPU and files too; not for a file that another exporter serves,
            which has metrics of the same names for itself.
    """
    from prometheus_client import CollectorRegistry, ProcessCollector

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(meter, surroundings))
    if process:
        ProcessCollector(registry=registry)
    return registry


def render(registry: CollectorRegistry) -> bytes:
    """Return the metrics in Prometheus' text format 0.0.4."""
    from prometheus_client import generate_latest

    text: bytes = generate_latest(registry)
    return text


class _Collector:
    """A collector of prometheus-client that reads the meter when it is asked."""

    def __init__(self, meter: Meter, surroundings: Surroundings) -> None:
        self._meter, self._around = meter, surroundings

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        reading = self._meter.read()
        yield from _process(self._around)
        yield from _together(reading)
        yield from _each(reading)
        yield from _keys(reading.detailed)
        yield from _targets(reading.detailed)
        yield from _counted(reading)
        yield from _told(reading)


def _gauge(name: str, text: str, labels: Iterable[str] = ()) -> Any:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(PREFIX + name, text, labels=tuple(labels))


def _counter(name: str, text: str, labels: Iterable[str] = ()) -> Any:
    from prometheus_client.core import CounterMetricFamily

    return CounterMetricFamily(PREFIX + name, text, labels=tuple(labels))


def _one(name: str, text: str, value: float | None) -> Any:
    found = _gauge(name, text)
    if value is not None:
        found.add_metric((), value)
    return found


def _process(around: Surroundings) -> Iterator[Metric]:
    build = _gauge("build_info", "The version of this program.", ("version", "python"))
    build.add_metric((around.version, platform.python_version()), 1)
    yield build
    if around.reload is not None:
        reload = around.reload()
        text = "1 while the newest configuration is the one in force, 0 after one was refused."
        yield _one("config_last_reload_successful", text, not reload.error)
        text = "When the configuration in force was loaded."
        yield _one("config_loaded_timestamp_seconds", text, reload.loaded_at.timestamp())
        count = _counter("config_reloads", "Reloads of the configuration.", ("result",))
        count.add_metric(("done",), reload.reloads)
        count.add_metric(("refused",), reload.refusals)
        yield count
    server = around.server() if around.server is not None else None
    if server is not None:
        yield _one("server_up", "1 while the built-in HTTP server serves.", server[0])
        found = _counter("server_restarts", "How often it ended by itself and was started again.")
        found.add_metric((), server[1])
        yield found


def _together(reading: Reading) -> Iterator[Metric]:
    key_sets, now = reading.key_sets, reading.now
    overdue = [item.overdue(now) for item in key_sets]
    yield _one("key_sets", "Key sets that this process has ticked.", len(key_sets))
    late = [seconds for seconds in overdue if seconds is not None]
    yield _one("key_sets_overdue", "Key sets with something overdue.", len(late))
    failing = sum(item.failing for item in key_sets)
    yield _one(
        "key_sets_failing", "Key sets that cannot be ticked, or with a target that fails.", failing
    )
    text = "Key sets that have series of their own."
    yield _one("key_sets_detailed", text, len(reading.detailed))
    text = "For how long the most overdue thing of any key set is; 0 when nothing is."
    yield _one("most_overdue_seconds", text, max(late, default=0.0))
    oldest = min((item.success or 0.0 for item in key_sets), default=None)
    text = "The last success of the key set whose last success is longest ago; 0 when one never had any."
    yield _one("oldest_success_timestamp_seconds", text, oldest)
    suspicious = any(item.suspicious for item in key_sets)
    yield _one("clock_suspicious", "1 while this host's clock is not trusted.", suspicious)


def _each(reading: Reading) -> Iterator[Metric]:
    """Yield what there is once for each key set."""
    labels, now = ("key_set",), reading.now
    info = _gauge(
        "key_set_info",
        "A key set: its algorithm, and what it does or waits for (docs/reasons.md).",
        ("key_set", "alg", "reason"),
    )
    revision = _gauge("key_set_revision", "The revision of the ring.", labels)
    failing = _gauge(
        "key_set_failing", "1 while it cannot be ticked, or one of its targets fails.", labels
    )
    success = _gauge(
        "last_success_timestamp_seconds",
        "When a tick last found, or left, everything in order.",
        labels,
    )
    rotation = _gauge(
        "rotation_due_timestamp_seconds", "When the current key is due to be replaced.", labels
    )
    standby = _gauge("standby_due_timestamp_seconds", "When there must be a next key.", labels)
    text = "When the next thing in its keys' lives is due; past while that is held up."
    due = _gauge("next_due_timestamp_seconds", text, labels)
    overdue = _gauge(
        "overdue_seconds", "For how long something has been due that was not done; else 0.", labels
    )
    for item in reading.detailed:
        name = (item.key_set,)
        info.add_metric((item.key_set, item.algorithm, item.reason), 1)
        revision.add_metric(name, item.revision)
        failing.add_metric(name, item.failing)
        overdue.add_metric(name, item.overdue(now) or 0.0)
        dates = (
            (success, item.success),
            (rotation, item.rotation_due),
            (standby, item.standby_due),
            (due, item.next_due),
        )
        for family, date in dates:
            if date is not None:
                family.add_metric(name, date)
    yield from (info, revision, failing, success, rotation, standby, due, overdue)


def _keys(key_sets: Iterable[KeySetFigures]) -> Iterator[Metric]:
    """Yield what there is once for each live key."""
    info = _gauge("key_info", "A live key and its phase.", ("key_set", "kid", "alg", "phase"))
    created = _gauge("key_created_timestamp_seconds", "When it was made.", _KEY)
    announced = _gauge(
        "key_announced_timestamp_seconds",
        "When it was first seen at the last place to show it.",
        _KEY,
    )
    activated = _gauge("key_activated_timestamp_seconds", "When it began to sign.", _KEY)
    superseded = _gauge(
        "key_superseded_timestamp_seconds",
        "When the last signer was seen with its successor.",
        _KEY,
    )
    due = _gauge(
        "key_due_timestamp_seconds",
        "When the next thing in its life is due, by the clock alone.",
        _KEY,
    )
    for item in key_sets:
        for key in item.keys:
            labels = (item.key_set, key.kid)
            info.add_metric((*labels, key.algorithm, key.phase), 1)
            created.add_metric(labels, key.created)
            dates = (
                (announced, key.announced),
                (activated, key.activated),
                (superseded, key.superseded),
                (due, key.due),
            )
            for family, date in dates:
                if date is not None:
                    family.add_metric(labels, date)
    yield from (info, created, announced, activated, superseded, due)


def _targets(key_sets: Iterable[KeySetFigures]) -> Iterator[Metric]:
    """Yield what there is once for each target."""
    failing = _gauge("target_failing", "1 while it cannot be looked at or written.", _TARGET)
    drifted = _gauge("target_drifted", "1 when the last look found it changed by others.", _TARGET)
    keys = _gauge("target_keys", "How many keys of the ring were seen there.", _TARGET)
    signers = _gauge(
        "signer_drifting", "1 while a signer is seen with a key that it should not use.", _TARGET
    )
    for item in key_sets:
        for target in item.targets:
            labels = (item.key_set, target.name)
            failing.add_metric(labels, target.failing)
            drifted.add_metric(labels, target.drifted)
            keys.add_metric(labels, target.keys)
        for signer in item.signers:
            signers.add_metric((item.key_set, signer.name), signer.drifting)
    yield from (failing, drifted, keys, signers)


def _counted(reading: Reading) -> Iterator[Metric]:
    tables: tuple[tuple[str, str, tuple[str, ...], dict[Any, int]], ...] = (
        ("ticks", "Ticks by how they ended.", ("result",), reading.ticks),
        ("steps", "Steps of keys' lives.", ("step", "reason", "result"), reading.steps),
        (
            "document_writes",
            "Documents written, by kind of document and kind of target.",
            ("document", "target"),
            reading.writes,
        ),
        (
            "target_failures",
            "Ticks in which a target failed, by kind of target.",
            ("target",),
            reading.target_failures,
        ),
        ("drift", "Looks that found a target changed by others.", ("target",), reading.drift),
        ("store_calls", "Calls to stores.", ("store", "op", "outcome"), reading.calls),
    )
    for name, text, labels, values in tables:
        family = _counter(name, text, labels)
        for values_of, count in values.items():
            family.add_metric((values_of,) if isinstance(values_of, str) else values_of, count)
        yield family
    yield _durations(reading.call_seconds)
    jumps = _counter("clock_jumps", "How often the wall clock was set while the daemon ran.")
    jumps.add_metric((), reading.jumps)
    yield jumps
    text = "By how much it was set the last time; negative when it was set back."
    yield _one("clock_jump_seconds", text, reading.jump_seconds)


def _told(reading: Reading) -> Iterator[Metric]:
    """Yield what there is once for each receiver of notifications."""
    sent = _counter(
        "notifications", "Tries to tell a receiver of an event.", ("receiver", "outcome")
    )
    text = "Events that a receiver has not confirmed yet."
    pending = _gauge("notifications_pending", text, ("receiver",))
    text = "How long ago the oldest of them happened; 0 when there is none."
    oldest = _gauge("notifications_oldest_seconds", text, ("receiver",))
    for item in reading.told:
        for outcome, count in item.outcomes.items():
            sent.add_metric((item.name, outcome), count)
        pending.add_metric((item.name,), item.pending)
        age = 0.0 if item.oldest is None else reading.now - item.oldest.timestamp()
        oldest.add_metric((item.name,), max(age, 0.0))
    yield from (sent, pending, oldest)


def _durations(found: dict[tuple[str, str], Durations]) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(
        f"{PREFIX}store_call_seconds", "How long calls to stores took.", labels=("store", "op")
    )
    bounds = [*(str(bound) for bound in BUCKETS), "+Inf"]
    for labels, item in found.items():
        counts, buckets = 0, []
        for bound, count in zip(bounds, item.counts, strict=True):
            counts += count
            buckets.append((bound, float(counts)))
        family.add_metric(labels, buckets, item.total)
    return family
