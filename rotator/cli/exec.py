"""`rotator exec`: runs a program that signs, with the key that signs now."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.options import Options
from rotator.cli.session import Session
from rotator.errors import UsageError

if TYPE_CHECKING:
    from rotator.exec.orders import Orders, Ready
    from rotator.exec.source import Source
    from rotator.settings import Settings

_COMMAND: Final = "rotator.exec.command"


def _seconds(
    _context: click.Context, parameter: click.Parameter, value: str | None
) -> float | None:
    """Read a duration with its unit, as configurations write it."""
    if value is None:
        return None
    from rotator.durations import parse_duration

    try:
        return parse_duration(value).total_seconds()
    except ValueError as error:
        raise click.BadParameter(str(error), param=parameter) from error


def _signal(
    _context: click.Context | None, parameter: click.Parameter | None, value: str
) -> signal.Signals:
    """Read a signal: `TERM`, `SIGTERM` or `15`."""
    text = value.upper()
    try:
        if text.isdigit():
            return signal.Signals(int(text))
        return signal.Signals[text if text.startswith("SIG") else f"SIG{text}"]
    except (KeyError, ValueError):
        raise click.BadParameter(
            f"{value!r} is no signal; TERM, HUP, USR1 are some", param=parameter
        ) from None


class _ExecCommand(click.Command):
    """Keeps what stands after `--` as it is: it is another program's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words before `--`."""
        if "--" in args:
            place = args.index("--")
            ctx.meta[_COMMAND] = tuple(args[place + 1 :])
            args = args[:place]
        return super().parse_args(ctx, args)


_Decorator = Callable[[Callable[..., int]], Callable[..., int]]


def _duration(name: str, default: str | None, text: str) -> _Decorator:
    shown = f"{text}  [{default}]" if default else text
    return click.option(name, metavar="DURATION", callback=_seconds, default=default, help=shown)


@click.command(cls=_ExecCommand, options_metavar="[KEY_SET] [OPTIONS]")
@click.argument("words", metavar="-- COMMAND [ARG]...", nargs=-1)
@click.option("--from", "source", metavar="PLACE", help="store:NAME or files:PATH, if several.")
@_duration("--every", "15s", "How often it looks for a new key.")
@_duration("--wait", "60s", "How long for the first one.")
@click.option(
    "--file",
    type=click.Choice(["signing", "pem", "jwk", "none"]),
    default="signing",
    metavar="FORM",
    help="ROTATOR_SIGNING_FILE: signing, pem, jwk or none.",
)
@click.option(
    "--env",
    "variables",
    metavar="NAME=FORM",
    multiple=True,
    # Of ten forms: they have two lines.
    help="Set NAME: signing, jwk, pem, pem-base64, kid, alg, revision; HMAC: secret-hex, -base64, -base64url.",
)
@click.option("--replace", metavar="TEXT", hidden=True)
@click.option("--on-change", metavar="HOW", default="restart", help="restart, or signal:HUP.")
@click.option(
    "--stop-signal", metavar="SIGNAL", callback=_signal, default="TERM", help="How it is ended."
)
@_duration("--stop-timeout", "10s", "When it is killed instead.")
@click.option("--ready-url", metavar="URL", help="It is ready when this answers 2xx;")
@click.option("--ready-notify", is_flag=True, help="or when it says so (sd_notify);")
@_duration("--ready-after", None, "or when it lived so long.  [1s]")
@_duration("--ready-timeout", "30s", "When that has failed.")
@click.option(
    "--if-not-ready", type=click.Choice(["fall-back", "exit"]), default="fall-back", hidden=True
)
@click.pass_context
def exec(context: click.Context, /, words: Sequence[str], **said: Any) -> int:  # noqa: A001 - its name is that
    """Run a program that signs. In `docs/exec.md` too: --replace, --if-not-ready."""
    from rotator.exec import linux

    command = context.meta.get(_COMMAND, ())
    if len(words) > 1 or not command:
        raise UsageError(
            "which command? it stands after two dashes",
            hint=f"for instance: {' '.join(('rotator exec', *words[:1]))} -- gunicorn issuer:app",
        )
    linux.require_linux()
    # Before the configuration is read, which may hold credentials.
    linux.conceal()
    session = Session(context.ensure_object(Options))
    key_set = session.the_one(words[0] if words else None)
    orders = _orders(session.settings, key_set, command, said)
    return _run(session.settings, orders, said["source"])


def _run(settings: Settings, orders: Orders, place: str | None) -> int:
    from rotator.exec.source import choose
    from rotator.exec.supervisor import Supervisor
    from rotator.logs import emit

    configured = settings.key_sets[orders.key_set]

    def open_source() -> Source:
        from rotator.assemble import Assembly

        return choose(configured, place, Assembly(settings, emit).store)

    # A misspelt place is refused now, by the process that was asked; nothing is opened for that.
    choose(configured, place, _not_now)
    return Supervisor(orders, open_source, emit).run()


def _not_now(name: str) -> Any:
    raise AssertionError(f"store {name} was opened by the process that starts the command")


def _orders(
    settings: Settings, key_set: str, command: tuple[str, ...], said: dict[str, Any]
) -> Orders:
    from rotator.exec.orders import Orders

    policy = settings.key_sets[key_set].policy
    orders = Orders(
        command=command,
        key_set=key_set,
        signer_lag=policy.signer_lag.total_seconds(),
        every=_positive("--every", said["every"]),
        wait=said["wait"],
        file=said["file"],
        environ=_variables(said["variables"]),
        replace=said["replace"] or None,
        notify_by=_on_change(said["on_change"]),
        stop_signal=said["stop_signal"],
        stop_timeout=said["stop_timeout"],
        ready=_ready(said),
        fall_back=said["if_not_ready"] == "fall-back",
    )
    orders.check(symmetric=policy.kind.symmetric)
    return orders


def _positive(name: str, seconds: float) -> float:
    if seconds <= 0:
        raise UsageError(f"{name} must be longer than 0s", hint=f"`{name} 15s` is the default")
    return seconds


def _variables(said: Sequence[str]) -> dict[str, str]:
    found = dict(word.partition("=")[::2] for word in said)
    for name, form in found.items():
        if not name or not form:
            raise UsageError(
                f"--env {name or form} is not complete", hint="for instance `--env SIGNING_KEY=pem`"
            )
    return found


def _on_change(said: str) -> signal.Signals | None:
    if said == "restart":
        return None
    kind, _, name = said.partition(":")
    if kind != "signal" or not name:
        raise UsageError(
            f"--on-change takes `restart` or `signal:NAME`, not {said!r}",
            hint="`--on-change signal:HUP` for a program that opens its file again then",
        )
    return _signal(None, None, name)


def _ready(said: dict[str, Any]) -> Ready:
    from rotator.exec.orders import Ready
    from rotator.exec.ready import check_url

    given = [name for name in ("ready_url", "ready_notify", "ready_after") if said[name]]
    if len(given) > 1:
        raise UsageError(
            f"two ways to tell when it is ready: {' and '.join('--' + n.replace('_', '-') for n in given)}",
            hint="name the one that says the most: notify, then the URL",
        )
    if said["ready_url"]:
        check_url(said["ready_url"])
    made = Ready(url=said["ready_url"], notify=said["ready_notify"], timeout=said["ready_timeout"])
    if said["ready_after"] is None:
        return made
    return Ready(after=said["ready_after"], timeout=said["ready_timeout"])
