"""One key set on a real server behind the fault proxy: its configuration, and what became of it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import jwt

from rotator.stores import Store, find_backend
from tests.servers import RunningServer, running
from tests.servers.exchange import Request
from tests.servers.proxy import Proxy
from tests.servers_e2e.leftovers import LOCATORS

REMOTE: Final = ("aws", "conjur", "vault")

SLOW: Final = {"token_ttl": "15m", "signer_lag": "5m"}
DUE: Final = timedelta(days=91)
"""How far a clock must be ahead of the last promotion that the next one is due (`rotate_every` is 90 d)."""

GRACE: Final = timedelta(hours=1)
"""After this the previous key of such a policy may retire."""

PATIENT: Final = {"connect_timeout": "10s", "read_timeout": "20s", "attempts": 6, "patience": "20s"}

# A store gives up after two tries, so that no test waits for one. Its time does not matter: what answers at
# all answers soon, or stands still for a while on a busy machine, and that is not what is tested.
IMPATIENT: Final = PATIENT | {"attempts": 2, "patience": "60s"}

# Where a server hangs, time is what ends it.
HURRIED: Final = {"connect_timeout": "1s", "read_timeout": "400ms", "patience": "2s"}

_READS_OF_AWS: Final = ("Get", "Describe", "List", "BatchGet", "Validate")


def is_write(request: Request) -> bool:
    """True for a request that changes what a server stores for us; a login changes nothing."""
    target = request.header("X-Amz-Target")
    if target:
        return not target.rpartition(".")[2].startswith(_READS_OF_AWS)
    if request.header("Authorization").startswith("AWS4-"):
        return False  # STS
    if request.path.startswith(("/v1/auth/", "/v1/sys/")) or request.path.endswith("/authenticate"):
        return False
    return request.method in {"POST", "PUT", "PATCH", "DELETE"}


def is_read(request: Request) -> bool:
    """True for a request that reads what we stored."""
    target = request.header("X-Amz-Target")
    if target:
        return not is_write(request)
    login = request.path.startswith(("/v1/auth/", "/v1/sys/")) or "authn" in request.path
    return request.method == "GET" and not login


def is_login(request: Request) -> bool:
    """True for a request with which an identity proves itself."""
    return request.path.startswith("/v1/auth/") or request.path.endswith("/authenticate")


@dataclass
class Ground:
    """A key set of ES256, `orders` unless named, in an empty place of a server, its documents in local files.

    Attributes:
        options: what differs in the store's options.
        more: what else is in the configuration.
        shift: how far the clocks of its commands are ahead by now.
        marks: how many requests the proxy had seen, each time that a test noted it.
        stored: signers and verifiers may also read their documents in the store.
        own: a server that only this test uses; else it is that of the test process.
    """

    backend: str
    path: Path
    proxy: Proxy | None = None
    options: Mapping[str, Any] = field(default_factory=lambda: PATIENT)
    policy: Mapping[str, str] = field(default_factory=lambda: SLOW)
    prefix: str = field(default_factory=lambda: f"e2e-{uuid.uuid4().hex[:12]}")
    more: Mapping[str, Any] = field(default_factory=dict)
    shift: timedelta = timedelta(0)
    marks: list[int] = field(default_factory=list)
    own: RunningServer | None = None
    name: str = "orders"
    stored: bool = False
    _store: Store | None = None

    def __post_init__(self) -> None:
        self.path.mkdir(exist_ok=True, parents=True)
        for name in ("signing", "jwks"):
            (self.path / name).mkdir(exist_ok=True)
        if self.backend == "file":
            self.settings: dict[str, Any] = {"path": str(self.path / "store")}
        else:
            url = self.proxy.url if self.proxy is not None else None
            self.settings = self.server.settings(self.prefix, url=url)
        self.configure()

    def configure(self, **options: Any) -> None:
        """Write the configuration, with some of the store's options changed."""
        timing = {} if self.backend == "file" else dict(self.options)
        deliver: list[dict[str, str]] = [{"to": "files", "path": str(self.signing.parent)}]
        publish: list[dict[str, str]] = [{"to": "file", "path": str(self.jwks)}]
        if self.stored:
            for targets in (deliver, publish):
                targets.append({"to": "store", "store": self.backend})
        document = {
            "version": 1,
            "state_dir": "state",
            "stores": {
                self.backend: {"backend": self.backend, **self.settings, **timing, **options}
            },
            "key_sets": {
                self.name: {
                    "algorithm": "ES256",
                    "store": self.backend,
                    "policy": dict(self.policy),
                    "deliver": deliver,
                    "publish": publish,
                }
            },
            **self.more,
        }
        self.config.write_text(json.dumps(document, indent=1))

    @property
    def server(self) -> RunningServer:
        """The server behind it."""
        return self.own or running(self.backend)

    @property
    def between(self) -> Proxy:
        """The proxy before the server; there is one."""
        assert self.proxy is not None
        return self.proxy

    @property
    def signing(self) -> Path:
        """What signers read."""
        return self.path / "signing" / self.name / "signing.json"

    @property
    def jwks(self) -> Path:
        """What verifiers read."""
        return self.path / "jwks" / f"{self.name}.json"

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.path / "rotator.json"

    @property
    def store(self) -> Store:
        """The store, opened by this process past the proxy."""
        if self._store is None:
            settings = self.settings
            if self.backend != "file":
                past = json.dumps(settings)
                if self.proxy is not None:
                    past = past.replace(self.proxy.url, self.server.url)
                settings = json.loads(past) | dict(PATIENT)
            backend = find_backend(self.backend)
            self._store = backend.open(backend.settings()(**settings))
        return self._store

    def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            self._store.close()

    def ring(self) -> dict[str, Any]:
        """The ring as the server holds it."""
        stored = self.store.rings(self.name).load()
        assert stored is not None, "there is no ring"
        ring: dict[str, Any] = json.loads(stored.document)
        return ring

    def kids(self, phase: str) -> list[str]:
        """The kids of the ring's keys in a phase."""
        return [key["kid"] for key in self.ring()["keys"] if key["phase"] == phase]

    def materials(self) -> dict[str, bytes]:
        """The material of every key that the ring has now, by kid."""
        material = self.store.material(self.name)
        read = {
            key["kid"]: material.get(key["locator"], key["kid"])
            for key in self.ring()["keys"]
            if key.get("locator")
        }
        return {kid: found.reveal() for kid, found in read.items() if found is not None}

    def documents(self) -> tuple[bytes | None, bytes | None]:
        """What signers and verifiers read."""
        signing, jwks = (
            file.read_bytes() if file.exists() else None for file in (self.signing, self.jwks)
        )
        return signing, jwks

    def signs_and_verifies(self) -> str:
        """Sign with what signers read, verify with what verifiers read, and return the kid."""
        signing, jwks = self.documents()
        assert signing is not None
        assert jwks is not None
        document = json.loads(signing)
        key = jwt.PyJWK(document["jwk"])
        token = jwt.encode({"sub": "e2e"}, key.key, "ES256", headers={"kid": document["kid"]})
        found = jwt.PyJWKSet.from_json(jwks.decode())[jwt.get_unverified_header(token)["kid"]]
        jwt.decode(token, found.key, ["ES256"])
        return str(document["kid"])

    def assert_sound(self) -> dict[str, Any]:
        """One key signs, one is next, material and documents are the ring's, and nothing is left over."""
        ring = self.ring()
        phases = [key["phase"] for key in ring["keys"]]
        assert phases.count("active") == 1, phases
        assert phases.count("pending") == 1, phases
        assert "creating" not in phases, phases
        material = self.store.material(self.name)
        published = {k["kid"]: k for k in ring["keys"] if k["phase"] in _PUBLISHED}
        for kid, key in published.items():
            assert material.get(key["locator"], kid) is not None, f"{kid} is lost"
        # A discarded key stays until its creator, were it only stalled, can write no more (decision 0005).
        known = {str(key.get("locator")) for key in ring["keys"]}
        assert LOCATORS[self.backend](self) <= known, "an orphan"
        signing, jwks = self.documents()
        assert signing is not None
        assert jwks is not None
        if self.stored:
            documents = self.store.documents()
            assert documents is not None
            for what, content in (("signing", signing), ("jwks", jwks)):
                found = documents.read(f"{self.name}/{what}")
                assert found is not None
                assert _unnumbered(found.body) == _unnumbered(content), what
        assert {key["kid"] for key in json.loads(jwks)["keys"]} == set(published)
        assert self.signs_and_verifies() == self.kids("active")[0]
        return ring


def _unnumbered(document: bytes) -> dict[str, Any]:
    """A document without its revision: one that was written before a kill may be a revision older."""
    return {name: value for name, value in json.loads(document).items() if name != "revision"}


_PUBLISHED: Final = {"active", "pending", "retiring"}
