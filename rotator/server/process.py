"""The parent's side of the server: a child process that is started, watched, replaced and ended.

A process of its own, so that making a key (seconds of CPU) never blocks serving, and so that what faces
the network holds neither key material nor the credentials of a store.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass
from http.client import HTTPException
from time import monotonic
from typing import Final

from rotator.errors import ConfigError, StoreUnavailable, TargetFailing
from rotator.publication.own import ask
from rotator.server.child import Child, logger
from rotator.server.listener import UNIX, Handover, ask_for, bind
from rotator.server.site import HEALTH, Site
from rotator.server.tls import Tls, TlsWatch

CONNECTIONS: Final = 10_240
_FIRST_WAIT: Final = 0.5  # seconds before a restart; doubled each time
_LONGEST_WAIT: Final = 30.0
_HEALTHY: Final = 60.0  # seconds after which an end counts as the first again
_LOOK: Final = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class Options:
    """What else there is to say of a server.

    Attributes:
        tls: certificate and key; read again when they are replaced. None serves plain HTTP.
        connections: how many at a time; more wait in the backlog.
        pulse: seconds between two signs of life, of which a child may miss a few before it is replaced.
        handover: whether the listening socket is taken over from an older process with the same state
            directory, and passed on to a newer one.
    """

    tls: Tls | None = None
    connections: int = CONNECTIONS
    pulse: float = 5.0
    handover: bool = True


class ServerProcess:
    """The built-in HTTP server, in a child process that dies with this one.

    The listening socket is made here and handed down, so a child that is restarted keeps the address, and
    connections made in between wait instead of being refused. A child that is replaced (another site,
    another certificate) accepts no more once the next one serves, tells each client to come anew with its
    next answer, and then ends: no request fails.

    Args:
        host: address or name to listen at; `::` serves IPv4 too; `unix:/PATH` is a Unix socket.
        port: TCP port; 0 takes a free one, see `address`.
        site: what is served.
        options: TLS and limits.
    """

    def __init__(self, host: str, port: int, site: Site, options: Options | None = None) -> None:
        self._host, self._port = host, port
        self._site = site
        self._options = options or Options()
        self._socket: socket.socket | None = None
        self._handover: Handover | None = None
        self._child: Child | None = None  # the one that serves
        self._next: Child | None = None  # the one that is being started
        self._children: set[Child] = set()  # all that have not ended, those that leave included
        self._generation = 0  # of what is to be served
        self._certificate = TlsWatch(None)
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._news = threading.Event()
        self._try_at = self._spawned_at = 0.0
        self._wait = _FIRST_WAIT
        self.restarts = 0
        """How often a child ended by itself, or hung, and was started again."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port listened at. Raises StoreUnavailable before `start` and after `stop`."""
        if self._socket is None:
            raise StoreUnavailable("the server is not running", hint="start it first")
        if self._host.startswith(UNIX):
            return self._host, 0
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    @property
    def url(self) -> str:
        """The server's URL from this machine, without a final slash; `unix:/PATH` for a Unix socket."""
        host, port = self.address
        if host.startswith(UNIX):
            return host
        scheme = "http" if self._options.tls is None else "https"
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        child = self._child or self._next
        return child.pid if child is not None and child.process.poll() is None else None

    def start(self, timeout: float = 30.0) -> None:
        """Listen, start the child, and wait until it serves.

        Args:
            timeout: seconds to wait; the child goes on being started in the background after them.

        Raises:
            TargetFailing, ConfigError: see `bind` and `Tls.read`; nothing was started.
            StoreUnavailable: the child did not serve in time, or ended at once.
        """
        if self._thread is not None:
            return
        self._certificate = TlsWatch(self._options.tls)
        self._socket = self._listen()
        self._stopping.clear()
        self._thread = threading.Thread(target=self._supervise, name="server", daemon=True)
        self._thread.start()
        if not self._ready.wait(timeout):
            raise StoreUnavailable(
                f"the server at {self.url} did not start within {timeout:g} s",
                hint="it is tried again in the background; see the log for `server.died`",
            )

    def ensure(self) -> bool:
        """Return whether a child serves now; if one ended, do not wait any longer to start another."""
        self._try_at = 0.0
        self._news.set()
        return self._ready.is_set()

    def replace_site(self, site: Site) -> None:
        """Serve something else, at the same address, as soon as another child can take over."""
        with self._lock:
            self._site = site
            self._generation += 1
        self._news.set()

    def stop(self, timeout: float = 10.0) -> None:
        """End the child, after the requests under way; kill it when it takes longer than `timeout` seconds."""
        with self._lock:
            self._stopping.set()
            leaving = list(self._children)
            for child in leaving:
                child.end()
        self._news.set()
        until = monotonic() + timeout
        for child in leaving:
            if not child.ended.wait(max(until - monotonic(), 0.0)):
                child.kill()
                child.ended.wait()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._handover is not None:
            self._handover.close()
            self._handover = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._ready.clear()

    def _listen(self) -> socket.socket:
        # Beside what is public, not in it.
        door = self._site.public_dir.parent / "handover.sock"
        try:
            listener = bind(self._host, self._port)
        except TargetFailing:
            passed = ask_for(door, self._host, self._port) if self._options.handover else None
            if passed is None:
                raise
            logger().info("server.took_over", address=f"{self._host}:{self._port}")
            listener = passed
        if self._options.handover:
            self._handover = Handover(door, listener)
        return listener

    def _supervise(self) -> None:
        judged = monotonic()
        while not self._stopping.is_set():
            self._notice()
            now = monotonic()
            if now - judged >= self._options.pulse:
                judged = now
                self._judge()
                self._look_at_certificate()
            self._spawn_if_due()
            until = judged + self._options.pulse
            if self._wants_another() and self._next is None:
                until = min(until, self._try_at)
            self._news.wait(max(until - monotonic(), 0.0))
            self._news.clear()
        self._child = self._next = None

    def _wants_another(self) -> bool:
        return self._child is None or self._child.generation != self._generation

    def _notice(self) -> None:
        """Take in who serves by now, and who ended."""
        with self._lock:
            for child in [one for one in self._children if one.ended.is_set()]:
                self._children.discard(child)
                if child in {self._child, self._next}:
                    self._lost(child)
            successor = self._next
            if successor is None or not successor.started.is_set():
                return
            before, self._child, self._next = self._child, successor, None
            if before is not None:
                before.retire()
        self._ready.set()
        logger().info("server.started", pid=successor.pid, address=self._address_or_none())

    def _lost(self, child: Child) -> None:
        if child is self._child:
            self._child = None
            self._ready.clear()
        else:
            self._next = None
        if monotonic() - self._spawned_at >= _HEALTHY:
            self._wait = _FIRST_WAIT
        self._later()
        self.restarts += 1

    def _later(self) -> None:
        self._try_at = monotonic() + self._wait
        self._wait = min(self._wait * 2, _LONGEST_WAIT)

    def _spawn_if_due(self) -> None:
        with self._lock:
            due = self._wants_another() and self._next is None and monotonic() >= self._try_at
            if not due or self._stopping.is_set() or self._socket is None:
                return
            self._spawned_at = monotonic()
            try:
                with self._certificate.handed_down() as (words, files):
                    self._next = Child(
                        self._site,
                        [*self._words(), *words],
                        listener=self._socket.fileno(),
                        files=files,
                        generation=self._generation,
                        news=self._news.set,
                    )
                self._children.add(self._next)
            except OSError as error:
                logger().error("server.died", reason=f"cannot be started: {error.strerror}")
                self._later()

    def _words(self) -> list[str]:
        options = self._options
        words = ["--connections", str(options.connections), "--pulse", str(options.pulse)]
        if self._host.startswith(UNIX):
            words.append("--unix")
        return words

    def _judge(self) -> None:
        child = self._child
        if child is None or child.ended.is_set():
            return
        if reason := child.hangs(self._answers):
            logger().error("server.hung", pid=child.pid, reason=f"{reason}; it is killed")
            child.kill()

    def _answers(self) -> bool:
        try:
            return ask(self.url, HEALTH, timeout=_LOOK).status == 200
        except (OSError, HTTPException, StoreUnavailable):
            return False

    def _look_at_certificate(self) -> None:
        try:
            if self._certificate.changed():
                logger().info("server.certificate_changed")
                with self._lock:
                    self._generation += 1
        except ConfigError as error:
            logger().error("server.certificate_refused", reason=error.message)

    def _address_or_none(self) -> str | None:
        with contextlib.suppress(StoreUnavailable, OSError):
            return self.url
        return None
