"""The tick where it refuses, waits, and heals: first runs, stale rings, failing and lying targets, the fence."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rotator.algorithms import kind_of
from rotator.errors import (
    ConfigError,
    Conflict,
    RotatorError,
    StoreCorrupt,
    StoreUnavailable,
    TargetFailing,
)
from rotator.observed import DocumentKind
from rotator.policy import RotationPolicy
from rotator.reconcile.gather import look_around
from rotator.reconcile.settle import settle
from rotator.reconcile.site import Site
from rotator.reconcile.tick import tick
from rotator.rehearsal.clocks import Host, HostClock, TrueTime
from rotator.rehearsal.pauses import Gate
from rotator.rehearsal.toykeys import ToyKeys
from rotator.rehearsal.walls import Fault, MemoryStore, MemoryTarget, Place
from rotator.step import Reason
from rotator.stores import Document

POLICY = RotationPolicy(
    kind_of("ES256"), token_ttl=timedelta(hours=1), signer_lag=timedelta(minutes=5)
)
FOREIGN = Document(b'{"keys":[]}', None, None)
OTHER = Document(b'{"keys":[]}', "other", 3)


class Bench:
    """A key set over memory with one JWKS and one signing target."""

    def __init__(self, policy: RotationPolicy = POLICY, *, independent: bool = True) -> None:
        self.true = TrueTime()
        self.gate = Gate()
        self.host = Host("host", self.true)
        self.store = MemoryStore(self.true)
        self.jwks = Place("jwks", DocumentKind.JWKS, independent=independent)
        self.signing = Place("signing", DocumentKind.SIGNING, independent=independent)
        self.keys = ToyKeys()
        self.events: list[str] = []
        self.site = self.process(policy)

    def process(self, policy: RotationPolicy = POLICY) -> Site:
        """Return the key set as a new process sees it."""
        login = self.store.login(self.gate)
        targets = tuple(MemoryTarget(place, self.gate) for place in (self.jwks, self.signing))
        clock = HostClock(self.host, self.gate)
        return Site(
            "web",
            policy,
            login.rings("web"),
            login.material("web"),
            targets,
            self.keys,
            clock,
            self.emit,
        )

    def emit(self, level: str, event: str, **fields: Any) -> None:
        """Keep the name of an event."""
        del level, fields
        self.events.append(event)

    @property
    def everything(self) -> tuple[Any, ...]:
        """All that is stored and published."""
        shelf = self.store.shelf("web")
        return shelf.ring, dict(shelf.material), self.jwks.document, self.signing.document


def refusal(bench: Bench, site: Site | None = None) -> RotatorError:
    """Tick, and return why it was refused; nothing may have changed."""
    before = bench.everything
    with pytest.raises(RotatorError) as raised:
        tick(site or bench.site)
    assert bench.everything == before
    assert raised.value.hint
    return raised.value


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.DENIED])
def test_no_answer_is_no_proof_of_a_first_run(fault: Fault) -> None:
    """Whether keys are in use cannot be told; the operator can."""
    bench = Bench()
    bench.jwks.fault = fault
    error = refusal(bench)
    assert isinstance(error, TargetFailing)
    assert "--first-run" in error.hint
    bench.site.first_run = True
    tick(bench.site)
    assert bench.store.shelf("web").ring is not None


def test_a_first_run_by_the_operator_only() -> None:
    """`first_run: operator` makes the word the only way."""
    bench = Bench(replace(POLICY, first_run="operator"))
    assert "first_run: operator" in str(refusal(bench))
    bench.site.first_run = True
    tick(bench.site)


def test_a_store_cannot_vouch_for_itself() -> None:
    """An emptied store answers "nothing" for ring and documents alike."""
    assert "its own store" in str(refusal(Bench(independent=False)))


@pytest.mark.parametrize("document", [FOREIGN, OTHER])
def test_a_filled_target_is_no_first_run(document: Document) -> None:
    """Something else is in use there; the operator may begin, and the target stays as it is."""
    bench = Bench()
    bench.jwks.put(document)
    assert isinstance(refusal(bench), StoreCorrupt)
    bench.site.first_run = True
    settle(bench.site, bench.true.advance)
    assert bench.jwks.document is not None
    assert bench.jwks.document.body == document.body


def test_the_operators_word_does_not_outweigh_keys_in_use() -> None:
    """`--first-run` never drops keys that this key set published."""
    bench = Bench()
    settle(bench.site, bench.true.advance)
    bench.store.put_back("web", None)
    fresh = bench.process()
    fresh.first_run = True
    assert "keys of it are at" in str(refusal(bench, fresh))


def test_a_ring_that_this_process_saw_is_no_first_run_when_it_is_gone() -> None:
    """Even if every target was emptied with it."""
    bench = Bench()
    settle(bench.site, bench.true.advance)
    bench.store.put_back("web", None)
    bench.jwks.put(None)
    bench.signing.put(None)
    assert "has seen it" in str(refusal(bench))


def test_a_ring_older_than_a_document_stops() -> None:
    """Judged after a second load; the message says who is ahead."""
    bench = Bench()
    tick(bench.site)
    old = bench.store.shelf("web").ring
    settle(bench.site, bench.true.advance)
    bench.store.put_back("web", old)
    error = refusal(bench, bench.process())
    assert isinstance(error, StoreCorrupt)
    assert "jwks has revision" in str(error)
    assert error.exit_code == 65


def test_a_ring_that_went_back_is_noticed_by_memory_alone() -> None:
    """No target tells, but this process saw a higher revision."""
    bench = Bench()
    tick(bench.site)
    old = bench.store.shelf("web").ring
    settle(bench.site, bench.true.advance)
    bench.store.put_back("web", old)
    bench.jwks.fault = bench.signing.fault = Fault.SILENT
    assert "this process has seen revision" in str(refusal(bench))


@pytest.mark.parametrize(
    ("wanted", "says"), [("HS256", "only a new key set"), ("RS256", "allow_mixed_kty")]
)
def test_a_kind_that_does_not_fit_is_refused(wanted: str, says: str) -> None:
    """Rule 10; nothing is changed, the exit code is that of a bad configuration."""
    bench = Bench()
    settle(bench.site, bench.true.advance)
    error = refusal(bench, bench.process(replace(POLICY, kind=kind_of(wanted, None))))
    assert isinstance(error, ConfigError)
    assert says in str(error)


def test_another_kind_of_the_same_type_is_an_announced_rotation() -> None:
    """The old standby goes once the new kind signs."""
    bench = Bench()
    settle(bench.site, bench.true.advance)
    site = bench.process(replace(POLICY, kind=kind_of("ES384")))
    settle(site, bench.true.advance)
    for _ in range(3):
        bench.true.advance(timedelta(days=1))
        outcome = settle(site, bench.true.advance).outcome
    kinds = {key.algorithm for key in outcome.ring.published}
    assert kinds == {"ES384"}


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.DENIED, Fault.READ_ONLY, Fault.LIES])
def test_a_failing_jwks_leaves_the_old_key_in_place_and_heals(fault: Fault) -> None:
    """A next key that is not seen is not promoted, however overdue."""
    bench = Bench()
    settle(bench.site, bench.true.advance)
    bench.jwks.fault = fault
    bench.jwks.document = None
    active = look_around(bench.site).ring.active
    for _ in range(100):
        bench.true.advance(timedelta(days=1))
        outcome = settle(bench.site, bench.true.advance).outcome
    assert outcome.ring.active == active
    assert outcome.exit_code in (75, 77)
    assert outcome.failures
    bench.jwks.fault = Fault.NONE
    for _ in range(3):
        bench.true.advance(timedelta(days=1))
        outcome = settle(bench.site, bench.true.advance).outcome
    assert outcome.exit_code == 0
    assert outcome.ring.active != active
    assert bench.events.count("target.failing") == 1
    assert bench.events.count("target.healed") == 1


def test_retries_come_later_each_time() -> None:
    """A failing target is not hammered."""
    bench = Bench()
    settle(bench.site, bench.true.advance)
    bench.signing.fault = Fault.READ_ONLY
    bench.signing.put(None)
    pauses = []
    for _ in range(12):
        outcome = tick(bench.site)
        assert outcome.retry_at is not None
        pause = outcome.retry_at - bench.site.clock.elapsed()
        pauses.append(pause)
        bench.true.advance(pause)
    assert pauses[:4] == [timedelta(seconds=seconds) for seconds in (1, 2, 4, 8)]
    assert max(pauses) == timedelta(minutes=5)


def test_a_document_that_drifted_is_put_right() -> None:
    """And reported."""
    bench = Bench()
    settle(bench.site, bench.true.advance)
    right = bench.jwks.document
    assert right is not None
    drifted = replace(right, body=right.body.replace(b'"sig"', b'"enc"'))
    bench.jwks.put(drifted)
    settle(bench.site, bench.true.advance)
    assert bench.jwks.document is not None
    assert bench.jwks.document.body == right.body


def test_a_stalled_process_writes_nothing() -> None:
    """Between load and swap more than the write window passes: `Conflict`, and nothing is written."""
    bench = Bench()
    view = look_around(bench.site)
    bench.true.advance(POLICY.write_window + timedelta(seconds=1))
    with pytest.raises(Conflict, match="stood still"):
        view.swap()
    assert bench.store.shelf("web").ring is None


def test_an_unreadable_store_is_no_missing_ring() -> None:
    """Nothing is minted."""
    bench = Bench()
    bench.store.fault = Fault.SILENT
    with pytest.raises(StoreUnavailable):
        tick(bench.site)


def test_material_that_cannot_be_read_only_waits() -> None:
    """The next key keeps its term; when the store answers again it is promoted."""
    bench = Bench()
    settle(bench.site, bench.true.advance)
    bench.true.advance(timedelta(days=91))
    site = bench.process()

    class Silent:
        """The material store of a bad hour."""

        def __getattr__(self, name: str) -> Any:
            def refuse(*_: Any) -> None:
                raise StoreUnavailable(f"no answer to {name}")

            return refuse

    real, site.material = site.material, Silent()
    site.memory.base = None
    outcome = tick(site)
    assert "material" in outcome.failures
    assert outcome.step.reason is Reason.ROTATION_DUE
    site.material = real
    assert settle(site, bench.true.advance).outcome.exit_code == 0
