"""The table of faults: what goes wrong between us and a server, and what the command must say of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from tests.servers import misdeeds
from tests.servers.exchange import Request
from tests.servers.proxy import Action, When, anything
from tests.servers_e2e.ground import HURRIED, REMOTE, Ground, is_login, is_read, is_write

Trouble = Callable[[Ground], AbstractContextManager[Any]]

UNAVAILABLE, DENIED, CORRUPT = ("StoreUnavailable", 69), ("StoreDenied", 77), ("StoreCorrupt", 65)
OVERCOME = ("", 0)
"""The run does what is due in spite of it."""


@dataclass(frozen=True)
class Fault:
    """One row: the trouble, and by backend what comes of it.

    Attributes:
        comes_to: the error's class and exit code, for every backend that `otherwise` does not name.
        says: words of the message or hint, any case.
        options: what the store's options are while it lasts.
    """

    name: str
    trouble: Trouble
    comes_to: tuple[str, int]
    says: tuple[str, ...] = ()
    otherwise: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    backends: tuple[str, ...] = REMOTE
    options: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: bool = False

    def expected(self, backend: str) -> tuple[str, int]:
        """What it comes to with a backend."""
        return self.otherwise.get(backend, self.comes_to)


def on(deed: Action, when: When = anything, **more: Any) -> Trouble:
    """Return the trouble of a proxy that does something to some requests."""
    return lambda ground: ground.between.misbehaving(deed, when=when, **more)


def by_backend(deeds: Mapping[str, Action], when: When = anything, **more: Any) -> Trouble:
    """Return the trouble of a proxy that does what is usual with each server."""
    return lambda ground: ground.between.misbehaving(deeds[ground.backend], when=when, **more)


def stale_reads(ground: Ground) -> AbstractContextManager[Any]:
    """Every read is answered as it would have been before the last rotation."""
    return ground.between.misbehaving(misdeeds.stale(ground.marks[-1]), when=is_read)


def every_second(when: When) -> When:
    """Pick each other one of the requests that `when` picks, beginning with the first."""
    lock, count = threading.Lock(), 0

    def picks(request: Request) -> bool:
        nonlocal count
        if not when(request):
            return False
        with lock:
            count += 1
            return count % 2 == 1

    return picks


def aws(status: int, code: str, **more: Any) -> Action:
    """An error of AWS's, JSON 1.1."""
    body = json.dumps({"__type": code, "message": f"the message of {code}"}).encode()
    return misdeeds.answering(status, body, **more)


def vault(status: int, *errors: str, **more: Any) -> Action:
    """An error of Vault's."""
    body = json.dumps({"errors": errors}).encode()
    return misdeeds.answering(status, body, **more)


PAGE: Final = b"<html><body><h1>not the server you know</h1></body></html>"
JUST_NOW: Final = {"Retry-After": "1"}
TOMORROW: Final = {"Retry-After": "86400"}
PERSISTENT: Final = {"attempts": 12, "patience": "60s"}


def too_many(headers: Mapping[str, str] | None = None) -> Mapping[str, Action]:
    """What each server says when it is asked too often."""
    quota = 'request path "secret/data/x": rate limit quota exceeded'
    return {
        "aws": aws(400 if headers is None else 429, "ThrottlingException", headers=headers),
        "conjur": misdeeds.answering(429, b"", headers=headers),
        "vault": vault(429, quota, headers=headers),
    }


DENIED_BY: Final = {
    "aws": aws(400, "AccessDeniedException"),
    "conjur": misdeeds.answering(403),
    "vault": vault(403, "1 error occurred:\n\t* permission denied\n\n"),
}

FAULTS: Final = (
    Fault("connection refused", lambda ground: ground.between.refusing(), UNAVAILABLE),
    Fault("reset before the server saw it", on(misdeeds.reset_before), UNAVAILABLE),
    Fault("reset after reading", on(misdeeds.reset_after, is_read), UNAVAILABLE),
    Fault(
        "reset after every write",
        on(misdeeds.reset_after, is_write),
        UNAVAILABLE,
        otherwise={"conjur": OVERCOME},
    ),
    Fault(
        "reset after each other write",
        lambda ground: ground.between.misbehaving(
            misdeeds.reset_after, when=every_second(is_write)
        ),
        OVERCOME,
        options=PERSISTENT,
    ),
    Fault("hang", on(misdeeds.hang), UNAVAILABLE, ("time",), options=HURRIED),
    Fault(
        "hang after writes",
        on(misdeeds.hang_after, is_write, times=4),
        UNAVAILABLE,
        backends=("aws", "vault"),
        options=HURRIED,
    ),
    Fault(
        "hang after writes that are read back",
        on(misdeeds.hang_after, is_write, times=4),
        OVERCOME,
        backends=("conjur",),
        options=HURRIED | PERSISTENT,
    ),
    Fault("byte by byte", on(misdeeds.drip(0.1)), UNAVAILABLE, options=HURRIED),
    Fault("403", by_backend(DENIED_BY), DENIED),
    Fault("403 to writes", by_backend(DENIED_BY, is_write), DENIED),
    Fault(
        "403 of something in between",
        on(misdeeds.answering(403, PAGE)),
        DENIED,
        otherwise={"aws": UNAVAILABLE},
    ),
    Fault(
        "404 of something in between",
        on(misdeeds.answering(404, PAGE)),
        UNAVAILABLE,
        otherwise={"conjur": DENIED},  # to its login, which comes first
    ),
    Fault("429", by_backend(too_many()), UNAVAILABLE),
    Fault(
        "429 with Retry-After, once",
        by_backend(too_many(JUST_NOW), is_read, times=1),
        OVERCOME,
        options=PERSISTENT,
    ),
    Fault("429 until tomorrow", by_backend(too_many(TOMORROW)), UNAVAILABLE),
    Fault(
        "500 after every write",
        on(misdeeds.answering(500, after=True), is_write),
        UNAVAILABLE,
        otherwise={"conjur": OVERCOME},  # which never believes a write before it has read it
    ),
    Fault(
        "500 after each other write",
        lambda ground: ground.between.misbehaving(
            misdeeds.answering(500, after=True), when=every_second(is_write)
        ),
        OVERCOME,
        options=PERSISTENT,
    ),
    Fault("503", on(misdeeds.answering(503, PAGE)), UNAVAILABLE),
    Fault(
        "503 sealed",
        on(vault(503, "Vault is sealed")),
        UNAVAILABLE,
        ("sealed",),
        backends=("vault",),
    ),
    Fault("garbage", on(misdeeds.garbage), UNAVAILABLE),
    Fault("garbage for what is read", on(misdeeds.garbage, is_read), UNAVAILABLE),
    Fault("half a body", on(misdeeds.truncated), UNAVAILABLE),
    Fault("stale reads", stale_reads, CORRUPT, ("revision", "nothing was changed")),
    Fault(
        "the server's clock an hour ahead",
        on(misdeeds.skewed(timedelta(hours=1))),
        ("", 75),
        ("clock",),
        elsewhere=True,
    ),
    Fault(
        "login refused",
        by_backend(
            {
                "aws": aws(400, "UnrecognizedClientException"),
                "conjur": misdeeds.answering(401),
                "vault": vault(403, "permission denied", "invalid token"),
            }
        ),
        DENIED,
    ),
    Fault(
        "token expired",
        by_backend(
            {
                "aws": aws(400, "ExpiredTokenException"),
                "conjur": misdeeds.answering(401, b"Unauthorized: Invalid token"),
                "vault": vault(403, "permission denied", "invalid token"),
            },
            lambda request: not is_login(request),
            skip=2,
            times=1,
        ),
        DENIED,
        otherwise={"aws": OVERCOME, "conjur": OVERCOME},
    ),
    Fault(
        "our clock is wrong, says AWS",
        on(aws(400, "RequestExpired")),
        DENIED,
        ("clock",),
        backends=("aws",),
    ),
    Fault(
        "quota reached",
        by_backend(
            {
                "aws": aws(400, "LimitExceededException"),
                "conjur": misdeeds.answering(507),
                "vault": vault(507, "storage quota exceeded"),
            },
            is_write,
        ),
        UNAVAILABLE,
    ),
)
