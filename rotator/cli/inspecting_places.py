"""What `rotator check` looks at beside key sets: stores, buckets and clusters, each as a whole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial

from rotator.assemble import Assembly
from rotator.cli.exercising import Trial
from rotator.errors import RotatorError
from rotator.inspection import Finding, Inspectable, Scope
from rotator.kubernetes.access import Wanted, inspect
from rotator.kubernetes.settings import ClusterSettings
from rotator.policy import format_duration
from rotator.reconcile.look import witness_of
from rotator.settings.scopes import scopes_of, trial_scope
from rotator.settings.targets import ObjectSettings
from rotator.stores import ServerTime


def inspect_store(assembly: Assembly, name: str, key_sets: Collection[str]) -> Iterator[Finding]:
    """Open a store and let it say what it may do for these key sets, and what it advises."""
    scopes = scopes_of(assembly.settings, name, key_sets)
    yield from _inspected(assembly, f"the store {name}", partial(assembly.store, name), scopes)


def inspect_bucket(
    assembly: Assembly, bucket: ObjectSettings, scopes: Sequence[Scope]
) -> Iterator[Finding]:
    """Open a bucket and let it say what it may do with the objects of these key sets, and what it advises."""
    what = f"the bucket {bucket.bucket}"
    yield from _inspected(assembly, what, partial(assembly.bucket, bucket), scopes)


def _inspected(
    assembly: Assembly, what: str, open_it: Callable[[], object], scopes: Sequence[Scope]
) -> Iterator[Finding]:
    try:
        opened = open_it()
        if not isinstance(opened, Inspectable):
            yield Finding("ok", "opened; its backend has no inspection")
            return
        report = opened.inspect(scopes)
    except RotatorError as error:
        yield fault(error)
        return
    yield from report.findings
    yield from _clock(assembly, what, report.server_time)


def inspect_cluster(
    assembly: Assembly, cluster: ClusterSettings, wanted: Sequence[Wanted]
) -> Iterator[Finding]:
    """Ask a cluster what this identity may do with the objects of these key sets."""
    try:
        yield from inspect(assembly.cluster(cluster), wanted)
    except RotatorError as error:
        yield fault(error)


def try_store(assembly: Assembly, name: str, key_sets: Collection[str]) -> Iterator[Finding]:
    """Write to a store on trial what these key sets have there, and remove it again."""
    scope = trial_scope(scopes_of(assembly.settings, name, key_sets))
    try:
        trial = Trial(assembly.store(name), scope, assembly.clock.now())
    except RotatorError:
        return  # `inspect_store` said why
    yield from trial.run()


def without(told: Mapping[str, str], findings: Iterable[Finding]) -> Iterator[Finding]:
    """Leave out what was told before: one cause, one fault.

    Args:
        told: faults by their text, and of what each was told; that is named instead, once.
    """
    named: set[str] = set()
    for finding in findings:
        of = told.get(finding.text) if finding.level == "fault" else None
        if of is None:
            yield finding
        elif of not in named:
            named.add(of)
            yield Finding("advice", f"not looked at in full: see the fault of {of} above")


def _clock(assembly: Assembly, name: str, said: ServerTime | None) -> Iterator[Finding]:
    witness = witness_of(name, said, assembly.clock.now())
    if witness is None:
        return
    policies = [item.policy for item in assembly.settings.key_sets.values()]
    skew = min((policy.clock_skew for policy in policies), default=timedelta(minutes=5))
    apart = format_duration(witness.apart())
    if witness.agrees(skew):
        yield Finding("ok", f"its clock and this host's are {apart} apart")
    else:
        yield Finding("fault", f"this host's clock is {apart} away from its clock", exit_code=75)


def fault(error: RotatorError) -> Finding:
    """Return an error as what `check` found."""
    return Finding("fault", error.message, hint=error.hint, exit_code=error.exit_code)
