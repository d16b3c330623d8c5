"""`rotator notify`: who is told what, and one event on trial."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

import click

from rotator.cli.console import error_view
from rotator.cli.session import Session
from rotator.errors import RotatorError, UsageError, worst_exit_code

if TYPE_CHECKING:
    from rotator.settings.result import ReceiverSettings, Settings

FORMAT: Final = "rotator.receivers/1"


@click.command()
@click.option(
    "--test", "tested", metavar="NAME", multiple=True, help="Send one signed test event to NAME."
)
@click.pass_obj
def notify(options: dict[str, Any], tested: tuple[str, ...]) -> int:
    """Show the receivers of notifications, or send one of them an event on trial.

    The event is `test`; nothing is noted of it, and a receiver that is behind stays behind. Exit 75 when it
    was not taken.
    """
    session = Session(options)
    receivers = session.settings.notify
    for name in tested:
        if name not in receivers:
            known = ", ".join(receivers) or "none"
            raise UsageError(
                f"the configuration has no receiver {name!r}", hint=f"under `notify` it has {known}"
            )
    chosen = [receivers[name] for name in dict.fromkeys(tested)] or list(receivers.values())
    found = [_one(session, item, send=bool(tested)) for item in chosen]
    if not found:
        session.console.say("nobody is told anything: the configuration has no `notify`")
    code = worst_exit_code([item["error"]["exit_code"] for item in found if item["error"]])
    session.console.document({"format": FORMAT, "receivers": found, "exit_code": code})
    return code


def _one(session: Session, receiver: ReceiverSettings, *, send: bool) -> dict[str, Any]:
    from rotator.notify.receivers import where

    kind, console = where(receiver), session.console
    error = _send(session.settings, receiver) if send else None
    if not send:
        events = ", ".join(sorted(receiver.events)) or "every event"
        key_sets = ", ".join(sorted(receiver.key_sets)) or "every key set"
        console.say(f"{receiver.name}: {kind} is told of {events} of {key_sets}")
    elif error is None:
        console.say(f"{receiver.name}: {kind} took the test event")
    elif not console.json:
        console.refuse(error)
    return {
        "receiver": receiver.name,
        "kind": kind,
        "events": sorted(receiver.events),
        "key_sets": sorted(receiver.key_sets),
        "sent": send and error is None,
        "error": None if error is None else error_view(error),
    }


def _send(settings: Settings, receiver: ReceiverSettings) -> RotatorError | None:
    from rotator.hostclock import HostClock
    from rotator.notify.news import TEST, News
    from rotator.notify.receivers import REPEATED, sender_of

    now = HostClock().now()
    key_set = min(receiver.key_sets or settings.key_sets)
    news = News(f"evt_test_{secrets.token_hex(8)}", TEST, key_set, now, reason="sent by hand")
    try:
        sender_of(receiver)(news, now, lambda: False)
    except RotatorError as error:
        if error.hint == REPEATED:
            error.hint = "mend that and try again: an event on trial is sent once"
        return error
    return None
