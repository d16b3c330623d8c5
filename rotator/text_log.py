"""Log lines for a terminal: an event in some hundred columns, where JSON has every character.

Shown in UTC. Kids are cut to their first characters, paths below the current directory are relative, dates
that are near are told as `in 27s` or `07:00:00`. Plain ANSI colours: a library for them would cost a tenth
of a second at each start.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final

from rotator.step import Do, Reason, Step
from rotator.words import forecast, shorten, shortly

__all__ = ["TextLines"]

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_COLUMN: Final = 16  # the usual events are no longer
_WELL_KNOWN: Final = "/.well-known/jwks.json"
_DIM: Final = "2"
_COLORS: Final = {"debug": "2", "info": "36", "warning": "33", "error": "31"}
# What `due_at` means; elsewhere it is `due`.
_DUE: Final = {"key.promoted": "to be replaced", "key.superseded": "retires"}
# Told in a way of their own, or by their place in the line.
_PLACED: Final = frozenset(
    {"timestamp", "level", "event", "key_set", "kid", "from", "to", "reason", "target"}
    | {"due_at", "revision", "hint", "exception", "component"}
)


class TextLines:
    """A step of structlog that makes a line, or the few of `daemon.started`, of an event.

    Args:
        color: whether to write ANSI colours.
        folder: paths below it are shown relative to it; the current directory when left out.
    """

    def __init__(self, *, color: bool, folder: str | None = None) -> None:
        self._color = color
        self._folder = re.compile(rf"(?<![\w.-]){re.escape(folder or _here())}/(?=\S)")

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        """Return the line; `timestamp`, `level` and `event` are there."""
        now = datetime.fromisoformat(str(event["timestamp"]))
        level, name = str(event.get("level", "info")), str(event["event"])
        shown = name if level in ("info", "debug") else f"{level} {name}"
        head = [
            self._paint(now.astimezone(UTC).strftime("%H:%M:%S"), _DIM),
            self._paint(shown, _COLORS.get(level, "")) + " " * max(_COLUMN - len(shown), 0),
        ]
        if "key_set" in event:
            head.append(self._plain(event["key_set"], now))
        if name == "step.waiting":
            rest = [self._tidy(_waiting(event, now), now)]
        elif name == "daemon.started":
            rest = [self._started(event, now)]
        else:
            rest = self._rest(event, now)
        line = "  ".join([*head, *(part for part in rest if part)]).rstrip()
        return f"{line}\n{event['exception']}" if event.get("exception") else line

    def _rest(self, event: Mapping[str, Any], now: datetime) -> list[str]:
        rest = [shorten(kid) for kid in _kids(event.get("kid"))]
        rest = [", ".join(rest)]
        before, after = event.get("from"), event.get("to")
        if before and after:
            rest.append(f"{before} → {after}")
        elif after and not str(event["event"]).startswith("key."):
            rest.append(f"at {self._plain(after, now)}")  # to whom `rotator serve` publishes
        if event.get("target") and not _names(event.get("reason"), str(event["target"])):
            rest.append(f"at {self._plain(event['target'], now)}")
        if event.get("reason"):
            rest.append(self._plain(event["reason"], now))
        if event.get("due_at"):
            what = _DUE.get(str(event["event"]), "due")
            rest.append(f"{what} {self._plain(event['due_at'], now)}")
        if event.get("component") and not str(event["event"]).startswith(str(event["component"])):
            rest.append(f"({event['component']})")
        rest += [
            f"{name}={self._plain(value, now)}"
            for name, value in event.items()
            if name not in _PLACED
        ]
        if event.get("revision"):
            rest.append(self._paint(f"r{event['revision']}", _DIM))
        if event.get("hint"):
            rest.append(f"→ {self._plain(event['hint'], now)}")
        return rest

    def _started(self, event: Mapping[str, Any], now: datetime) -> str:
        """Say where the JWKS is, what to try, and what comes next."""
        number, config = event.get("key_sets"), self._plain(event.get("config", ""), now)
        sets = "1 key set" if number == 1 else f"{number} key sets"
        lines = [f"{sets} from {config} (pid {event.get('pid')})"]
        addresses = [self._plain(item, now) for item in event.get("jwks") or ()]
        rows = [("JWKS:", address) for address in addresses]
        if addresses:
            rows.append(("try:", _reading(addresses)))
        rows.append(("try:", f"{self._program()} status -c {shlex.quote(config)}"))
        rows.append(("then:", "each thing done is one line here, and `next:` says what comes"))
        rows.append(("end:", "Ctrl-C, or SIGTERM"))
        lines += [f"  {self._paint(name.ljust(6), _COLORS['info'])}{text}" for name, text in rows]
        return "\n".join(lines)

    def _program(self) -> str:
        """Return the word that calls this program here, which may lie outside PATH."""
        path = os.path.abspath(sys.argv[0])  # noqa: PTH100 - as it was called, no link followed
        if os.path.basename(path) != "rotator" or shutil.which("rotator"):  # noqa: PTH119
            return "rotator"
        return shlex.quote(self._folder.sub("", path))

    def _plain(self, value: Any, now: datetime) -> str:
        if isinstance(value, list | tuple):
            return ", ".join(self._plain(item, now) for item in value)
        text = self._tidy(str(value), now)
        return text or "''"

    def _tidy(self, text: str, now: datetime) -> str:
        """Return a text as one line without control characters, shortened."""
        text = "".join(c if c.isprintable() else " " for c in text)
        text = shorten(self._folder.sub("", " ".join(text.split())))
        return _DATE.sub(lambda found: shortly(datetime.fromisoformat(found.group()), now), text)

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._color and code else text


def _here() -> str:
    try:
        return os.getcwd().rstrip("/") or "\0"  # noqa: PTH109 - below / nothing gets shorter
    except OSError:  # somebody removed the current directory
        return "\0"


def _kids(value: Any) -> list[str]:
    return [kid for kid in str(value or "").split(",") if kid]


def _names(reason: Any, target: str) -> bool:
    """Tell whether a reason says by itself which target it is about."""
    whole = rf"(?<![\w/]){re.escape(target)}(?![\w/-]|[.#]\w)"
    return bool(reason) and re.search(whole, str(reason)) is not None


def _waiting(event: Mapping[str, Any], now: datetime) -> str:
    """Return `step.waiting` as the sentence that it is."""
    due = event.get("due_at")
    return forecast(
        Step(
            Do.WAIT,
            Reason(str(event["reason"])),
            str(event.get("kid", "")),
            datetime.fromisoformat(str(due)) if due else None,
            str(event.get("detail", "")),
            blocked=event.get("level") == "warning",
        ),
        now,
    )


def _reading(addresses: list[str]) -> str:
    """Return the command that shows a JWKS; a key set's own address rather than the default's."""
    own = [item for item in addresses if not item.endswith(_WELL_KNOWN)]
    address = (own or addresses)[0]
    how = "curl -s" if address.startswith(("http://", "https://")) else "cat"
    return f"{how} {shlex.quote(address)}"
