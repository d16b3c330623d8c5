"""The Conjur store: one policy branch of one account for all key sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rotator.plugin import (
    SCRATCH,
    Calls,
    ConfigError,
    Report,
    Role,
    Scope,
    Secret,
    StoreUnavailable,
)
from rotator_conjur.client import Conjur
from rotator_conjur.documents import ConjurDocuments
from rotator_conjur.material import ConjurMaterial
from rotator_conjur.names import Names
from rotator_conjur.rings import ConjurRings
from rotator_conjur.verifier_keys import ConjurVerifierKeys

if TYPE_CHECKING:
    from rotator_conjur.settings import ConjurSettings

_LONGEST: Final = 500  # characters of an address; a variable's name is far shorter


class ConjurStore:
    """All key sets in one policy branch. Opening it makes no call; the first use logs in."""

    def __init__(self, settings: ConjurSettings) -> None:
        self._settings = settings
        self._conjur = Conjur(settings)
        self._names = Names(
            settings.prefix, numbered=settings.material == "slots", slots=settings.slots
        )
        self._calls = Calls(
            "conjur", settings.url, attempts=settings.attempts, patience=settings.patience
        )

    def rings(self, key_set: str) -> ConjurRings:
        """Return the ring store of one key set; no I/O.

        Raises:
            ConfigError: the name cannot be part of a variable's.
        """
        return ConjurRings(self._conjur, self._calls, key_set, self._names.ring(key_set))

    def material(self, key_set: str) -> ConjurMaterial:
        """Return the material store of one key set; no I/O.

        Raises:
            ConfigError: the name cannot be part of a variable's.
        """
        return ConjurMaterial(self._conjur, self._calls, self._names, key_set)

    def documents(self) -> ConjurDocuments:
        """Return where derived documents can be kept; no I/O."""
        return ConjurDocuments(self._conjur, self._calls, self._names)

    def verifier_keys(self, service: str) -> ConjurVerifierKeys:
        """Return where the JWKS is kept that an authn-jwt service verifies with; no I/O.

        Raises:
            ConfigError: no service can be called that.
        """
        return ConjurVerifierKeys(self._conjur, self._calls, self._names, service)

    def inspect(self, scopes: Sequence[Scope] = ()) -> Report:
        """Report identity, privileges on each variable, rings, the server's clock, advice; writes nothing."""
        from rotator_conjur.inspection import inspect

        return self._calls.attempt(
            "inspect", None, lambda: inspect(self._conjur, self._names, self._settings, scopes)
        )

    def policy(self, role: Role, scopes: Sequence[Scope] = ()) -> str:
        """Return the policy that declares the variables of a role and permits it what it needs, in YAML."""
        from rotator_conjur.policies import policy

        return policy(self._names, self._settings, role, scopes)

    def erase_scratch(self) -> None:
        """Write over the ring, the material and the documents of the key set `rotator-check`.

        Its variables stay, as the policy declares them.

        Raises:
            StoreDenied, StoreUnavailable: something may be left.
        """
        self.material(SCRATCH).erase()
        self.documents().erase(SCRATCH)
        self.rings(SCRATCH).erase()

    def fetch(self, address: str) -> Secret | None:
        """Return the value of any variable, None where it is declared and was never set.

        Args:
            address: its name, `BRANCH/NAME`, or its full id, `ACCOUNT:variable:BRANCH/NAME`.

        Raises:
            StoreDenied: it is not declared or invisible, which the server does not tell apart; or it may
                not be read.
            StoreUnavailable: no answer.
            ConfigError: no variable has such a name.
        """
        name = address.removeprefix(f"{self._settings.account}:variable:")
        if not name or not name.isprintable() or len(name) > _LONGEST:
            raise ConfigError(
                f"{address!r} is no variable of Conjur",
                hint="name it BRANCH/NAME, without the account",
            )
        return self._calls.attempt("fetch", None, lambda: self._fetch(name))

    def _fetch(self, name: str) -> Secret | None:
        value = self._conjur.value(name)
        if value is not None:
            return Secret(value)
        if self._conjur.versions(name)[0]:
            raise StoreUnavailable(
                f"{name!r} was written while it was read", hint="it is tried again"
            )
        return None

    def close(self) -> None:
        """Close every connection; harmless twice."""
        self._conjur.close()
