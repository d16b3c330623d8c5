"""A proxy in front of a real server that misbehaves as told: per request by a script, or at random by a seed.

It speaks HTTP/1.1 (over TLS if asked), reads each request and each answer whole, and hands both to an
*action*: a function that forwards, answers, delays or breaks off. `tests.servers.misdeeds` has the actions.
Nothing here sleeps: what hangs, hangs until the client goes away or the misdeed is over.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self
from urllib.parse import urlsplit

from tests.servers import free_port
from tests.servers.exchange import HOP, Answer, Exchange, Gone, Request, read_request

_BOUND: Final = 60.0  # seconds; nobody waits longer for the server behind

Action = Callable[[Exchange], None]
When = Callable[[Request], bool]


def anything(_request: Request) -> bool:
    """Match every request."""
    return True


@dataclass(slots=True)
class Rule:
    """What is done with requests: those that `when` picks, after the first `skip` of them, `times` times."""

    action: Action
    when: When = anything
    skip: int = 0
    times: int | None = None
    share: float = 1.0
    hit: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def takes(self, request: Request, dice: random.Random) -> bool:
        """True when this request is treated by this rule."""
        if self.over.is_set() or not self.when(request):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if (self.times is not None and self.hit >= self.times) or dice.random() >= self.share:
            return False
        self.hit += 1
        return True


class Proxy:
    """Listens on a free loopback port and passes on to a server, as the rules have it.

    Args:
        upstream: the server's URL (http).
        tls: serve TLS with this context.
        seed: of all chance.
    """

    def __init__(self, upstream: str, *, tls: ssl.SSLContext | None = None, seed: int = 0) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._tls = tls
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._taken: dict[int, Rule] = {}
        self._clients: set[socket.socket] = set()
        self._greeting: bytes | None = None
        self._open = True
        self.seen: list[Request] = []
        self.connections = 0
        self._earlier: dict[Any, list[tuple[int, Answer]]] = {}
        # A port that the kernel gives to nobody else while `refusing` lets go of it for a moment.
        self.port = free_port()
        self._listener = self._bind(self.port)
        self._listen()

    @property
    def treated(self) -> int:
        """How many requests fell under a rule."""
        return len(self._taken)

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, and every connection."""
        self._open = False
        for rule in self._rules:
            rule.over.set()
        self._hang_up()

    # What it does with requests

    @contextlib.contextmanager
    def misbehaving(
        self,
        action: Action,
        *,
        when: When = anything,
        skip: int = 0,
        times: int | None = None,
        share: float = 1.0,
    ) -> Iterator[Rule]:
        """Treat some requests otherwise while the block runs; later rules go before earlier ones."""
        rule = Rule(action, when, skip, times, share)
        with self._lock:
            self._rules.insert(0, rule)
        try:
            yield rule
        finally:
            rule.over.set()
            with self._lock:
                self._rules.remove(rule)

    def any_of(self, actions: Sequence[Action]) -> Action:
        """Return an action that does one of several, by chance."""

        def act(exchange: Exchange) -> None:
            with self._lock:
                chosen = self._dice.choice(actions)
            chosen(exchange)

        return act

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse connections while the block runs, and drop those there are; nobody else gets the port."""
        self._hang_up()
        self._listener = self._bind(self.port)  # bound and not listening: the kernel refuses
        try:
            yield
        finally:
            self._listen()

    @contextlib.contextmanager
    def greeting(self, content: bytes) -> Iterator[None]:
        """Say this to every new connection and hang up, before any request or handshake."""
        self._greeting = content
        self.drop_connections()
        try:
            yield
        finally:
            self._greeting = None

    def forgiven(self, request: Request) -> bool:
        """True when the rule that a request fell under is over."""
        rule = self._taken.get(request.number)
        return not self._open or (rule is not None and rule.over.is_set())

    def earlier(self, request: Request, before: int) -> Answer | None:
        """Return the newest answer to the same question asked before the request of that number."""
        with self._lock:
            known = list(self._earlier.get(request.key, ()))
        return next((answer for number, answer in reversed(known) if number < before), None)

    def ask_server(self, request: Request) -> Answer:
        """Pass a request on and return the answer, which is remembered for `earlier`."""
        connection = http.client.HTTPConnection(*self._upstream, timeout=_BOUND)
        try:
            connection.putrequest(
                request.method, request.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in request.headers:
                if name.lower() not in HOP:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(request.body)))
            connection.putheader("Connection", "close")
            connection.endheaders(request.body)
            found = connection.getresponse()
            answer = Answer(found.status, tuple(found.getheaders()), found.read())
        finally:
            connection.close()
        with self._lock:
            self._earlier.setdefault(request.key, []).append((request.number, answer))
        return answer

    # Sockets

    @staticmethod
    def _bind(port: int) -> socket.socket:
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
        return bound

    def _listen(self) -> None:
        self._listener.listen(128)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._listener.close()
        self.drop_connections()

    def drop_connections(self) -> None:
        """Break off every connection that there is."""
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            self.connections += 1
            self._clients.add(client)
        plain = client
        try:
            if self._greeting is not None:
                client.sendall(self._greeting)
                return
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            with client.makefile("rb") as reader:
                while (request := read_request(reader)) is not None:
                    self._treat(Exchange(self, client, self._note(request)))
        except (Gone, OSError, http.client.HTTPException, ValueError):
            pass
        finally:
            with self._lock:
                self._clients.discard(plain)
            client.close()

    def _note(self, request: Request) -> Request:
        with self._lock:
            noted = replace(request, number=len(self.seen) + 1)
            self.seen.append(noted)
        return noted

    def _treat(self, exchange: Exchange) -> None:
        request = exchange.request
        with self._lock:
            rule = next((r for r in self._rules if r.takes(request, self._dice)), None)
            if rule is not None:
                self._taken[request.number] = rule
        if rule is None:
            exchange.send(exchange.forward())
        else:
            rule.action(exchange)
