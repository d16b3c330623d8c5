"""`--metrics-file`: metrics for node_exporter's textfile collector, carried on from run to run.

A one-shot begins with nothing: its counters would start anew with each run of cron, and a key set whose store is
down would lose the date of its last success just when an alert needs it. So what an earlier run wrote is
carried on: counters are added up, and what this run could not find out stays as it was.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rotator.atomic import read_regular, replace_file
from rotator.errors import StoreError
from rotator.metrics.exposition import PREFIX

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

MODE: Final = 0o644  # the collector is another user
LIMIT: Final = 64 << 20
_ADDED_UP: Final = frozenset({"counter", "histogram"})
INFO: Final = f"{PREFIX}key_set_info"
REVISION: Final = f"{PREFIX}key_set_revision"
FAILING: Final = f"{PREFIX}key_set_failing"
SUCCESS: Final = f"{PREFIX}last_success_timestamp_seconds"
DUE: Final = f"{PREFIX}next_due_timestamp_seconds"
OVERDUE: Final = f"{PREFIX}overdue_seconds"

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass(slots=True)
class Family:
    """One metric: its type, its help, and the value of each series by name and labels."""

    kind: str
    text: str
    series: Series = field(default_factory=dict)


Families = dict[str, Family]


def write_metrics(
    path: Path, registry: CollectorRegistry, *, carried: Collection[str] | None = None
) -> None:
    """Replace a metrics file, so that whoever reads it sees the old one or the new one.

    Args:
        path: what the collector reads; its name must end in `.prom` for node_exporter.
        carried: a one-shot's: the key sets of the configuration, so that those which this run did not reach stay
            as they were; None for a daemon, which knows everything that it tells.

    Raises:
        StoreUnavailable, StoreDenied: the file cannot be written; the one before is unchanged.
    """
    from rotator.metrics.exposition import render

    text = render(registry)
    if carried is not None:
        new, old = parsed(text.decode()), parsed(_earlier(path))
        text = _text(carry_on(old, new, carried, time.time())).encode()
    replace_file(path, text, MODE)


def _earlier(path: Path) -> str:
    try:
        found = read_regular(path, LIMIT)
    except StoreError:
        return ""  # whatever stands there is replaced, or the writing of the new one says why not
    return "" if found is None else found.decode(errors="replace")


def parsed(text: str) -> Families:
    """Return the metrics of a text by name; nothing for a text that is none."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        return {found.name: _family(found) for found in text_string_to_metric_families(text)}
    except (ValueError, KeyError, IndexError):
        return {}


def _family(found: Metric) -> Family:
    series: Series = {}
    for item in found.samples:
        series[item.name, tuple(item.labels.items())] = item.value
    return Family(found.type, found.documentation, series)


def carry_on(old: Families, new: Families, key_sets: Collection[str], now: float) -> Families:
    """Return the new metrics with what the old ones knew beside them.

    Counters are added up. Of a key set that this run did not reach everything stays; of one that it tried
    and could not tick everything but that it fails; of one that it ticked the date of its last success.

    Args:
        key_sets: those of the configuration; what is known of others goes.
        now: seconds since 1970.
    """
    ticked = {name for name, value in _by_key_set(new, REVISION).items() if value > 0}
    failed = set(_by_key_set(new, REVISION)) - ticked
    for name, family in old.items():
        if not name.startswith(PREFIX):
            continue
        into = new.setdefault(name, Family(family.kind, family.text)).series
        for place, value in family.series.items():
            key_set = dict(place[1]).get("key_set", "")
            if family.kind in _ADDED_UP:
                into[place] = into.get(place, 0.0) + value
            elif key_set in ticked:
                if name == SUCCESS:
                    into.setdefault(place, value)
            elif key_set in key_sets and not (name == FAILING and key_set in failed):
                _drop(into, key_set, of=name == INFO)
                into[place] = value
    _grow(new, set(key_sets) - ticked, now)
    _sum_up(new)
    return new


def _drop(series: Series, key_set: str, *, of: bool) -> None:
    """Take out what a run that could not tick a key set says of it: there is something better."""
    for place in [place for place in series if of and dict(place[1]).get("key_set") == key_set]:
        del series[place]


def _by_key_set(families: Families, name: str) -> dict[str, float]:
    family = families.get(name)
    series = family.series if family is not None else {}
    return {dict(labels).get("key_set", ""): value for (_, labels), value in series.items()}


def _grow(families: Families, key_sets: Collection[str], now: float) -> None:
    """Say how overdue is by now what an earlier run saw coming and this one could not look at."""
    due, overdue = _by_key_set(families, DUE), families.get(OVERDUE)
    if overdue is None:
        return
    for place, value in overdue.series.items():
        key_set = dict(place[1]).get("key_set", "")
        if key_set in key_sets and key_set in due:
            overdue.series[place] = max(value, now - due[key_set])


def _sum_up(families: Families) -> None:
    """Work out anew what is told of all key sets together: this run may have reached only some."""
    late = [value for value in _by_key_set(families, OVERDUE).values() if value > 0]
    failing = _by_key_set(families, FAILING)
    success = _by_key_set(families, SUCCESS)
    values = {
        "key_sets": len(failing),
        "key_sets_overdue": len(late),
        "key_sets_failing": sum(failing.values()),
        "key_sets_detailed": len(failing),
        "most_overdue_seconds": max(late, default=0.0),
        "oldest_success_timestamp_seconds": min(
            (success.get(name, 0.0) for name in failing), default=0.0
        ),
    }
    for name, value in values.items():
        family = families.get(PREFIX + name)
        if family is not None:
            family.series = {(PREFIX + name, ()): float(value)}


def _text(families: Families) -> str:
    lines: list[str] = []
    for name, family in families.items():
        shown = f"{name}_total" if family.kind == "counter" else name
        lines += (f"# HELP {shown} {_escaped(family.text)}", f"# TYPE {shown} {family.kind}")
        lines += (
            f"{sample}{_labels(labels)} {_number(value)}"
            for (sample, labels), value in family.series.items()
        )
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: Iterable[tuple[str, str]]) -> str:
    inside = ",".join(f'{name}="{_quoted(value)}"' for name, value in labels)
    return f"{{{inside}}}" if inside else ""


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)
