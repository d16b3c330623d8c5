"""`docs/configuration.md`'s tables: every key, its default, its meaning; from the models."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rotator.policy import format_duration
from rotator.profiles import FOREVER, PROFILES
from rotator.settings import models

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

_SECTIONS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("At the top", "", models.Root),
    ("`defaults`", "defaults.", models.Defaults),
    ("A key set", "key_sets.NAME.", models.KeySet),
    ("`policy`, of `defaults` and of a key set", "policy.", models.Policy),
    ("An entry of `deliver`", "deliver[].", models.Deliver),
    ("An entry of `publish`", "publish[].", models.Publish),
    ("An entry of `probes`", "probes[].", models.Probe),
    ("`server`", "server.", models.Server),
    ("A store", "stores.NAME.", models.Store),
)


_REQUIRED = frozenset({"version", "stores", "token_ttl", "signer_lag"})


def tables() -> str:
    """Return the tables as Markdown."""
    parts = []
    for title, prefix, model in _SECTIONS:
        parts += [f"### {title}", "", "| key | default | meaning |", "|---|---|---|"]
        for name, field in model.model_fields.items():
            text = (field.description or "").replace("|", "\\|")
            parts.append(f"| `{prefix}{name}` | {_default(name, field)} | {text} |")
        parts.append("")
    return "\n".join(parts + _profiles())


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required() or name in _REQUIRED:
        return "required"
    value: Any = field.default
    if isinstance(value, timedelta):
        return f"`{format_duration(value)}`"
    if field.default_factory is not None or value is None or value in ([], {}):
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
