"""What every backend of a server elsewhere needs around its calls: one log line, one retry policy, one witness.

A backend gives the whole idempotent step to `Calls.attempt`: reading what is there, writing, and reading back
after a lost answer. Its SDK does not retry beside it, for retries of retries multiply.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

from rotator import lazy_log
from rotator.errors import StoreUnavailable
from rotator.stores import ServerTime

if TYPE_CHECKING:
    import structlog

__all__ = ["Calls", "Heard", "JustWritten", "get_logger", "on_call", "server_time"]

_T = TypeVar("_T")

Heard = Callable[[str, str, str, float], None]
"""Takes what a store is known by, what was done, how it ended (`ok` or an error's name), and the seconds it took."""

_listeners: list[Heard] = []
_FIRST_WAIT: Final = 0.1  # seconds; doubles, with a jitter as large, so that replicas part
_LONGEST_WAIT: Final = 5.0  # seconds
_NO_TIME: Final = 1e-9  # seconds; zero would mean no bound
_LONGEST_ASKED: Final = 30.0  # seconds; a server that asks for more is left to the next tick


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger of a backend; every call to a store is one DEBUG event without its payload."""
    lazy_log.ready()
    import structlog

    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=name)
    return logger


@contextlib.contextmanager
def on_call(heard: Heard) -> Iterator[None]:
    """Tell `heard` of every call to any store, in the thread that made it, for as long as the block runs.

    Args:
        heard: returns at once and raises nothing.
    """
    _listeners.append(heard)
    try:
        yield
    finally:
        _listeners.remove(heard)


class Calls:
    """Logs the calls of one store, and tries again what may succeed later.

    Args:
        backend: the name of the backend, as the logger's component.
        store: what a person knows this store by: an address or a region, never a credential.
        attempts: how often an idempotent step is tried at most; 1 never tries again.
        patience: seconds after which no further attempt begins.
    """

    def __init__(
        self,
        backend: str,
        store: str,
        *,
        attempts: int = 4,
        patience: float = 20.0,
    ) -> None:
        self._backend = backend
        self._store = store
        self._attempts = attempts
        self._patience = patience

    @contextlib.contextmanager
    def logged(self, op: str, key_set: str | None) -> Iterator[None]:
        """Log one call when it ends, by its outcome and never with what it carried."""
        started = time.perf_counter()
        outcome = "ok"
        try:
            yield
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            for heard in tuple(_listeners):
                heard(self._store, op, outcome, time.perf_counter() - started)
            if lazy_log.wanted("debug"):
                get_logger(self._backend).debug(
                    "store.call",
                    store=self._store,
                    op=op,
                    key_set=key_set,
                    duration_ms=round((time.perf_counter() - started) * 1000, 3),
                    outcome=outcome,
                )

    def attempt(self, op: str, key_set: str | None, step: Callable[[], _T]) -> _T:
        """Run one idempotent step, again while it ends in `StoreUnavailable` that may pass; log each run.

        Args:
            op: what the step does, as in the log (`ring.save`).
            step: harmless to run again after any of its calls was or was not carried out.

        Raises:
            StoreUnavailable: still, after `attempts` or `patience`; and whatever else the step raises.
        """
        began = time.monotonic()
        try:  # most steps succeed at once, and load no machinery
            with self.logged(op, key_set):
                return step()
        except StoreUnavailable as error:
            if self._attempts == 1 or _again(error) is False:
                raise
            left = max(self._patience - (time.monotonic() - began), _NO_TIME)
            return self._attempt_again(op, key_set, step, error, left)

    def _attempt_again(
        self,
        op: str,
        key_set: str | None,
        step: Callable[[], _T],
        failed: StoreUnavailable,
        patience: float,
    ) -> _T:
        """Go on after a first run that failed: it is the first of the attempts that are counted."""
        import stamina

        _say_nothing()
        first: StoreUnavailable | None = failed
        for attempt in stamina.retry_context(
            on=_again,
            attempts=self._attempts,
            timeout=patience,
            wait_initial=_FIRST_WAIT,
            wait_jitter=_FIRST_WAIT,
            wait_max=_LONGEST_WAIT,
        ):
            with attempt:
                if first is not None:
                    failed, first = first, None
                    raise failed
                with self.logged(op, key_set):
                    return step()
        raise AssertionError("unreachable: the last attempt returns or raises")


def _again(error: Exception) -> bool | float:
    if not isinstance(error, StoreUnavailable) or error.lasting:
        return False
    if error.retry_after is None:
        return True
    return error.retry_after if error.retry_after <= _LONGEST_ASKED else False


@lru_cache(maxsize=1)
def _say_nothing() -> None:
    """Take off stamina's hooks: they log the arguments of what is tried again."""
    from stamina.instrumentation import set_on_retry_hooks

    set_on_retry_hooks([])


class JustWritten:
    """Names that this process wrote a moment ago: "not there", said of one of them, is an old answer.

    Secrets managers that are eventually consistent (AWS), or read from standbys (Vault), give such answers.

    Args:
        seconds: how long such an answer is not believed.
    """

    def __init__(self, seconds: float = 30.0) -> None:
        self._seconds = seconds
        self._until: dict[str, float] = {}

    def note(self, name: str) -> None:
        """Remember that a name was written now."""
        now = time.monotonic()
        self._until = {name: until for name, until in self._until.items() if until > now}
        self._until[name] = now + self._seconds

    def forget(self, name: str) -> None:
        """Forget a name that was removed since, by this process."""
        self._until.pop(name, None)

    def refuse(self, name: str, place: str) -> None:
        """Refuse to believe that a name is not there, if it was written a moment ago.

        Raises:
            StoreUnavailable: it was; the answer is tried for again.
        """
        if self._until.get(name, 0.0) > time.monotonic():
            raise StoreUnavailable(
                f"{place} does not show {name} yet, which was written a moment ago",
                hint="it is tried again",
            )


def server_time(url: str, date: str | None, sent: float) -> ServerTime | None:
    """Return what a server's answer says of the time, None when it says nothing or is no witness.

    Args:
        url: where the answer came from; a server on this machine is no witness (DESIGN §3).
        date: the answer's `Date` (RFC 9110 §6.6.1).
        sent: `time.monotonic()` when the request was sent.
    """
    if date is None:
        return None
    try:
        said = parsedate_to_datetime(date)
    except ValueError:
        return None
    if said.tzinfo is None:
        said = said.replace(tzinfo=UTC)
    parts = urlsplit(url)
    if _is_here(parts.hostname or "", parts.port or 443):
        return None
    return ServerTime(_utc(said), timedelta(seconds=time.monotonic() - sent))


def _utc(date: datetime) -> datetime:
    return date.astimezone(UTC)


@lru_cache(maxsize=64)
def _is_here(host: str, port: int) -> bool:
    """Tell whether a server is this machine: a connection to it would come from the address it goes to.

    When that cannot be said, it counts as here: no witness is better than a false one.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        return not found or any(_is_own(family, address) for family, _, _, _, address in found)
    except (OSError, UnicodeError):
        return True


def _is_own(family: socket.AddressFamily, address: tuple[str | int | bytes, ...]) -> bool:
    peer = ipaddress.ip_address(str(address[0]).partition("%")[0])
    mapped = getattr(peer, "ipv4_mapped", None) or peer
    if mapped.is_loopback:
        return True
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(
                address
            )  # sends nothing; the kernel only chooses the address to send from
        except OSError:
            return False
        return str(probe.getsockname()[0]) == str(address[0])
