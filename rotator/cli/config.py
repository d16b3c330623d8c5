"""`rotator config`: the configuration as it is in force, whether it is sound, and how it is described."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.console import Console

if TYPE_CHECKING:
    from rotator.settings import Fault

VALIDATION: Final = "rotator.config-validation/1"


@click.group()
def config() -> None:
    """Show, validate, or describe the configuration."""


@config.command()
@click.argument("key_sets", metavar="[KEY_SET]...", nargs=-1)
@click.pass_context
def show(context: click.Context, key_sets: tuple[str, ...]) -> None:
    """Show every value that is in force, and where it comes from.

    An origin is a line of a file, an environment variable, a verifier profile, or `default`.
    Credentials are never shown.
    """
    from rotator.errors import UsageError
    from rotator.settings.faults import dotted, nearest
    from rotator.settings.show import FORMAT, Resolved

    console = Console(context.obj)
    resolved = Resolved(context.obj["config"], os.environ)
    for name in key_sets:
        if name not in resolved.settings.key_sets:
            close = nearest(name, resolved.settings.key_sets).removeprefix("; ")
            raise UsageError(
                f"there is no key set {name!r}", hint=close or "`rotator config show` lists them"
            )
    found = [(dotted(path), value, origin) for path, value, origin in resolved.values(key_sets)]
    source = str(resolved.settings.source)
    console.say(f"# {source}")
    console.table(((path, _text(value), f"# {origin}") for path, value, origin in found), indent="")
    values = [{"path": path, "value": value, "origin": origin} for path, value, origin in found]
    console.document({"format": FORMAT, "source": source, "values": values})


@config.command()
@click.pass_context
def validate(context: click.Context) -> int:
    """Check the configuration; change nothing, open no store.

    Ends with 0, or with 78 after every fault was named with its file and line.
    """
    from rotator.settings import InvalidSettings, load_settings

    console = Console(context.obj)
    try:
        settings = load_settings(context.obj["config"], os.environ)
    except InvalidSettings as error:
        if not console.json:
            raise
        faults = [_fault(fault) for fault in error.faults]
        console.document({"format": VALIDATION, "valid": False, "faults": faults})
        return error.exit_code
    count = len(settings.key_sets)
    console.say(f"{settings.source}: valid, {count} key set{'s' if count != 1 else ''}")
    console.document(
        {
            "format": VALIDATION,
            "valid": True,
            "source": str(settings.source),
            "key_sets": count,
            "faults": [],
        }
    )
    return 0


@config.command()
def schema() -> None:
    """Print the JSON Schema of a configuration, with every installed backend's options."""
    import json

    from rotator.settings.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def _fault(fault: Fault) -> dict[str, Any]:
    from rotator.settings.faults import dotted

    return {
        "file": fault.place.file,
        "line": fault.place.line,
        "variable": fault.place.variable,
        "path": dotted(fault.path),
        "text": fault.text,
    }


def _text(value: Any) -> str:
    """Write a value the way that YAML would, on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(_text(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_text(item)}" for key, item in value.items()) + "}"
    return str(value)
