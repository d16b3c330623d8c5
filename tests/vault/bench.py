"""What the Vault tests share: a store in a place of its own on the real server, and what a test may do as root."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rotator_vault.settings import VaultSettings
from rotator_vault.store import VaultStore
from tests.servers.exchange import Answer, Exchange, Request
from tests.servers.proxy import Action
from tests.servers.vault import VaultServer

RING: Final = b'{"format": "rotator.ring/1", "revision": 1}\n'
NEXT: Final = b'{"format": "rotator.ring/1", "revision": 2}\n'
QUICK: Final[Mapping[str, Any]] = {
    "attempts": 2,
    "connect_timeout": "60s",
    "read_timeout": "60s",
    "patience": "60s",
}
"""For stores whose server misbehaves: two tries, and no moment in which this machine stands still counts as one."""

HURRIED: Final[Mapping[str, Any]] = {**QUICK, "connect_timeout": "1s", "read_timeout": "500ms"}
"""For servers that hang: only time ends a call."""


@dataclass
class Bench:
    """A place of its own on a server, and stores that open it.

    Attributes:
        server: the real Vault.
        home: a directory for secrets in files.
        prefix: the path that is this test's.
    """

    server: VaultServer
    home: Path
    prefix: str = field(default_factory=lambda: f"rotator/t-{uuid.uuid4().hex[:12]}")
    opened: list[VaultStore] = field(default_factory=list)

    def store(self, **changes: Any) -> VaultStore:
        """Open a store: as root, where the options do not say otherwise."""
        options = self.server.settings("any") | {"prefix": self.prefix} | changes
        store = VaultStore(VaultSettings(**options))
        self.opened.append(store)
        return store

    def secret(self, name: str, content: str) -> Path:
        """Write a file with a secret, in place of what was there."""
        path = self.home / name
        path.write_text(content + "\n", encoding="utf-8")
        return path

    def path(self, rest: str = "orders/ring") -> str:
        """A path below the mount."""
        return f"{self.prefix}/{rest}"

    def token(self, policy: str | None, **options: Any) -> str:
        """Make a token with a policy of its own, `default` beside it; None is `default` alone."""
        name = f"p-{uuid.uuid4().hex[:12]}"
        if policy is not None:
            self.server.do("PUT", f"sys/policies/acl/{name}", {"policy": policy})
        policies = ["default"] if policy is None else [name]
        made = self.server.do("POST", "auth/token/create", {"policies": policies, **options})
        return str(made["auth"]["client_token"])

    def enable(self, method: str, **config: Any) -> str:
        """Mount a login method anew for this test, and return where."""
        mount = f"{method}-{uuid.uuid4().hex[:8]}"
        self.server.do("POST", f"sys/auth/{mount}", {"type": method, **config})
        return mount

    def engine(self, mount: str) -> None:
        """Mount KV version 2, and wait: it is made ready in the background, and answers with 400 until then."""
        body = {"type": "kv", "options": {"version": "2"}}
        self.server.do("POST", f"sys/mounts/{mount}", body)
        until(lambda: self.server.request("GET", f"{mount}/config")[0] == 200)

    def policy(self, store: VaultStore, **options: Any) -> str:
        """Write what a store says that a rotator needs as a policy, and return its name."""
        from rotator.inspection import Role

        name = f"p-{uuid.uuid4().hex[:12]}"
        text = store.policy(Role.ROTATOR, **options)
        self.server.do("PUT", f"sys/policies/acl/{name}", {"policy": text})
        return name


def below(part: str) -> Callable[[Request], bool]:
    """Match requests with this in their path."""
    return lambda request: part in request.path


def reply(status: int, body: Mapping[str, Any], **headers: str) -> Action:
    """Answer as Vault does, in JSON."""
    answer = Answer(
        status,
        (("Content-Type", "application/json"), *headers.items()),
        json.dumps(body).encode(),
    )

    def act(exchange: Exchange) -> None:
        exchange.send(answer)

    return act


def granted(token: str, **more: Any) -> dict[str, Any]:
    """The body with which Vault grants a login."""
    auth = {"client_token": token, "lease_duration": 3600, "renewable": True, **more}
    return {"auth": {"token_type": "service", "policies": ["default"], **auth}}


def until(condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Wait until something is so.

    Raises:
        AssertionError: it is not so in time.
    """
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.05)


def logins(logged: list[Any]) -> Iterator[str]:
    """The logins and refreshes among captured log events."""
    for entry in logged:
        if str(entry.get("op", "")).startswith(("login", "logout")):
            yield str(entry["op"])
