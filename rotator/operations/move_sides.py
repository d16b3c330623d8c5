"""The two stores of a move: what each says of the ring, and when that forbids to go on."""

from __future__ import annotations

from dataclasses import dataclass

from rotator.errors import StoreCorrupt, TargetFailing, UsageError
from rotator.reconcile.look import look_at
from rotator.reconcile.site import Site
from rotator.ring import KeyRing
from rotator.ring_moved import Moved, State, read_either
from rotator.stores import MaterialStore, RingStore, Version


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two stores: its name in the configuration, and what it has of this key set.

    Attributes:
        place: where the ring lies there, for messages.
    """

    name: str
    rings: RingStore
    material: MaterialStore
    place: str


@dataclass(frozen=True, slots=True)
class There:
    """What one store says of the ring."""

    content: KeyRing | Moved | None
    version: Version | None


@dataclass(frozen=True, slots=True)
class Move:
    """A key set and the stores that it is carried between.

    Attributes:
        site: the key set over the ring and the material of `source`; of `goal` for a confirmation.
    """

    site: Site
    source: Side
    goal: Side

    @property
    def command(self) -> str:
        """What an operator types for it."""
        return f"rotator move {self.site.key_set} --from {self.source.name} --to {self.goal.name}"

    def read(self, side: Side) -> There:
        """Read what one store has of the ring, a tombstone included.

        Raises:
            StoreUnavailable, StoreDenied, StoreCorrupt: as the store and what lies there have it.
        """
        stored = side.rings.load()
        if stored is None:
            return There(None, None)
        content = read_either(stored.document, key_set=self.site.key_set, place=side.place)
        return There(content, stored.version)

    def report(self, event: str, store: Side, *, kid: str = "", revision: int = 0) -> None:
        """Emit one event of this move."""
        fields = {"kid": kid, "revision": revision}
        told = {name: value for name, value in fields.items() if value}
        self.site.emit("info", event, key_set=self.site.key_set, store=store.name, **told)

    def refuse_elsewhere(self, left: Moved) -> None:
        """Refuse a ring that went, or goes, another way.

        Raises:
            UsageError: the hint is the command for the way that it went.
        """
        name, source, goal = self.site.key_set, self.source.name, self.goal.name
        if left.state is State.ARRIVING:
            raise UsageError(
                f"key set {name} is on its way from store {left.store} to store {source}",
                hint=f"finish that first: `rotator move {name} --from {left.store} --to {source}`",
            )
        if left.store != goal:
            raise UsageError(
                f"key set {name} was moved from store {source} to store {left.store}",
                hint=f"move it on from there: `rotator move {name} --from {left.store} --to {goal}`",
            )

    def refuse_occupied(self, there: KeyRing | Moved | None) -> None:
        """Refuse a goal in which something else stands in the place of the ring.

        Raises:
            StoreCorrupt: a living ring: one of both is not the truth.
            UsageError: another move to or from there is not done.
        """
        name, goal = self.site.key_set, self.goal.name
        if isinstance(there, KeyRing):
            raise StoreCorrupt(
                f"store {goal} has a ring of key set {name} of its own (revision {there.revision})",
                hint=f"see which of both is in use; nothing of it is replaced ({self.goal.place})",
            )
        if there is None:
            return
        if there.state is State.ARRIVING and there.store != self.source.name:
            raise UsageError(
                f"key set {name} is on its way to store {goal} from store {there.store}",
                hint=f"finish that first: `rotator move {name} --from {there.store} --to {goal}`",
            )
        if there.state is State.LEFT and not there.destroyed:
            raise UsageError(
                f"key set {name} was moved away from store {goal}, and what it left is still there",
                hint=f"`rotator move {name} --from {goal} --to {there.store} --confirm` destroys that first",
            )

    def refuse_lost(self, left: Moved, there: KeyRing | Moved | None) -> None:
        """Refuse to begin again from a tombstone when the ring that followed it was, or may be, in use.

        Args:
            there: what the goal has; nothing at all means that it lost the record of the arrival, and
                perhaps a ring with it.

        Raises:
            StoreCorrupt: a target carries a later revision, or the move was confirmed.
            TargetFailing: the goal has nothing, and a target that could tell does not answer.
        """
        site = self.site
        looks = [look_at(target, left.ring, site.keys, site.clock) for target in site.targets]
        ahead = [
            f"{item.target.name} has revision {item.sighting.revision}"
            for item in looks
            if item.sighting.ours and (item.sighting.revision or 0) > left.revision
        ]
        silent = [item.target.name for item in looks if not item.sighting.answered]
        if there is None and silent and not ahead:
            raise TargetFailing(
                f"store {self.goal.name} has nothing of key set {site.key_set} any more, and no answer from "
                f"{', '.join(silent)}: whether its ring was in use there cannot be told",
                hint="mend the target, then give the same command again",
            )
        if ahead or left.destroyed:
            why = "; ".join(ahead) or "the move was confirmed"
            raise StoreCorrupt(
                f"the ring of key set {site.key_set} was in use in store {self.goal.name} and is lost "
                f"there: {why}",
                hint=f"configure `store: {self.goal.name}` and bring it back with "
                f"`rotator recover {site.key_set} --ring FILE`",
            )


@dataclass(frozen=True, slots=True)
class Carried:
    """What a move did, or would do: one sentence per line, and the revision of the ring in the new store."""

    statement: tuple[str, ...]
    revision: int
    changed: bool
