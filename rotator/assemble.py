"""From settings to key sets that can be ticked: the one place that knows every kind of wall.

Stores are opened when first needed, and each once; targets are made without touching them.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rotator.errors import ConfigError, RotatorError
from rotator.hostclock import HostClock
from rotator.keys import KeyMaker, Keys
from rotator.kubernetes.settings import ClusterSettings
from rotator.leftovers import cleaning_command
from rotator.objects import ObjectStore, find_objects
from rotator.reconcile.look import Clock
from rotator.reconcile.site import Emit, Site
from rotator.reconcile.together import one_by_one, together
from rotator.ring import KeyRing
from rotator.settings.result import KeySetSettings, Settings
from rotator.settings.targets import ObjectSettings
from rotator.stores import DocumentKind, Store, Target, find_backend
from rotator.targets import Stores, is_apart, is_elsewhere, is_far, open_target

if TYPE_CHECKING:
    from rotator.kubernetes.cluster import Cluster
    from rotator.signers.wall import SignerCheck


class Assembly:
    """The key sets of one configuration, and the stores that they share.

    Args:
        settings: the whole configuration.
        emit: where events go.
        clock: the host's unless told otherwise.
        keys: the real key maker unless told otherwise.
    """

    def __init__(
        self,
        settings: Settings,
        emit: Emit,
        *,
        clock: Clock | None = None,
        keys: KeyMaker | None = None,
    ) -> None:
        self.settings = settings
        self.clock: Clock = clock or HostClock()
        self.emit = emit
        self._keys: KeyMaker = keys or Keys()
        self._server_url: str | None = None
        self._stores: dict[str, Store] = {}
        self._buckets: dict[str, ObjectStore] = {}
        self._clusters: dict[ClusterSettings, Cluster] = {}
        self._opening: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def opened(self) -> list[Store | ObjectStore | Cluster]:
        """The stores, buckets and clusters that are open."""
        return [*self._stores.values(), *self._buckets.values(), *self._clusters.values()]

    def successor(self, settings: Settings) -> Assembly:
        """Return the assembly of a changed configuration, with the stores that are the same in both.

        They keep their logins and connections; whichever of the two is closed first says so with `keeping`.
        """
        made = Assembly(settings, self.emit, clock=self.clock, keys=self._keys)
        made._stores = {
            name: store
            for name, store in list(self._stores.items())
            if settings.stores.get(name) == self.settings.stores[name]
        }
        wanted = {item.login for one in settings.key_sets.values() for item in one.objects}
        made._buckets = {name: one for name, one in list(self._buckets.items()) if name in wanted}
        made._clusters = dict(self._clusters)  # one that no target names any more costs nothing
        return made

    def close(self, *, keeping: Iterable[Assembly] = ()) -> None:
        """Let go of every store that was opened.

        Args:
            keeping: others that may have the same stores open; those stay.
        """
        kept = {id(store) for other in keeping for store in other.opened}
        for store in self.opened:
            if id(store) not in kept:
                store.close()
        self._stores.clear()
        self._buckets.clear()
        self._clusters.clear()

    def store(self, name: str) -> Store:
        """Return a store, opened at most once whoever asks.

        Raises:
            BackendMissing: its backend, or an SDK that it needs, is not installed.
            StoreUnavailable, StoreDenied: it cannot be opened.
        """
        with self._lock:
            opening = self._opening.setdefault(name, threading.Lock())
        # A lock for each: one that takes its time to say that it is down holds up none of the others.
        with opening:
            if name not in self._stores:
                configured = self.settings.stores[name]
                self._stores[name] = find_backend(configured.backend).open(configured.options)
            return self._stores[name]

    def bucket(self, item: ObjectSettings) -> ObjectStore:
        """Return the bucket of a publication, opened at most once for all entries with the same options.

        Raises:
            BackendMissing: an SDK that it needs is not installed.
        """
        login = item.login
        with self._lock:  # opening connects to nothing, but a login must be made once
            if login not in self._buckets:
                self._buckets[login] = find_objects(item.backend).open(item.options)
            return self._buckets[login]

    def cluster(self, settings: ClusterSettings) -> Cluster:
        """Return the API server of Kubernetes, one for all targets with the same login; nothing is connected."""
        from rotator.kubernetes.cluster import Cluster

        with self._lock:
            return self._clusters.setdefault(settings, Cluster(settings))

    def sites(self, server_url: str | None = None) -> Iterator[Site]:
        """Yield every key set.

        Args:
            server_url: where this process's own HTTP server answers, once it listens (`rotator run`):
                it is a target only of the process that runs it (DESIGN §3, rule 1).

        Raises: as `site`.
        """
        self._server_url = server_url
        for name in self.settings.key_sets:
            yield self.site(name)

    def site(self, key_set: str, *, reading: bool = False) -> Site:
        """Return one key set, ready to be ticked. Nothing is read or written yet.

        Args:
            reading: only its ring will be read, so that it may have nothing to look at.

        Raises:
            ConfigError: this process has nothing to look at, or no signing target (rules 1 and 2).
        """
        configured = self.settings.key_sets[key_set]
        targets = tuple(self._targets(configured))
        if not reading:
            self._refuse_blind(configured, targets)
        store = self.store(configured.store)
        rings = store.rings(key_set)
        # Backends may say where the ring lies; those that do not are named by their store.
        place = getattr(rings, "place", "") or f"store {configured.store}"
        return Site(
            key_set=key_set,
            policy=configured.policy,
            rings=rings,
            material=store.material(key_set),
            targets=targets,
            keys=self._keys,
            clock=self.clock,
            emit=self.emit,
            spread=together if self._is_far(configured) else one_by_one,
            place=str(place),
            verifiers=configured.verifiers,
            signers=self._signer_checks(configured),
            cleaning=self._cleaning,
        )

    def refresh_neighbour(self, site: Site, ring: KeyRing) -> None:
        """Bring what another process of this host serves up to a ring that was just changed here.

        A daemon's own server is that daemon's target, and it would follow within its `resync`. Where its
        public directory is this host's too, an operator's order need not wait for that. A fault here is the
        daemon's to find: nothing is raised for it.
        """
        if self.settings.server is None or site.policy.kind.symmetric or not ring.published:
            return
        from rotator.documents import jwks_document
        from rotator.publication.file import FilePublication
        from rotator.publication.server import public_file

        path = public_file(self.settings.public_dir, site.key_set)
        if not path.exists():
            return
        wanted = jwks_document(ring, site.policy)
        with contextlib.suppress(RotatorError):
            publication = FilePublication(path, site.key_set)
            there = publication.look().document
            if there is not None and there.key_set == site.key_set and there.body != wanted.body:
                publication.write(wanted, replacing=there.token)

    def _targets(self, configured: KeySetSettings) -> Iterator[Target]:
        name = configured.name
        for item in (*configured.deliver, *configured.publish):
            yield open_target(item, name, self._away(configured))
        if self._server_url is not None and not configured.policy.kind.symmetric:
            from rotator.publication.server import ServerPublication

            yield ServerPublication(self._server_url, self.settings.public_dir, name)
        for probe in configured.probes:
            from rotator.probes import UrlProbe

            yield UrlProbe(probe.url, name, all_addresses=probe.all_addresses)

    def _away(self, configured: KeySetSettings) -> Stores:
        """Return how the targets of a key set get at the stores."""
        stores = self.settings.stores
        own = stores[configured.store]
        return Stores(
            self.store,
            lambda name: is_elsewhere(own, stores[name]),
            self.bucket,
            lambda item: is_apart(own, item),
            self.cluster,
        )

    def _signer_checks(self, configured: KeySetSettings) -> tuple[SignerCheck, ...]:
        if not configured.signer_checks:
            return ()
        from rotator.signers.configured import open_check

        return tuple(open_check(item) for item in configured.signer_checks)

    def _cleaning(self, target: str) -> str:
        kind, _, address = target.partition(":")
        store, _, name = address.partition("/")
        configured = self.settings.stores.get(store) if kind == "store" else None
        if configured is not None:
            removal = find_backend(configured.backend).removal
            if removal is not None:
                return removal(configured.options, name)
        return cleaning_command(target)

    def _is_far(self, configured: KeySetSettings) -> bool:
        """Tell whether a look or a write may take long: at a URL, or at another store than the ring's."""
        targets = (*configured.deliver, *configured.publish)
        looked_at = (*configured.probes, *configured.signer_checks)
        return bool(looked_at) or any(is_far(item, configured.store) for item in targets)

    def _refuse_blind(self, configured: KeySetSettings, targets: Iterable[Target]) -> None:
        kinds = {target.kind for target in targets}
        name = configured.name
        if DocumentKind.SIGNING not in kinds:
            raise ConfigError(
                f"key set {name} has no signing delivery: its keys would reach no signer",
                hint=f"add one to `key_sets.{name}.deliver`, such as {{to: files, path: …}} "
                "or {to: store, store: …}",
            )
        if kinds != {DocumentKind.SIGNING}:
            return
        if configured.policy.kind.symmetric:
            raise ConfigError(
                f"key set {name} has no verification document: nobody could verify",
                hint=f"add {{to: files, document: verification, path: …}} to `key_sets.{name}.deliver`",
            )
        raise ConfigError(
            f"key set {name} has nothing that this command could look at: the built-in server counts "
            "only for `rotator run`, which runs it",
            hint=f"add a file to `key_sets.{name}.publish`, or the URL that verifiers read to "
            f"`key_sets.{name}.probes`",
        )


def served(settings: Settings) -> Any:
    """Return what the built-in server of this configuration serves (a `rotator.server.Site`)."""
    from rotator.server.configured import configured_site

    return configured_site(settings)
