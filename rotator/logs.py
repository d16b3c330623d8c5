"""Logs: one event per line on stderr, JSON unless that is a terminal. `docs/events.md` lists the events.

Type-level secrecy comes first (`rotator.secret`); the redaction here is a back-stop for what a library, or
a mistake, might still say. Frames of tracebacks are shown without their variables, for the same reason.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Mapping, MutableMapping
from datetime import date, timedelta
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final

from rotator import lazy_log
from rotator.lazy_log import LEVELS
from rotator.secret import Secret

if TYPE_CHECKING:
    import structlog

__all__ = ["COLORS", "FORMATS", "LEVELS", "configure", "emit", "redact"]

FORMATS: Final = ("auto", "json", "text")
COLORS: Final = ("auto", "always", "never")

HIDDEN: Final = "**********"
_PRIVATE: Final = frozenset(
    {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
)  # RFC 7518 §6.2.2, §6.3.2, §6.4
_PEM: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
# A private member of a JWK in a text, its quotes perhaps escaped by somebody who quoted it again.
_MEMBER: Final = re.compile(
    r"""(\\*["'](?:d|p|q|dp|dq|qi|k)\\*["']\s*:\s*\\*["'])[A-Za-z0-9_+/=-]{8,}"""
)
_DEEPEST: Final = 8


class _State:
    """What `configure` set last; None before it was called."""

    handler: logging.Handler | None = None


def configure(
    level: str = "info",
    format: str = "auto",  # noqa: A002 - the option's own name
    stream: IO[str] | None = None,
    color: str = "auto",
) -> None:
    """Set up the logs of this process; a later call replaces an earlier one.

    What libraries log through the standard library comes the same way, as `library.said`, from WARNING
    up whatever `level` says: some write out whole requests at DEBUG.

    Args:
        level: one of `LEVELS`; events below it are dropped.
        format: `json` (one object per line), `text`, or `auto`: text on a terminal only.
        stream: where to write; stderr when left out.
        color: `always`, `never`, or `auto`: in text on a terminal, unless NO_COLOR is set. JSON has none.

    Raises:
        ValueError: no such level, format or colour.
    """
    if level not in LEVELS or format not in FORMATS:
        raise ValueError(f"no log level {level!r}, or no log format {format!r}")
    if color not in COLORS:
        raise ValueError(f"no such choice of colour: {color!r}")
    target = sys.stderr if stream is None else stream
    text = format == "text" or (format == "auto" and target.isatty())
    lazy_log.leave(LEVELS[level], partial(_set_up, LEVELS[level], target, text=text, color=color))
    _take_over_standard_logging()


def _set_up(threshold: int, target: IO[str], *, text: bool, color: str) -> None:
    import structlog

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redacting,
            *_renderers(target, text=text, color=color),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=_Lines(target),
        cache_logger_on_first_use=False,  # loggers made earlier follow a later call
    )


def emit(level: str, event: str, **fields: Any) -> None:
    """Log one event; implements `rotator.reconcile.site.Emit`.

    Args:
        level: one of `LEVELS`.
        event: `noun.verb`, listed in `docs/events.md`.
        fields: plain values; never key material.
    """
    if lazy_log.threshold() is None:
        configure()
    if LEVELS[level] < (lazy_log.threshold() or 0):
        return
    lazy_log.ready()
    import structlog

    structlog.get_logger().log(LEVELS[level], event, **fields)


def redact(value: Any, depth: int = _DEEPEST) -> Any:
    """Return a value as it may be logged: plain, and without what looks like key material.

    PEM private keys, and the private members of JWKs (RFC 7518 §6) in mappings and in texts, are
    replaced; bytes are told by their number only.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _MEMBER.sub(rf"\1{HIDDEN}", _PEM.sub(HIDDEN, value))
    if isinstance(value, Secret):
        return HIDDEN
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, date):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if depth > 0 and isinstance(value, Mapping):
        return {
            str(name): HIDDEN if name in _PRIVATE else redact(item, depth - 1)
            for name, item in value.items()
        }
    if depth > 0 and isinstance(value, list | tuple | set | frozenset):
        return [redact(item, depth - 1) for item in value]
    return redact(str(value))


def _redacting(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    is_jwk = "kty" in event
    return {
        name: HIDDEN if is_jwk and name in _PRIVATE else redact(value)
        for name, value in event.items()
    }


def _in_order(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Put first what every line has, so that a person can read JSON too."""
    first = {name: event[name] for name in ("timestamp", "level", "event") if name in event}
    return first | dict(event)


def _renderers(target: IO[str], *, text: bool, color: str) -> list[structlog.typing.Processor]:
    import structlog

    if not text:
        return [_in_order, structlog.processors.JSONRenderer(ensure_ascii=False)]
    from rotator.text_log import TextLines

    # https://no-color.org: present and not empty, whatever the value.
    shown = (
        target.isatty() and not os.environ.get("NO_COLOR") if color == "auto" else color == "always"
    )
    return [TextLines(color=shown)]


class _Lines:
    """The last step of structlog: writes whole lines, from any thread; makes itself for each logger."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, *_: Any) -> _Lines:
        return self

    def msg(self, line: str) -> None:
        """Write one line. A log that cannot be written (a closed pipe, a full disk) stops no rotation."""
        with self._lock:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                return

    debug = info = warning = warn = error = critical = exception = fatal = msg


class _Libraries(logging.Handler):
    """Passes on what libraries say through the standard library's logging."""

    def emit(self, record: logging.LogRecord) -> None:
        lazy_log.ready()
        import structlog

        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = "a message that cannot be formatted"
        fields: dict[str, Any] = {"exc_info": record.exc_info} if record.exc_info else {}
        number = min(record.levelno, logging.ERROR)
        structlog.get_logger().log(
            number, "library.said", logger=record.name, message=text, **fields
        )


def _take_over_standard_logging() -> None:
    root = logging.getLogger()
    if _State.handler is not None:
        root.removeHandler(_State.handler)
    _State.handler = _Libraries(logging.WARNING)
    root.addHandler(_State.handler)
    root.setLevel(logging.WARNING)
