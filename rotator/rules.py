"""The rules of a key's life, one function each; every one looks at one `Situation`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from rotator.jwks import MAX_JWKS_BYTES, estimated_size
from rotator.policy import Standby
from rotator.ring import ADOPTION, ENDED, MAX_UNDESTROYED, Key, KeyRing, Phase
from rotator.situation import Situation
from rotator.step import Do, Reason, Step

_BACKOFF: Final = timedelta(minutes=1)
_LONGEST_BACKOFF: Final = timedelta(hours=1)
_PUBLISHES: Final = ("key.created", "key.adopted", "key.taken_over")
"""Lines of the history after which a key is in the JWKS."""


def clock(s: Situation) -> Iterator[Step]:
    """A suspicious clock: nothing that a clock decides is decided."""
    yield Step(Do.WAIT, Reason.CLOCK_SUSPICIOUS, detail=s.observed.suspicious, blocked=True)


def destroy_revoked(s: Situation) -> Iterator[Step]:
    """Not even a suspicious clock delays the destruction of a revoked key (rule 6)."""
    for key in s.ring.in_phase(Phase.REVOKED):
        if key.destroy_after is None:
            yield Step(Do.DESTROY, Reason.ENDED, key.kid, key.ended_at)


def destroy(s: Situation) -> Iterator[Step]:
    """The material of ended keys goes, once no writer can be left that would put it again."""
    for key in s.ring.in_phase(*ENDED):
        if key.destroy_after is not None and s.now < key.destroy_after:
            detail = "a stalled writer may still put its material"
            yield s.wait(Reason.STALLED_WRITER, key.kid, key.destroy_after, detail)
        else:
            yield Step(Do.DESTROY, Reason.ENDED, key.kid, key.destroy_after or key.ended_at)


def creating(s: Situation) -> Iterator[Step]:
    """Somebody else's creation is waited for, then taken over."""
    for key in s.ring.in_phase(Phase.CREATING):
        if key.reason == ADOPTION:
            yield s.blocked(
                Reason.ADOPTING, key.kid, key.created_at, "its adoption is not finished"
            )
            continue
        idle = s.observed.creating_idle.get(key.kid, timedelta(0))
        left = s.policy.create_timeout - idle
        if left > timedelta(0):
            detail = "another process is creating it"
            yield s.wait(Reason.CREATED_ELSEWHERE, key.kid, s.now + left, detail)
        else:
            yield Step(Do.TAKE_OVER, Reason.CREATION_ABANDONED, key.kid, s.now)


def retire(s: Situation) -> Iterator[Step]:
    """Superseded keys go when their grace has passed (rule 2)."""
    if s.ring.active is None:
        return
    for key in s.ring.in_phase(Phase.RETIRING):
        yield _retire_one(s, key)


def _retire_one(s: Situation, key: Key) -> Step:
    if key.kid in s.ring.pins:
        return s.wait(Reason.PINNED, key.kid, None, "pinned; `rotator unpin` lets it go")
    if key.superseded_at is None:
        holding = s.observed.may_hold(s.ring, key.kid)
        unanswered = [n for n, seen in s.observed.signing() if not seen.answered]
        lagging = {*holding, *unanswered}
        patience = 2 * s.policy.resync
        if lagging and lagging <= s.observed.holding:
            # Only signers that are looked at: until signer_lag has passed they do as they may.
            patience = max(patience, s.policy.signer_lag)
        late = (key.retiring_at or key.created_at) + patience
        where = ", ".join(sorted(lagging)) or "a signing target"
        return s.blocked(Reason.NOT_SUPERSEDED, key.kid, late, f"not replaced yet at {where}")
    due = key.superseded_at + s.policy.grace_wait
    if s.now < due:
        detail = f"its last token may still be in use{_held_too(s)}"
        return s.wait(Reason.IN_GRACE, key.kid, due, detail)
    silent = [name for name, seen in s.observed.signing() if not seen.answered]
    if silent:
        return s.blocked(Reason.NO_ANSWER, key.kid, due, f"no answer from {', '.join(silent)}")
    holding = s.observed.may_hold(s.ring, key.kid)
    if holding:
        detail = (
            f"{', '.join(holding)} may still sign with it; `rotator recover --forget TARGET` if not"
        )
        return s.blocked(Reason.STILL_HELD, key.kid, due, detail)
    if s.held:
        return s.wait(Reason.HELD, key.kid, due, _held(s))
    return Step(Do.RETIRE, Reason.GRACE_PASSED, key.kid, due)


def promote(s: Situation) -> Iterator[Step]:
    """The next key signs when it is due and its propagation has passed (rules 1, 5 and 10)."""
    active, candidates = s.ring.active, s.next_keys
    if active is None:
        yield from _promote_first(s, candidates)
        return
    reason, due = _promotion_wanted(s, active, candidates)
    # Where a change window has to be waited for, nothing is late before it has come.
    planned = s.opening(due)
    if not candidates:
        # Without a next key the old one goes on signing; creating one is another rule's business.
        if planned <= s.now:
            yield s.blocked(Reason.NOT_ANNOUNCED, active.kid, planned, "there is no next key yet")
        return
    key = candidates[0]
    since = s.announced_at(key)
    if since is None:
        missing = ", ".join(s.observed.not_showing(key.kid)) or "nothing looked at"
        yield s.blocked(Reason.NOT_ANNOUNCED, key.kid, planned, f"not seen at {missing}")
        return
    ready = since + s.policy.propagation_wait
    free = max(due, ready)
    opens = s.opening(free)
    detail = f"announced since {since:%Y-%m-%dT%H:%M:%SZ}{_windows_too(free, opens)}{_held_too(s)}"
    if s.now < ready and due <= ready:
        # Overdue, yet propagation is never shortened (rule 5).
        overdue = reason is Reason.ROTATION_DUE and planned <= s.now
        yield Step(Do.WAIT, Reason.PROPAGATING, key.kid, opens, detail, blocked=overdue)
    elif s.now < due:
        yield s.wait(Reason.NOT_DUE, key.kid, opens, f"replaces {active.kid}; {detail}")
    elif s.now < (to_come := s.opening(free, to_come=True)):
        # Overdue where a window has passed in which it was not done.
        why = f"a change window was missed: {opens:%Y-%m-%dT%H:%M:%SZ}; " if opens < to_come else ""
        why += f"replaces {active.kid}, due since {free:%Y-%m-%dT%H:%M:%SZ}{_held_too(s)}"
        yield Step(Do.WAIT, Reason.WINDOW_CLOSED, key.kid, to_come, why, blocked=opens < to_come)
    else:
        yield _promotion(s, key, reason, opens)


def _promote_first(s: Situation, candidates: tuple[Key, ...]) -> Iterator[Step]:
    """Promote the first key once it is announced, without the wait: nobody has a token yet (rule 5)."""
    if not candidates:
        return
    key = candidates[0]
    since = s.announced_at(key)
    if since is None:
        missing = ", ".join(s.observed.not_showing(key.kid)) or "nothing looked at"
        yield s.blocked(Reason.NOT_ANNOUNCED, key.kid, key.pending_at, f"not seen at {missing}")
        return
    ready = since
    if s.ring.in_phase(Phase.RETIRING) or _published_before(s.ring, key):
        # Keys taken over, or a first key that was discarded: verifiers may have cached those.
        ready = since + s.policy.propagation_wait
    if s.now < ready:
        yield s.wait(Reason.PROPAGATING, key.kid, ready, "verifiers may know earlier keys only")
        return
    yield _promotion(s, key, Reason.FIRST_ANNOUNCED, ready)


def _published_before(ring: KeyRing, first: Key) -> bool:
    """True when verifiers may have been told of another key before the first one."""
    if any(entry.event == "order.restore" for entry in ring.history):
        return True  # of keys that the restored ring did not know, or knew as not yet published
    told = {key.kid for key in ring.keys if key.pending_at is not None}
    told |= {entry.kid for entry in ring.history if entry.event in _PUBLISHES}
    return bool(told - {first.kid})


def _promotion_wanted(
    s: Situation, active: Key, candidates: tuple[Key, ...]
) -> tuple[Reason, datetime]:
    """Return why the active key is to be replaced, and since when."""
    order = s.ring.promote
    if order is not None and order.replaces == active.kid:
        return (Reason.REVOCATION if order.urgent else Reason.ORDERED), order.at
    if candidates and candidates[0].kind != active.kind:
        return Reason.KIND_CHANGED, candidates[0].created_at
    return Reason.ROTATION_DUE, s.due_at(active)


def _promotion(s: Situation, key: Key, reason: Reason, due: datetime) -> Step:
    if s.held and not s.urgent:
        return s.wait(Reason.HELD, key.kid, due, _held(s))
    missing = s.observed.not_showing(key.kid)
    if missing:
        detail = f"no answer with it from {', '.join(missing)}"
        return s.blocked(Reason.NO_ANSWER, key.kid, due, detail)
    return Step(Do.PROMOTE, reason, key.kid, due)


def discard(s: Situation) -> Iterator[Step]:
    """Discard a next key of a kind that is no longer wanted, once the wanted kind signs (rule 10)."""
    active = s.ring.active
    if active is None or active.kind != s.policy.kind or s.held:
        return
    for key in s.ring.in_phase(Phase.PENDING):
        if key.kind != s.policy.kind:
            yield Step(
                Do.DISCARD, Reason.KIND_UNWANTED, key.kid, s.now, f"{s.policy.kind} is wanted"
            )


def create(s: Situation) -> Iterator[Step]:
    """The next key is made when it is wanted and nothing is in the way (rule 8)."""
    if s.ring.in_phase(Phase.CREATING) or s.next_keys:
        return
    reason, due = _creation_wanted(s)
    if s.now < due and reason is Reason.KIND_CHANGED:
        yield s.wait(Reason.KIND_PACED, "", due, "one change of kind in each propagation")
        return
    if s.now < due:
        yield s.wait(Reason.NOT_DUE, "", due, "the next key is created just in time")
        return
    obstacle = _creation_obstacle(s, reason)
    yield obstacle or Step(Do.CREATE, reason, "", due, str(s.policy.kind))


def _creation_wanted(s: Situation) -> tuple[Reason, datetime]:
    active = s.ring.active
    if active is None:
        return Reason.FIRST_KEY, s.now
    if s.ring.promote is not None:
        return (Reason.REVOCATION if s.urgent else Reason.ORDERED), s.ring.promote.at
    if active.kind != s.policy.kind:
        paced = s.ring.kind_changed_at
        return Reason.KIND_CHANGED, paced + s.policy.propagation_wait if paced else s.now
    if s.policy.standby is Standby.ALWAYS:
        return Reason.NO_STANDBY, active.activated_at or active.created_at
    return Reason.STANDBY_DUE, s.due_at(active) - s.policy.creation_lead


def _creation_obstacle(s: Situation, reason: Reason) -> Step | None:
    if s.held and not s.urgent:
        return s.wait(Reason.HELD, "", None, _held(s))
    if s.ring.discards and s.ring.discarded_at is not None:
        pause = min(_BACKOFF * 2 ** (s.ring.discards - 1), _LONGEST_BACKOFF)
        if s.now < s.ring.discarded_at + pause:
            detail = f"{s.ring.discards} new keys in a row failed their self-test"
            due = s.ring.discarded_at + pause
            return Step(Do.WAIT, Reason.DISCARD_BACKOFF, "", due, detail, blocked=True)
    if len(s.ring.in_phase(*ENDED)) > MAX_UNDESTROYED:
        return s.blocked(
            Reason.UNDESTROYED, "", s.now, "the material of ended keys is not destroyed"
        )
    # One place is kept free for a change of kind and for an emergency (rules 8 and 10).
    kept_free = 0 if reason in (Reason.KIND_CHANGED, Reason.REVOCATION) else 1
    count = len(s.ring.published) + 1
    size = sum(estimated_size(key.kind) for key in s.ring.published)
    size += (1 + kept_free) * estimated_size(s.policy.kind)
    if count + kept_free > s.policy.max_keys or size > MAX_JWKS_BYTES:
        detail = f"{count - 1} keys are published, {s.policy.max_keys} are allowed, one place is kept free"
        return s.blocked(Reason.FULL, "", s.now, detail)
    return None


def _windows_too(free: datetime, opens: datetime) -> str:
    """What to add to a wait for a date after which a change window has to be waited for."""
    return (
        f"; free to sign on {free:%Y-%m-%dT%H:%M:%SZ}, its change window opens later"
        if opens > free
        else ""
    )


def _held_too(s: Situation) -> str:
    """What to add to a wait that would end in another one: the operator's hold."""
    return f"; {_held(s)}" if s.held and not s.urgent else ""


def _held(s: Situation) -> str:
    order = s.ring.hold
    since = f" since {order.at:%Y-%m-%dT%H:%M:%SZ}" if order else ""
    why = f" ({order.reason})" if order and order.reason else ""
    return f"held{since}{why}; `rotator release` ends it"
