"""The command `rotator` itself: its sub-commands, each loaded from its own module when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import click

from rotator.cli.options import add_common

# Name -> one line for `rotator --help`, so that help needs no import either.
COMMANDS: Final[dict[str, str]] = {
    "init": "Write a commented configuration.",
    "check": "Check everything, change nothing; send a test notification.",
    "notify": "Show who is told what; send a test event.",
    "plan": "Show the next steps and a calendar; simulate years of it.",
    "rehearse": "Run the configuration through years of simulated time.",
    "rotate": "Do all that is due now, once.",
    "due": "Tell by the exit code what is due, or how the daemon is.",
    "healthcheck": "Ask a running daemon how it is.",
    "run": "Run as a daemon; or a program that signs, with its key.",
    "exec": "Run a program that signs, with the current key.",
    "serve": "Serve the JWKS over HTTP, or have nginx do it.",
    "edge-config": "Print the configuration of an nginx that serves the JWKS.",
    "status": "Show the keys, the orders, and what is waited for.",
    "jwks": "Print the JWKS.",
    "history": "Show what happened to each key.",
    "revoke": "Take keys out at once.",
    "rollback": "Let the previous key sign again.",
    "hold": "Stop creating, promoting and retiring, until `release`.",
    "release": "End a hold.",
    "pin": "Keep a key published, until `unpin`.",
    "unpin": "Let a pinned key go.",
    "recover": "Bring a stopped key set back.",
    "export": "Print the ring, for a backup.",
    "adopt": "Take a live key into a new ring.",
    "move": "Carry key sets to another store.",
    "policy": "Print what a role must be allowed in a store.",
    "config": "Show, validate, or describe the configuration.",
}

# Commands that live together in one module.
_MODULES: Final = {"release": "hold", "unpin": "pin", "edge-config": "edge_config"}

# Commands that stand on the line of another in `rotator --help`, which fits one screen.
_WITH: Final = {
    "check": "notify",
    "plan": "rehearse",
    "due": "healthcheck",
    "run": "exec",
    "hold": "release",
    "pin": "unpin",
    "serve": "edge-config",
}

_OPTIONS: Final = """\
Options, before or after a command; `rotator COMMAND --help` shows its own:
  -c, --config FILE   --json   --log-level debug|info|warning|error   -h, --help
  --log-format auto|json|text   --color auto|always|never   -V, --version
"""


class LazyGroup(click.Group):
    """A group that imports the module of a sub-command only when that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in self.commands:
            module = import_module(f"rotator.cli.{_MODULES.get(cmd_name, cmd_name)}")
            command: click.Command = getattr(module, cmd_name.replace("-", "_"))
            self.add_command(add_common(command), cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command meant; a misspelt one is refused with the nearest name."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            from difflib import get_close_matches

            close = get_close_matches(name, COMMANDS, n=1)
            meant = f"; did you mean `{close[0]}`?" if close else ""
            raise click.UsageError(f"there is no command {name!r}{meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help by hand: all of it on one screen of 80 × 24."""
        formatter.write(f"Usage: {ctx.command_path} [OPTIONS] COMMAND [ARGS]...\n")
        for name, line in COMMANDS.items():
            if name not in _WITH.values():
                both = f"{name}, {_WITH[name]}" if name in _WITH else name
                formatter.write(f"  {both:<19}{line}\n")
        formatter.write(_OPTIONS)


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80}
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Rotate JWT signing keys so that no verifier ever notices."""
    # `exec` sees to itself: the program that it runs keeps the limits that it was given.
    if ctx.invoked_subcommand != "exec":
        _no_core_dumps()


def _no_core_dumps() -> None:
    """Keep the memory of a process that may hold keys out of files (DESIGN §6); its children inherit it."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _version(context: click.Context, _parameter: click.Parameter, asked: Any) -> None:
    if asked and not context.resilient_parsing:
        from rotator import __version__  # reads package metadata

        click.echo(f"rotator {__version__}")
        context.exit()


cli.params.append(
    click.Option(
        ["-V", "--version"], is_flag=True, expose_value=False, is_eager=True, callback=_version
    )
)
add_common(cli, root=True)
