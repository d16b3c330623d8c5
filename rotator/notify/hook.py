"""A command that is run for each event."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from rotator.notify.news import News, body_of
from rotator.notify.receivers import REPEATED, Stop, Undelivered
from rotator.signers.program import Run, run

_KEPT: Final = 4096  # bytes of what it prints
_SHOWN: Final = 200  # characters of its last line


class Hook:
    """Runs a command with an event on its stdin, as JSON; exit code 0 means that it was taken.

    It has `PATH`, `HOME`, `LANG` and a few like them, none of the rest of our environment, which may hold
    credentials; and `ROTATOR_EVENT`, `ROTATOR_EVENT_ID`, `ROTATOR_KEY_SET`, `ROTATOR_KID`. All that it started
    is killed at its end, and with it at its timeout.

    Args:
        name: of the receiver.
        command: program and arguments; no shell.
        timeout: of one run.
    """

    def __init__(self, name: str, command: tuple[str, ...], timeout: timedelta) -> None:
        self._name, self._command, self._timeout = name, command, timeout

    def send(self, news: News, _now: datetime, stop: Stop) -> None:
        """Run the command.

        Raises:
            Undelivered: it cannot be run, failed, or did not end in time.
        """
        more = {
            "ROTATOR_EVENT": news.event,
            "ROTATOR_EVENT_ID": news.id,
            "ROTATOR_KEY_SET": news.key_set,
            "ROTATOR_KID": news.kid,
            "ROTATOR_STATE": news.state,
        }
        how = Run(
            self._timeout.total_seconds(),
            _KEPT,
            last=True,
            feed=body_of(news) + b"\n",
            more={name: value.replace("\0", "") for name, value in more.items() if value},
            stop=stop,
        )
        ended = run(self._command, how)
        if ended.failure:
            raise Undelivered(
                f"the command {self._command[0]} of receiver {self._name} {ended.failure}"
                + _last_line(ended.output),
                hint=REPEATED,
            )


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").split("\n")
    line = next((line for line in reversed(lines) if line.strip()), "")
    shown = "".join(c if c.isprintable() else "�" for c in line.strip())[-_SHOWN:]
    return f"; its last line: {shown}" if shown else ""
