"""The material of a key set: numbered slots that policy made before, or a variable for each kid.

A version cannot be deleted, and the server keeps twenty. So material is destroyed by writing over it until no
version that is kept holds it; a variable of its own is then deleted by policy, and its history with it.
"""

from __future__ import annotations

import secrets

from rotator.plugin import Calls, Secret, StoreCorrupt, StoreDenied, StoreUnavailable
from rotator_conjur.client import Conjur
from rotator_conjur.envelopes import GONE, MATERIAL, Envelope, parse
from rotator_conjur.history import History, Look, Waits
from rotator_conjur.names import MATERIAL as BRANCH
from rotator_conjur.names import Names
from rotator_conjur.purge import write_over


class ConjurMaterial:
    """The keys of one key set, each at the locator that the ring names."""

    def __init__(self, conjur: Conjur, calls: Calls, names: Names, key_set: str) -> None:
        self._conjur = conjur
        self._calls = calls
        self._names = names
        self._key_set = key_set
        self._branch = f"{names.key_set(key_set)}/{BRANCH}"

    def allocate(self, kid: str, taken: frozenset[str]) -> str:
        """Return a locator for a new key that is none of `taken`: the first free slot, or a name of its own.

        Raises:
            StoreUnavailable: every slot is taken; the hint says how to get more.
        """
        return self._names.allocate(self._key_set, kid, taken)

    def put(self, locator: str, kid: str, material: Secret) -> None:
        """Write the material of one key. The same again is harmless.

        Raises:
            StoreCorrupt: another kid's material, or other material of this kid, is there.
            StoreDenied: the variable is not declared, or may not be written.
            StoreUnavailable: nothing is known to be written.
        """
        history = self._history(locator)
        self._calls.attempt(
            "material.put", self._key_set, lambda: self._put(history, kid, material)
        )

    def get(self, locator: str, kid: str) -> Secret | None:
        """Return the material of one key; None where its variable is there and does not hold this kid.

        Raises:
            StoreCorrupt: what is there is not of our writing.
            StoreDenied, StoreUnavailable: no answer.
        """
        history = self._history(locator)
        look = self._calls.attempt("material.get", self._key_set, lambda: self._look(history))
        head = None if look is None else look.head
        if head is None or head.format == GONE or not self._is_of(head, kid):
            return None
        return Secret(head.body)

    def destroy(self, locator: str, kid: str) -> None:
        """Write over the material of one key until no version holds it; harmless when there is none.

        Raises:
            StoreDenied, StoreUnavailable: some version may still hold it; the next try goes on.
        """
        history = self._history(locator)
        step = self._destroy if self._names.numbered else self._delete
        self._calls.attempt("material.destroy", self._key_set, lambda: step(history, kid))

    def erase(self) -> None:
        """Destroy whatever lies in the slots or variables of this key set."""
        for variable in self._conjur.variables(f"{self._branch}/"):
            history = History(self._conjur, variable, parse)
            head = history.look().head
            if head is not None:
                self.destroy(variable.rpartition("/")[2], head.kid)

    def _history(self, locator: str) -> History[Envelope]:
        return History(self._conjur, self._names.material(self._key_set, locator), parse)

    def _is_of(self, head: Envelope, kid: str) -> bool:
        return head.key_set == self._key_set and head.kid == kid

    def _look(self, history: History[Envelope]) -> Look[Envelope] | None:
        """Look at a variable; None where it is known not to be declared.

        Raises:
            StoreCorrupt: there are versions, and none that counts.
        """
        try:
            look = history.look()
        except StoreDenied:
            if (
                self._names.numbered
                or not self._owns_branch()
                or self._conjur.declared("variable", history.variable)
            ):
                raise
            return None  # who owns the branch sees everything in it
        if look.latest and look.head is None:
            raise StoreCorrupt(
                f"{history.variable!r} in Conjur at {self._conjur.url} holds something that is no material",
                hint="see who wrote it; delete the variable and declare it again by policy, or revoke the kid",
            )
        return look

    def _owns_branch(self) -> bool:
        checks = [("policy", self._branch, privilege) for privilege in ("create", "update")]
        return all(self._conjur.may(checks))

    def _put(self, history: History[Envelope], kid: str, material: Secret) -> None:
        if not self._names.numbered:
            self._conjur.load_policy(
                self._branch, f"- !variable {history.variable.rpartition('/')[2]}\n"
            )
        nonce = secrets.token_hex(16)

        def make(number: int) -> bytes:
            return Envelope(MATERIAL, number, nonce, self._key_set, kid, material.reveal()).dump()

        waits = Waits()
        while True:
            look = self._look(history)
            head = None if look is None else look.head
            if look is None:
                raise StoreUnavailable(
                    f"{history.variable!r} was deleted as soon as it was declared"
                )
            if head is not None and head.format != GONE:
                self._same(history, head, kid, material)
                return
            quiet = history.quiet(look)
            if quiet.head_version == look.head_version and history.append(quiet, make) is not None:
                return
            waits.longer(f"others go on writing {history.variable!r}")

    def _same(self, history: History[Envelope], head: Envelope, kid: str, material: Secret) -> None:
        if not self._is_of(head, kid) or Secret(head.body) != material:
            raise StoreCorrupt(
                f"{history.variable!r} in Conjur at {self._conjur.url} holds other material than that of kid {kid!r} "
                f"of key set {self._key_set!r}",
                hint="material is written once; nothing was changed",
            )

    def _destroy(self, history: History[Envelope], kid: str) -> None:
        def tombstone(number: int) -> bytes:
            return Envelope(GONE, number, secrets.token_hex(16), self._key_set, kid).dump()

        # A slot that is another key's by now was clean when it was given to it.
        write_over(
            history,
            gone=lambda one: one.format == GONE,
            tombstone=tombstone,
            mine=lambda head: self._is_of(head, kid),
        )

    def _delete(self, history: History[Envelope], kid: str) -> None:
        """Delete a variable by policy, and with it every version."""
        look = self._look(history)
        if look is None:
            return
        head = look.head
        if head is not None and head.format != GONE and not self._is_of(head, kid):
            raise StoreCorrupt(
                f"{history.variable!r} in Conjur at {self._conjur.url} holds the material of another kid than {kid!r}",
                hint="a locator is never shared: see who wrote it; nothing was changed",
            )
        name = history.variable.rpartition("/")[2]
        self._conjur.load_policy(
            self._branch, f"- !delete\n  record: !variable {name}\n", deleting=True
        )
