"""The resolved configuration, each value with its origin: what `rotator config show` prints."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from rotator.kubernetes.settings import ClusterSettings
from rotator.policy import format_duration
from rotator.settings.faults import Path as KeyPath
from rotator.settings.load import Loader, Origin
from rotator.settings.result import KeySetSettings, ReceiverSettings, Settings, StoreSettings
from rotator.settings.signers import SignerCheckSettings
from rotator.settings.targets import ObjectSettings
from rotator.settings.values import in_seconds
from rotator.settings.windows import windows_shown

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

FORMAT: Final = "rotator.config/1"
HIDDEN: Final = "**********"
_PLAIN: Final = (str, int, float, bool, Path)
_HIDDEN_WORDS: Final = ("password", "secret", "token", "credential", "api_key", "private")
_POLICY_ELSEWHERE: Final = frozenset(
    {"kind", "allow_mixed_kty", "first_run", "windows", "observed_cache"}
)
_OF_BACKENDS: Final = frozenset({"backend", "options", "plain_json"})
"""Fields of `ObjectSettings` that are no key of a configuration."""


class Resolved:
    """A configuration that is valid, with the documents it came from.

    Raises:
        ConfigError: as `load_settings`.
    """

    def __init__(self, path: Path | None, environ: Mapping[str, str]) -> None:
        self._loader = Loader(path, environ, keep=True)
        self.settings: Settings = self._loader.load()

    def values(self, key_sets: Collection[str] = ()) -> Iterator[tuple[KeyPath, Any, str]]:
        """Yield path, value and origin of everything that is in force, as plain JSON values.

        Args:
            key_sets: which key sets to show; all when empty.
        """
        settings = self.settings
        yield ("version",), 1, self._origin(("version",))
        yield ("state_dir",), str(settings.state_dir), self._origin(("state_dir",))
        at: KeyPath = ("shutdown_timeout",)
        yield at, format_duration(settings.shutdown_timeout), self._origin(at)
        if settings.server is not None:
            host = (
                f"[{settings.server.host}]" if ":" in settings.server.host else settings.server.host
            )
            at = ("server", "listen")
            unix = settings.server.host.startswith("unix:")
            shown = settings.server.host if unix else f"{host}:{settings.server.port}"
            yield at, shown, self._origin(at)
            for name in ("cert_file", "key_file", "connections"):
                if (value := getattr(settings.server, name)) is not None:
                    at = ("server", name)
                    yield at, value if isinstance(value, int) else str(value), self._origin(at)
        if (admin := settings.admin) is not None:
            host = f"[{admin.host}]" if ":" in admin.host else admin.host
            at = ("admin", "listen")
            yield at, f"{host}:{admin.port}", self._origin(at)
            at = ("admin", "metrics_key_sets")
            yield at, admin.metrics_key_sets, self._origin(at)
        for receiver in settings.notify.values():
            yield from self._receiver(receiver)
        for path, names in settings.combine.items():
            yield ("combine", path), list(names), self._origin(("combine", path))
        for store in settings.stores.values():
            yield from self._store(store)
        for name, key_set in settings.key_sets.items():
            if not key_sets or name in key_sets:
                yield from self._key_set(key_set, self._loader.origins[name])

    def _origin(self, path: KeyPath) -> str:
        main = self._loader.main
        return str(main.place(path)) if main.has(path) else "default"

    def _receiver(self, receiver: ReceiverSettings) -> Iterator[tuple[KeyPath, Any, str]]:
        """Yield a receiver; its URL may be all that it takes to post there."""
        base: KeyPath = ("notify", receiver.name)
        lists = {
            "command": list(receiver.command),
            "events": sorted(receiver.events),
            "key_sets": sorted(receiver.key_sets),
        }
        webhook = receiver.webhook
        for item in fields(webhook) if webhook is not None else ():
            if (value := getattr(webhook, item.name)) is not None:
                at = (*base, "webhook", item.name)
                yield at, HIDDEN if item.name == "url" else str(value), self._origin(at)
        at = (*base, "timeout") if webhook is None else (*base, "webhook", "timeout")
        yield at, format_duration(receiver.timeout), self._origin(at)
        for name, words in lists.items():
            if words:
                yield (*base, name), words, self._origin((*base, name))

    def _store(self, store: StoreSettings) -> Iterator[tuple[KeyPath, Any, str]]:
        base: KeyPath = ("stores", store.name)
        yield (*base, "backend"), store.backend, self._origin((*base, "backend"))
        yield from _options(store.options, base, lambda *path: self._origin(path))

    def _key_set(
        self, key_set: KeySetSettings, origin: Origin
    ) -> Iterator[tuple[KeyPath, Any, str]]:
        base: KeyPath = ("key_sets", key_set.name)

        def where(*path: str | int) -> str:
            here = origin.path + path
            if origin.document.has(here):
                return str(origin.document.place(here))
            return self._origin(("defaults", *path))

        policy = key_set.policy
        yield (*base, "algorithm"), policy.kind.algorithm, where("algorithm")
        yield (*base, "key_size"), policy.kind.size, where("key_size")
        yield (*base, "store"), key_set.store, where("store")
        for name in ("default", "issuer"):
            if (value := getattr(key_set, name)) is not None:
                yield (*base, name), value, where(name)
        yield (*base, "verifiers"), list(key_set.verifiers), where("verifiers")
        yield (*base, "allow_mixed_kty"), policy.allow_mixed_kty, where("allow_mixed_kty")
        yield (*base, "first_run"), policy.first_run, where("first_run")
        for path, value in windows_shown(policy.windows):
            at: KeyPath = ("windows", *path)
            yield (*base, *at), value, where(*at)
        yield from self._policy(key_set, base, origin)
        for kind, number, value in _targets(key_set):
            for name, shown in value.items():
                # A probe may be written as nothing but its URL.
                source = where(kind, number) if name == "url" else where(kind, number, name)
                yield (*base, kind, number, name), shown, source
            target = getattr(key_set, kind)[number]
            if isinstance(target, ObjectSettings):
                for path, shown, source in _options(target.options, (kind, number), where):
                    yield (*base, *path), shown, source

    def _policy(
        self, key_set: KeySetSettings, base: KeyPath, origin: Origin
    ) -> Iterator[tuple[KeyPath, Any, str]]:
        for field in fields(key_set.policy):
            name = field.name
            if name in _POLICY_ELSEWHERE:
                continue
            value = getattr(key_set.policy, name)
            here = (*origin.path, "policy", name)
            if name in origin.changed:
                source = f"profile {origin.changed[name]}"
            elif origin.document.has(here):
                source = str(origin.document.place(here))
            else:
                source = self._origin(("defaults", "policy", name))
            if value is None:
                # Only `grace` has no value of its own: it is computed.
                value, source = key_set.policy.grace_wait, "computed"
            yield (*base, "policy", name), _plain(value), source


def _targets(key_set: KeySetSettings) -> Iterator[tuple[str, int, dict[str, Any]]]:
    for kind in ("deliver", "publish", "probes"):
        for number, target in enumerate(getattr(key_set, kind)):
            shown = {name: _plain(value) for name, value in _given(target) if value is not None}
            if "mode" in shown:
                shown["mode"] = f"{shown['mode']:04o}"
            yield kind, number, shown
    for number, check in enumerate(key_set.signer_checks):
        yield "signer_checks", number, _signer_check(check)


def _given(target: Any) -> Iterator[tuple[str, Any]]:
    """Yield what an entry has, by the keys that a configuration has for it; options of backends are apart."""
    for field in fields(target):
        value = getattr(target, field.name)
        if isinstance(value, ClusterSettings):
            yield from (("kubeconfig", value.kubeconfig), ("context", value.context))
            for name in ("connect_timeout", "read_timeout"):
                yield name, timedelta(seconds=getattr(value, name))
        elif field.name == "labels":
            yield "labels", dict(value)
        elif not (isinstance(target, ObjectSettings) and field.name in _OF_BACKENDS):
            yield field.name, list(value) if isinstance(value, tuple) else value


def _options(
    options: BaseModel, base: KeyPath, where: Callable[..., str]
) -> Iterator[tuple[KeyPath, Any, str]]:
    """Yield the options of a store or a target, those of nested options by their own paths.

    Args:
        where: says where the value at a path comes from.
    """
    for name, field in type(options).model_fields.items():
        value, origin = getattr(options, name), where(*base, name)
        if isinstance(value, BaseModel):
            yield from _options(value, (*base, name), where)
        elif value is not None or origin != "default":
            from_file = origin.endswith("_FILE") and not name.endswith("_file")
            hidden = from_file or _is_secret(name, value)
            yield (*base, name), HIDDEN if hidden else _option(field, value), origin


def _signer_check(check: SignerCheckSettings) -> dict[str, Any]:
    """Return one signer check without what may be a credential: a query, and arguments of a command."""
    shown: dict[str, Any] = {"url": check.url, "command": list(check.command) or None}
    if check.url is not None and "?" in check.url:
        shown["url"] = f"{check.url.partition('?')[0]}?{HIDDEN}"
    if check.command[1:]:
        shown["command"] = [check.command[0], HIDDEN]
    for name in ("every", "hold", "timeout", "header", "field"):
        shown[name] = _plain(getattr(check, name))
    return {name: value for name, value in shown.items() if value is not None}


def _is_secret(name: str, value: Any) -> bool:
    """Tell whether an option may be a credential: by its name, or because its type is none that we know.

    One that only says where the credential is, a file or an environment variable, is none.
    """
    if isinstance(value, (list, tuple)):
        return any(_is_secret(name, item) for item in value)
    if isinstance(value, dict):
        return any(_is_secret(f"{name}.{key}", item) for key, item in value.items())
    if value is not None and not isinstance(value, _PLAIN):
        return True
    return not name.endswith(("_file", "_env")) and any(word in name for word in _HIDDEN_WORDS)


def _option(field: FieldInfo, value: Any) -> Any:
    # Backends keep seconds; a configuration says durations.
    if isinstance(value, float) and in_seconds(field):
        return format_duration(timedelta(seconds=value))
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return str(value) if isinstance(value, str) else value
