"""One key set: defaults below it, profiles over it, and everything that must hold for it alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rotator.algorithms import ALGORITHMS, Kind, kind_of
from rotator.policy import ZERO, RotationPolicy, Standby, broken_clauses, format_duration
from rotator.profiles import (
    apply_profiles,
    changed_by,
    find_profile,
    objections,
    wants_plain_json,
)
from rotator.settings.document import Document
from rotator.settings.faults import Fault, dotted, nearest
from rotator.settings.faults import Path as KeyPath
from rotator.settings.models import Defaults, KeySet
from rotator.settings.modes import mode_faults
from rotator.settings.result import KeySetSettings, ProbeSettings, StoreSettings
from rotator.settings.signers import SignerCheckSettings
from rotator.settings.stores import check_object
from rotator.settings.target_models import (
    DeliverStore,
    PublishAuthenticator,
    PublishS3,
    PublishStore,
)
from rotator.settings.targets import TargetSettings
from rotator.window_contract import unmet


@dataclass(frozen=True, slots=True)
class Context:
    """What all key sets share while they are checked; `unsafe` leaves out the timing contract."""

    main: Document
    directory: Path
    defaults: Defaults
    defaults_cut: frozenset[KeyPath]
    stores: Mapping[str, StoreSettings | None]
    served: bool
    faults: list[Fault]
    unsafe: bool = False
    policies: dict[RotationPolicy, RotationPolicy] = field(default_factory=dict)

    def absolute(self, text: str) -> Path:
        """Return a path of the configuration, which is relative to the configuration's directory."""
        return Path(os.path.normpath(self.directory / Path(text).expanduser()))


class Checked:
    """One key set on its way from a model to settings.

    Args:
        cut: the paths that had a fault; what depends on them is not checked again.
        path: where the key set stands in its document: nothing in a file of `key_sets_dir`.

    Attributes:
        changed: the values that a verifier profile decided, each with that profile's name.
    """

    def __init__(
        self,
        name: str,
        model: KeySet,
        cut: frozenset[KeyPath],
        document: Document,
        *,
        path: KeyPath,
        context: Context,
    ) -> None:
        self.name = name
        self._model = model
        cut |= context.defaults_cut
        self._cut = {location[0] for location in cut if location}
        self._unsound = {location[-1] for location in cut if location[:1] == ("policy",)}
        self._document = document
        self._path = path
        self._context = context
        self.changed: dict[str, str] = {}

    def settings(self) -> KeySetSettings:
        """Return the settings of this key set; with faults, what can be checked against other key sets."""
        verifiers = self._verifiers()
        policy = self._policy(verifiers)
        store = self._store()
        self._target_stores()
        if not self._cut & {"algorithm", "deliver", "publish", "probes"}:
            self._verifiers_of_documents()
            self._targets(policy.kind)
        for path, text in mode_faults(self._model):
            self.fault(path, text)
        return KeySetSettings(
            name=self.name,
            policy=self._context.policies.setdefault(policy, policy),
            store=store,
            default=self._model.default,
            issuer=self._model.issuer,
            verifiers=verifiers,
            deliver=tuple(item.settings(self._context.absolute) for item in self._model.deliver),
            publish=tuple(self._publications(verifiers)),
            probes=tuple(
                ProbeSettings(item.url, item.all_addresses) for item in self._model.probes
            ),
            signer_checks=tuple(self._signer_checks(policy)),
        )

    def fault(self, path: KeyPath, text: str) -> None:
        """Add a fault of this key set, at what `defaults:` says when the key set itself says nothing."""
        context, here = self._context, self._path + path
        full = self._document.prefix + here
        if not self._document.has(here) and context.main.has(("defaults", *path)):
            context.faults.append(Fault(context.main.place(("defaults", *path)), full, text))
        else:
            context.faults.append(self._document.fault(here, text))

    def _value(self, name: str) -> Any:
        """Return a value of the key set, else of the defaults."""
        given = name in self._model.model_fields_set
        return getattr(self._model if given else self._context.defaults, name)

    def _verifiers(self) -> tuple[str, ...]:
        known = []
        for position, name in enumerate(self._value("verifiers")):
            try:
                known.append(find_profile(name).name)
            except ValueError as error:
                self.fault(("verifiers", position), str(error))
        return tuple(dict.fromkeys(known))

    def _kind(self) -> Kind:
        algorithm, size = self._value("algorithm"), self._value("key_size")
        inherited = "key_size" not in self._model.model_fields_set
        if inherited and size not in ALGORITHMS[algorithm].sizes:
            # `defaults: {key_size: 2048}` is about RSA; an EC key set beside them need not undo it.
            size = None
        try:
            return kind_of(algorithm, size)
        except ValueError as error:
            self.fault(("key_size",), str(error))
            return kind_of(algorithm)

    def _policy(self, verifiers: tuple[str, ...]) -> RotationPolicy:
        defaults, own = self._context.defaults.policy, self._model.policy
        values = {name: getattr(defaults, name) for name in defaults.model_fields_set}
        values |= {name: getattr(own, name) for name in own.model_fields_set}
        kind = self._kind()
        for name in ("token_ttl", "signer_lag"):
            if name not in values:
                if not self._unsound & {name, "policy"}:
                    self.fault(("policy", name), _required(name))
                # So that the rest can be checked; nothing with a fault is ever used.
                self._unsound.add(name)
                values[name] = ZERO
        windows = self._value("windows")
        if "standby" in values:
            values["standby"] = Standby(values["standby"])
        before = RotationPolicy(
            kind=kind,
            allow_mixed_kty=self._value("allow_mixed_kty"),
            first_run=self._value("first_run"),
            windows=windows.windows() if windows is not None else None,
            **values,
        )
        policy = apply_profiles(before, verifiers)
        self.changed = changed_by(before, verifiers)
        if not ("verifiers" in self._cut or "policy" in self._unsound or self._maybe_hmac()):
            if not self._context.unsafe:
                self._contract(policy)
            for text in objections(policy, verifiers):
                self.fault(("verifiers",), text)
        return policy

    def _maybe_hmac(self) -> bool:
        """Tell whether a faulty algorithm may mean HMAC, for which the contract has fewer terms."""
        data: Any = self._document.data
        for part in self._path:
            data = data[part]
        return "algorithm" in self._cut and str(data.get("algorithm", "H")).upper().startswith("H")

    def _contract(self, policy: RotationPolicy) -> None:
        for violation in broken_clauses(policy):
            text = str(violation)
            named = {violation.field, *(term.name.removeprefix("2 × ") for term in violation.terms)}
            if named & self._unsound or (violation.field == "max_keys" and self._unsound):
                continue
            for name in sorted(named & self.changed.keys()):
                value = getattr(policy, name)
                shown = value if isinstance(value, int) else format_duration(value)
                text += (
                    f" (`{name}` is {shown} because of the verifier profile `{self.changed[name]}`)"
                )
            self.fault(("policy", violation.field), text)
        if not (self._unsound or "windows" in self._cut):
            for item in unmet(policy):
                self.fault(("windows", *item.path), item.text)

    def _store(self) -> str:
        stores, name = self._context.stores, self._value("store")
        if name is not None and name not in stores:
            self.fault(("store",), f"there is no store {name!r}{nearest(name, stores)}")
        elif name is None and len(stores) > 1:
            self.fault(
                ("store",),
                f"is missing, and there are {len(stores)} stores: name one of {', '.join(sorted(stores))}",
            )
        return name if name is not None else next(iter(stores), "")

    def _target_stores(self) -> None:
        """Check that the stores that keep documents are there."""
        known = self._context.stores
        for name in ("deliver", "publish"):
            for position, item in enumerate(getattr(self._model, name)):
                kept = (DeliverStore, PublishStore, PublishAuthenticator)
                if isinstance(item, kept) and item.store not in known:
                    text = f"there is no store {item.store!r}{nearest(item.store, known)}"
                    self.fault((name, position, "store"), text)

    def _signer_checks(self, policy: RotationPolicy) -> Iterator[SignerCheckSettings]:
        names: set[str] = set()
        for position, item in enumerate(self._model.signer_checks):
            check = item.settings(self._context.absolute, policy.resync)
            if check.name in names:
                self.fault(("signer_checks", position), "is given twice; remove one of the two")
            names.add(check.name)
            yield check

    def _publications(self, verifiers: tuple[str, ...]) -> Iterator[TargetSettings]:
        context = self._context
        for position, item in enumerate(self._model.publish):
            if isinstance(item, PublishS3):
                at = (*self._path, "publish", position)
                found = check_object(
                    item, self.name, self._document, at,
                    directory=context.directory, faults=context.faults,
                )  # fmt: skip
                yield replace(found, plain_json=wants_plain_json(verifiers))
            else:
                yield item.settings(context.absolute)

    def _verifiers_of_documents(self) -> None:
        """Check that only verification documents are for one verifier."""
        for position, item in enumerate(self._model.deliver):
            if isinstance(item, DeliverStore) and item.verifier and item.document == "signing":
                text = "is for `document: verification` only: signers read one document; add that, or remove `verifier`"
                self.fault(("deliver", position, "verifier"), text)

    def _targets(self, kind: Kind) -> None:
        """Check that there is somebody to sign, and somewhere to look at (DESIGN §3, rules 1 and 2)."""
        documents = [item.document for item in self._model.deliver]
        if "signing" not in documents:
            self.fault(
                ("deliver",),
                "has no `signing` document, so no signer could ever get a key; add `{to: files, path: …}`, or `{to: store, store: …}`",
            )
        if kind.symmetric:
            for name in ("publish", "probes"):
                if getattr(self._model, name):
                    self.fault(
                        (name,),
                        f"{kind.algorithm} keys are secret and never reach a JWKS; remove `{name}`, and deliver a `verification` document",
                    )
            if "verification" not in documents:
                self.fault(
                    ("deliver",),
                    f"has no `verification` document, so no verifier of {kind.algorithm} tokens could get a key; add `{{to: files, path: …, document: verification}}`, or one `to: store`",
                )
            if self._model.default:
                self.fault(
                    ("default",),
                    f"{kind.algorithm} keys never reach a JWKS, so there is nothing to serve; remove `default`",
                )
            return
        for position, document in enumerate(documents):
            if document == "verification":
                self.fault(
                    ("deliver", position, "document"),
                    f"the `verification` document is for HMAC; verifiers of {kind.algorithm} tokens read the JWKS: remove this delivery",
                )
        if not (self._model.publish or self._model.probes or self._context.served):
            self.fault(
                ("publish",),
                "there is nothing to look at: no `publish`, no `probes`, no `server`; without one, nobody knows whether verifiers have the key",
            )


def _required(name: str) -> str:
    what = {
        "token_ttl": "the longest time between a token's issue and its `exp`",
        "signer_lag": "how long a signer may go on using a key after a new one was delivered",
    }
    where = dotted(("defaults", "policy", name))
    return f"is missing; it is {what[name]}, and nobody can guess it: set it here, or for all key sets as {where}"
