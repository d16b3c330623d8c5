"""A Conjur server in this process, and stores in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rotator.testing.conjur import ConjurServer
from rotator_conjur.client import Conjur
from rotator_conjur.settings import ConjurSettings
from rotator_conjur.store import ConjurStore
from tests.servers.conjur import place_policy

RING = "rotator/orders/ring"
SLOT = "rotator/orders/material/slot-01"
SIGNING = "rotator/orders/signing"


@dataclass
class Ground:
    """A server with the variables of `orders` declared, and a host that may use them."""

    server: ConjurServer
    scratch: Path
    opened: list[ConjurStore | Conjur] = field(default_factory=list)

    def host(self, name: str, policy: str = "") -> dict[str, Any]:
        """Declare a host, load policy after it, and return the options of its login."""
        keys = self.server.load_policy(f"- !host {name}\n{policy}")
        file = self.scratch / f"{name}.key"
        if f"host/{name}" in keys:
            file.write_text(keys[f"host/{name}"], encoding="ascii")
        return {"method": "api-key", "login": f"host/{name}", "api_key_file": str(file)}

    def settings(self, **options: Any) -> ConjurSettings:
        """Return the settings of a store; the host `rotator` unless told otherwise."""
        given = {
            "url": self.server.url,
            "account": "dev",
            "auth": self.host("rotator"),
            "attempts": 2,
            **options,
        }
        return ConjurSettings.model_validate(given)

    def store(self, **options: Any) -> ConjurStore:
        """Return a new handle."""
        store = ConjurStore(self.settings(**options))
        self.opened.append(store)
        return store

    def client(self, **options: Any) -> Conjur:
        """Return the calls beneath a store."""
        conjur = Conjur(self.settings(**options))
        self.opened.append(conjur)
        return conjur


@contextlib.contextmanager
def ground(scratch: Path, **options: Any) -> Iterator[Ground]:
    """Start a server, declare `orders`, and close every store when the test is over."""
    with ConjurServer(commit_delay=0.001, **options) as server:
        found = Ground(server, scratch)
        found.host("rotator", place_policy("rotator", ("orders", "rotator-check"), (), slots=4))
        try:
            yield found
        finally:
            for one in found.opened:
                one.close()
