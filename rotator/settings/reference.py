"""`docs/configuration.md`'s tables: every key, its default, its meaning; from the models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from rotator.objects import find_objects
from rotator.policy import format_duration
from rotator.profiles import FOREVER, PROFILES
from rotator.settings import listeners, models, notify, signer_models, target_models, windows
from rotator.settings.locations import models_in
from rotator.settings.values import in_seconds
from rotator.stores import backend_names, find_backend

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo


def _targets(
    key: str, kinds: Iterable[type[BaseModel]]
) -> Iterator[tuple[str, str, type[BaseModel]]]:
    for model in kinds:
        (tag,) = get_args(model.model_fields["to"].annotation)
        yield f"An entry of `{key}` with `to: {tag}`", f"{key}[].", model


_SECTIONS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("At the top", "", models.Root),
    ("`defaults`", "defaults.", models.Defaults),
    ("A key set", "key_sets.NAME.", models.KeySet),
    ("`policy`, of `defaults` and of a key set", "policy.", models.Policy),
    ("`windows`, of `defaults` and of a key set", "windows.", windows.Windows),
    ("An entry of `windows.open`", "windows.open[].", windows.Opening),
    ("An entry of `windows.freezes`", "windows.freezes[].", windows.Freeze),
    *_targets("deliver", target_models.DELIVERIES),
    *_targets("publish", target_models.PUBLICATIONS),
    ("An entry of `probes`", "probes[].", models.Probe),
    ("An entry of `signer_checks`", "signer_checks[].", signer_models.SignerCheck),
    ("`server`", "server.", listeners.Server),
    ("`admin`", "admin.", listeners.Admin),
    ("A receiver", "notify.NAME.", notify.Receiver),
    ("`webhook` of a receiver", "notify.NAME.webhook.", notify.Webhook),
    ("A store", "stores.NAME.", models.Store),
)

_SHOWN_ELSEWHERE = frozenset(model for _, _, model in _SECTIONS)
_REQUIRED = frozenset({"version", "stores", "token_ttl", "signer_lag"})


def tables() -> str:
    """Return the tables as Markdown, those of every installed backend's options among them."""
    parts = []
    for title, prefix, model in _SECTIONS:
        rows = list(_rows(prefix, model))
        if issubclass(model, target_models.OfBackend):
            rows += _rows(prefix, find_objects(model.BACKEND).settings())
        parts += _table(title, rows)
    for name in backend_names():
        rows = list(_rows("stores.NAME.", find_backend(name).settings()))
        parts += _table(f"A store with `backend: {name}`", rows)
    return "\n".join(parts + _profiles())


def _table(title: str, rows: Iterable[str]) -> list[str]:
    return [f"### {title}", "", "| key | default | meaning |", "|---|---|---|", *rows, ""]


def _rows(prefix: str, model: type[BaseModel], condition: str = "") -> Iterator[str]:
    """Yield one line for each key, then those of nested options.

    Args:
        condition: what the nested options belong to, where there are several kinds.
    """
    for name, field in model.model_fields.items():
        text = (field.description or "").replace("|", "\\|")
        yield f"| `{prefix}{name}` | {_default(name, field)} | {condition}{text} |"
        if model in _SHOWN_ELSEWHERE:
            continue
        members = models_in(field.annotation)
        for member in members:
            yield from _rows(
                f"{prefix}{name}.", member, _chosen_by(member) if len(members) > 1 else ""
            )


def _chosen_by(member: type[BaseModel]) -> str:
    for name, field in member.model_fields.items():
        if get_origin(field.annotation) is Literal:
            tags = " or ".join(f"`{tag}`" for tag in get_args(field.annotation))
            return f"(`{name}` {tags}) "
    return ""


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required() or name in _REQUIRED:
        return "required"
    value: Any = field.default
    if isinstance(value, float) and in_seconds(field):
        value = timedelta(seconds=value)
    if isinstance(value, timedelta):
        return f"`{format_duration(value)}`"
    if field.default_factory is not None or value is None or value in ([], {}, ()):
        return "–"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _profiles() -> list[str]:
    lines = [
        "### Verifier profiles",
        "",
        "| name | verifier | `verifier_cache` at least | `leeway` at least | `max_keys` at most | keeps a removed key | keeps keys while it cannot fetch |",
        "|---|---|---|---|---|---|---|",
    ]
    for item in PROFILES.values():
        keeps = (
            "until it meets an unknown kid"
            if item.keeps == FOREVER
            else format_duration(item.keeps)
        )
        keeps = "for ever" if item.frozen and item.keeps == FOREVER else keeps
        lines.append(
            f"| `{item.name}` | {item.title} | {format_duration(item.blind)} | {format_duration(item.leeway)} "
            f"| {item.max_keys or '–'} | {keeps} | {'yes' if item.frozen else 'no'} |"
        )
    return [*lines, ""]
