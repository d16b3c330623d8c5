"""What the chaos plays on: stores behind fault proxies, configurations of the replicas, an nginx cache before them."""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tests.campaign.processes import HTTP_CACHE, POLICY, Pair
from tests.chaos.cache import Cache
from tests.chaos.replica import Replica
from tests.servers import free_port, running
from tests.servers.proxy import Proxy
from tests.servers_e2e.ground import Ground

QUICK: Final = {**POLICY, "resync": "1s", "propagation": "4500ms", "rotate_every": "8s"}
"""A rotation takes half a second more than its policy has to: the machine does other things, too."""

OPTIONS: Final = {
    "connect_timeout": "1s",
    "read_timeout": "500ms",
    "attempts": 3,
    "patience": "1500ms",
}

KEY_SETS: Final = {
    "web": ("file", "ES256"),
    "hooks": ("file", "HS256"),
    "payments": ("vault", "EdDSA"),
    "billing": ("aws", "ES256"),
}
"""Each on a store of its own: which kind, and which algorithm."""


class Stage:
    """Key sets and replicas, not yet running.

    Args:
        home: an empty directory for everything.
        key_sets: names of `KEY_SETS`.
        replicas: their names.
        keep: see `Cache`.
        policy: durations of every key set.
    """

    def __init__(
        self,
        home: Path,
        key_sets: Sequence[str],
        replicas: Sequence[str],
        *,
        seed: int = 0,
        keep: str | None = None,
        policy: dict[str, str] | None = None,
    ) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.policy = dict(QUICK if policy is None else policy)
        self._cleanup = contextlib.ExitStack()
        self.proxies: dict[str, Proxy] = {}
        self.grounds: dict[str, Ground] = {}
        self.away: set[str] = set()
        """Key sets whose store is a directory that is not where it should be."""
        self.moving = threading.Lock()
        """Held while such a directory is moved, and while one is read."""
        try:
            for name in key_sets:
                self._ground(name, seed)
            self.ports = {replica: free_port() for replica in replicas}
            self.admin = {replica: free_port() for replica in replicas}
            self.cache = Cache(home / "nginx", list(self.ports.values()), keep=keep)
            self._cleanup.callback(self.cache.stop)
        except BaseException:
            self._cleanup.close()
            raise
        (home / "logs").mkdir()
        self.replicas = {
            replica: Replica(replica, self.configure(replica), home / "logs")
            for replica in replicas
        }

    def _ground(self, name: str, seed: int) -> None:
        backend, _ = KEY_SETS[name]
        proxy = None
        if backend != "file":
            proxy = self._cleanup.enter_context(Proxy(running(backend).url, seed=seed))
            self.proxies[name] = proxy
        ground = Ground(backend, self.home / name, proxy, OPTIONS, self.policy, name=name)
        self._cleanup.callback(ground.close)
        (ground.path / "verification").mkdir()
        self.grounds[name] = ground

    def document(
        self, replica: str, *, without: Sequence[str] = (), **policy: str
    ) -> dict[str, Any]:
        """The configuration of a replica, with some durations changed, without some key sets."""
        stores: dict[str, Any] = {}
        key_sets: dict[str, Any] = {}
        for name, ground in self.grounds.items():
            if name in without:
                continue
            one = json.loads(ground.config.read_text())
            stores[name] = one["stores"][ground.backend]
            key_sets[name] = self._key_set(name, one["key_sets"][name], policy)
        return {
            "version": 1,
            "state_dir": str(self.home / f"state-{replica}"),
            "server": {"listen": f"127.0.0.1:{self.ports[replica]}"},
            "admin": {"listen": f"127.0.0.1:{self.admin[replica]}"},
            "stores": stores,
            "key_sets": key_sets,
        }

    def _key_set(self, name: str, one: dict[str, Any], policy: dict[str, str]) -> dict[str, Any]:
        _, algorithm = KEY_SETS[name]
        made: dict[str, Any] = {
            "algorithm": algorithm,
            "store": name,
            "policy": one["policy"] | policy,
            "deliver": list(one["deliver"]),
        }
        if algorithm.startswith("HS"):
            path = str(self.verification(name).parent)
            made["deliver"].append({"to": "files", "document": "verification", "path": path})
        else:
            # What verifiers read, and each server behind it: the cache may ask any of them.
            servers = (f"http://127.0.0.1:{p}/{name}/jwks.json" for p in self.ports.values())
            made["probes"] = [self.cache.url(name), *servers]
        return made

    def configure(self, replica: str, document: dict[str, Any] | None = None) -> Path:
        """Write a replica's configuration whole, as an operator should; return where it is."""
        path = self.home / f"{replica}.json"
        new = path.with_suffix(".new")
        new.write_text(json.dumps(document or self.document(replica), indent=1))
        new.replace(path)
        return path

    def verification(self, name: str) -> Path:
        """What HMAC verifiers read."""
        return self.grounds[name].path / "verification" / name / "verification.json"

    def pair(self, name: str, rate: float) -> Pair:
        """Start a signer, and a verifier that is as stale as the policy allows."""
        signing = self.grounds[name].signing
        if KEY_SETS[name][1].startswith("HS"):
            return Pair(signing, str(self.verification(name)), http_cache=0, rate=rate)
        # A cache of its own behind nginx, which does not tell it how old the answer is already.
        return Pair(signing, self.cache.url(name), http_cache=HTTP_CACHE, rate=rate)

    def published(self, name: str) -> list[dict[str, Any]]:
        """The keys that verifiers are given now."""
        if KEY_SETS[name][1].startswith("HS"):
            body = self.verification(name).read_bytes()
        else:
            with urllib.request.urlopen(self.cache.url(name), timeout=20) as answer:
                body = answer.read()
        keys: list[dict[str, Any]] = json.loads(body)["keys"]
        return keys

    @contextlib.contextmanager
    def moved_away(self, name: str) -> Iterator[None]:
        """Take the directory of a file store away while the block runs, as an unmounted disk is."""
        store = self.grounds[name].path / "store"
        away = store.with_name("away")
        with self.moving:
            store.rename(away)
            self.away.add(name)
        try:
            yield
        finally:
            with self.moving:
                made = store.exists()
                if not made:
                    away.rename(store)
                    self.away.discard(name)
            assert not made, f"{store} was made anew while it was away"

    def close(self) -> None:
        """End everything that was started here."""
        for replica in self.replicas.values():
            replica.kill()
        self._cleanup.close()
