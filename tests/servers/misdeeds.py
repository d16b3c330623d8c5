"""What a server, or the network before it, may do to a request: actions for `tests.servers.proxy`."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime

from tests.servers.exchange import Answer, Exchange
from tests.servers.proxy import Action


def reset_before(exchange: Exchange) -> None:
    """Reset before the server saw anything."""
    exchange.reset()


def reset_after(exchange: Exchange) -> None:
    """Reset after the server has committed: the client cannot know."""
    exchange.forward()
    exchange.reset()


def hang(exchange: Exchange) -> None:
    """Say nothing, for as long as the client waits."""
    while True:
        exchange.idle(0.05)


def hang_after(exchange: Exchange) -> None:
    """The same after the server has committed."""
    exchange.forward()
    hang(exchange)


def drip(pause: float) -> Action:
    """Give the answer a byte at a time, a pause (seconds) between two."""

    def act(exchange: Exchange) -> None:
        answer = exchange.forward()
        for byte in answer.head() + answer.body:
            exchange.send_bytes(bytes((byte,)))
            exchange.idle(pause)

    return act


def answering(
    status: int,
    body: bytes = b"",
    *,
    after: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Action:
    """Give an answer that is not the server's; `after`: the server has seen and done what was asked."""
    answer = Answer(status, tuple((headers or {}).items()), body)

    def act(exchange: Exchange) -> None:
        if after:
            exchange.forward()
        exchange.send(answer)

    return act


def garbage(exchange: Exchange) -> None:
    """Give the server's answer with bytes of no meaning in its place; it says that all is well."""
    answer = exchange.forward()
    noise = random.Random(exchange.request.number).randbytes(max(len(answer.body), 40))
    exchange.send(Answer(200, answer.headers, noise))


def truncated(exchange: Exchange) -> None:
    """Give the head and half of the body, and hang up."""
    answer = exchange.forward()
    half = answer.body[: len(answer.body) // 2]
    exchange.send_bytes(answer.head(length=len(answer.body) or 100) + half)
    exchange.close()


def stale(before: int) -> Action:
    """Answer as the server would have before the request of that number; if negative, so many ago.

    What was never asked by then is answered with the truth.
    """

    def act(exchange: Exchange) -> None:
        number = before if before > 0 else exchange.request.number + before
        truth = exchange.forward()
        exchange.send(exchange.proxy.earlier(exchange.request, number) or truth)

    return act


def skewed(by: timedelta) -> Action:
    """Give the server's answer with another date."""

    def act(exchange: Exchange) -> None:
        answer = exchange.forward()
        said = next((value for name, value in answer.headers if name.lower() == "date"), None)
        if said is not None:
            moved = format_datetime(parsedate_to_datetime(said) + by, usegmt=True)
            answer = answer.with_header("Date", moved)
        exchange.send(answer)

    return act


def telling(listener: Callable[[Answer], None]) -> Action:
    """Tell somebody that the server has answered, before the client hears of it."""

    def act(exchange: Exchange) -> None:
        answer = exchange.forward()
        listener(answer)
        exchange.send(answer)

    return act
