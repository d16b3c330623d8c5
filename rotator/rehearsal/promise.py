"""The promise of DESIGN §3, watched: every signer and every verifier that there could be, at once.

A signer may sign with a key from the moment it is at a signing target until `signer_lag` after it left.
A verifier may go by whatever was at a publication within the lifetime of caches plus its own. So
nothing is sampled: for each key the time in which tokens of it live, for each published set the time in
which somebody may go by it, and where both meet the key must be in the set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from rotator.documents import read_json
from rotator.jwks import read_jwks
from rotator.observed import DocumentKind
from rotator.publication.whitelist import Refused, checked_jwks
from rotator.rehearsal.clocks import TrueTime
from rotator.rehearsal.reality import Course, Reality
from rotator.rehearsal.toykeys import Print, signs_as, verifies_as
from rotator.rehearsal.walls import Place


class Broken(AssertionError):
    """The promise was broken, or a rule without which it would be."""


@dataclass(slots=True)
class Shown:
    """What readers of one place found there for a while.

    `cache` is how long an answer may be kept; `excused` are the keys that somebody's hand took away.
    """

    place: str
    keys: frozenset[Print]
    since: datetime
    cache: Course
    excused: frozenset[str] = frozenset()
    until: datetime | None = None


@dataclass(slots=True)
class Used:
    """A key at a signing target for a while."""

    target: str
    key: Print
    since: datetime
    until: datetime | None = None


class Promise:
    """Watches what is published and what is signed with.

    Attributes:
        excepted: kids of revoked keys: their tokens need not verify.
        early: kids that an operator's word made active before their time, and when that would have come:
            verifiers that go by what was published before need not know them.
        exact: places of which it is known when signers left them, so that no `signer_lag` is allowed for.
        broken: called with a sentence; raises unless told otherwise.
    """

    def __init__(self, true: TrueTime, reality: Reality) -> None:
        self.true = true
        self.reality = reality
        self.excepted: set[str] = set()
        self.early: dict[str, datetime] = {}
        self.exact: set[str] = set()
        self.shown: list[Shown] = []
        self.used: list[Used] = []
        self.checks = 0
        self.broken: Callable[[str], None] = _raise

    def place_changed(self, place: Place, excused: frozenset[str] = frozenset()) -> None:
        """Take note of what is at a place from now on."""
        if place.kind is DocumentKind.SIGNING:
            self._use(place)
        else:
            self._show(place, excused)

    def readers_left(self, name: str) -> None:
        """Nobody reads or goes by this place any more."""
        self.shown = [item for item in self.shown if item.place != name]
        for use in self.used:
            if use.target == name and use.until is None:
                use.until = self.true.now

    def cache_changed(self, place: Place) -> None:
        """A CDN keeps what is there for another time from now on."""
        for item in self.shown:
            if item.place == place.name and item.until is None:
                item.cache.set(self.true.now, place.cache)

    def forget_cache(self, place: Place) -> None:
        """What was just said of a CDN did not happen."""
        for item in self.shown:
            if item.place == place.name and item.until is None:
                item.cache.values = [(item.since, place.cache)]

    def visible_until(self, item: Shown) -> datetime:
        """Return until when some verifier may go by what was shown, as far as it is known now."""
        end = item.until or self.true.now
        cached = item.cache.latest_end(item.since, end)
        return self.reality["verifier_cache"].latest_end(item.since, cached)

    def tokens_until(self, use: Used) -> datetime:
        """Return until when some token of a key may have to verify, as far as it is known now.

        The signer's clock may be ahead and the verifier's behind, together by `clock_skew`.
        """
        end = use.until or self.true.now
        lag = use.until is not None and use.target not in self.exact
        last = end + self.reality["signer_lag"].at(end) if lag else end
        expires = self.reality["token_ttl"].latest_end(use.since, last)
        return expires + self.reality["leeway"].at(expires) + self.reality["clock_skew"].at(expires)

    def _use(self, place: Place) -> None:
        now, key = self.true.now, _signing_key(place)
        if key is None:
            return  # signers go on with what they have until they are given another
        for use in self.used:
            if use.target == place.name and use.until is None:
                if use.key == key:
                    return
                use.until = now
        self.used = [use for use in self.used if self.tokens_until(use) > now or use.until is None]
        self.used.append(Used(place.name, key, now))
        if key[0] in self.excepted or key[0] in self.early:
            return
        for item in self.shown:
            open_ended = item.until is None or self.visible_until(item) > now
            if open_ended and key not in item.keys and key[0] not in item.excused:
                state = f"shown until {item.until}" if item.until else "shown now"
                self.broken(
                    f"{now}: {key[0]} may sign at {place.name}, but verifiers may go by what was at "
                    f"{item.place} ({state}, gone by until {self.visible_until(item)})"
                )
            self.checks += 1

    def _show(self, place: Place, excused: frozenset[str]) -> None:
        now, keys = self.true.now, published_keys(place)
        for item in self.shown:
            if item.place == place.name and item.until is None:
                if item.keys == keys and item.cache.at(now) == place.cache and not excused:
                    return
                item.until = now
        self.shown = [s for s in self.shown if s.until is None or self.visible_until(s) > now]
        if place.document is None:
            return  # an answer of "nothing" is not kept by anyone
        if not keys and not excused:
            self.broken(f"{now}: what is published at {place.name} is empty")
        self._judge_body(place)
        cache = Course()
        cache.set(now, place.cache)
        self.shown.append(Shown(place.name, keys, now, cache, excused))
        for use in self.used:
            self.checks += 1
            if use.key in keys or use.key[0] in self.excepted or use.key[0] in excused:
                continue
            if now < self.early.get(use.key[0], now):
                continue  # a stalled writer without conditions may still put back what was there
            if use.until is None or self.tokens_until(use) > now:
                state = f"signing until {use.until}" if use.until else "signing now"
                self.broken(
                    f"{now}: {place.name} is without {use.key[0]}, whose tokens live until "
                    f"{self.tokens_until(use)} ({state} at {use.target})"
                )

    def _judge_body(self, place: Place) -> None:
        if place.kind is not DocumentKind.JWKS or place.document is None:
            return
        try:
            checked_jwks(place.document.body)
        except Refused as refused:
            self.broken(f"{self.true.now}: {place.name}: {refused}")


def published_keys(place: Place) -> frozenset[Print]:
    """Return the keys that readers of a place find there."""
    if place.document is None:
        return frozenset()
    return frozenset(verifies_as(jwk) for jwk in (read_jwks(place.document.body) or {}).values())


def _signing_key(place: Place) -> Print | None:
    document = read_json(place.document.body) if place.document is not None else None
    return None if document is None or "jwk" not in document else signs_as(document["jwk"])


def _raise(what: str) -> None:
    raise Broken(what)
