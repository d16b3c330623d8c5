"""The options that every command takes, before or after its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

LEVELS: Final = ("debug", "info", "warning", "error")


class Options(dict[str, Any]):
    """What was said for all commands: `config`, `json`, `log_level`, `log_format`, `color`, `shard`.

    `fault` is what a command ends with instead of an error's own exit code, None for most.
    """

    def __init__(self) -> None:
        super().__init__(
            config=None, json=False, log_level=None, log_format="auto", color="auto", fault=None
        )
        self["shard"] = None


def add_common(command: click.Command, *, root: bool = False) -> click.Command:
    """Give a command, and its sub-commands, the common options that it does not have itself.

    Args:
        root: for the program itself, whose help shows all of them.
    """
    taken = {name for parameter in command.params for name in parameter.opts}
    for option in _common(root=root):
        if not taken.intersection(option.opts):
            command.params.append(option)
    if not root:
        command.epilog = "`rotator --help` has more options, which every command takes."
    if isinstance(command, click.Group) and not root:
        for inner in command.commands.values():
            add_common(inner)
    return command


def shard_option(command: Any) -> Any:
    """Give a command that goes over all key sets the option to take one part of them."""
    decorate = click.option(
        "--shard",
        metavar="I/N",
        expose_value=False,
        callback=_remember,
        default=None,
        help="Only part I of N, from 0/N (else ROTATOR_SHARD).",
    )
    return decorate(command)


def _common(*, root: bool) -> list[click.Option]:
    return [
        _option(
            ["-c", "--config"],
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="The configuration (else ROTATOR_CONFIG, ./rotator.yaml, /etc/rotator/rotator.yaml).",
        ),
        _option(["--json"], is_flag=True, help="Print the result as one JSON document."),
        _option(
            ["--log-level"], type=click.Choice(LEVELS), hidden=not root, help="What goes to stderr."
        ),
        _option(
            ["--log-format"],
            type=click.Choice(["auto", "json", "text"]),
            hidden=not root,
            help="auto: JSON unless stderr is a terminal.",
        ),
        _option(
            ["--color"],
            type=click.Choice(["auto", "always", "never"]),
            hidden=not root,
            help="auto: on a terminal, unless NO_COLOR is set.",
        ),
    ]


def _option(declared: list[str], **more: Any) -> click.Option:
    return click.Option(declared, expose_value=False, callback=_remember, default=None, **more)


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Keep what was said; a later word replaces an earlier one, an option not given changes nothing."""
    if value is not None and value is not False and parameter.name is not None:
        context.ensure_object(Options)[parameter.name] = value
    return value
