"""`rotator healthcheck`: asks a running daemon, or server, how it is; for containers without curl.

It is run every few seconds, so it reads of the configuration only where to ask, and loads next to nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import click

from rotator.cli.console import Console
from rotator.cli.options import Options
from rotator.errors import ConfigError, RotatorError, UsageError

FORMAT: Final = "rotator.healthcheck/1"
TIMEOUT: Final = 2.0
"""Seconds for all of it."""

ADMIN: Final = "127.0.0.1:8081"
_HERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
_MOST: Final = 4096  # bytes of an answer that are looked at
_ILL: Final = 1
"""Docker knows 0 and 1 only, and keeps 2 for itself: every fault is a 1."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to ask.

    Attributes:
        host: address or name; or the path of a Unix socket where `port` is 0.
        tls: HTTPS, without a look at the certificate: it is made for another name than this one.
    """

    host: str
    port: int
    path: str
    tls: bool = False

    def __str__(self) -> str:
        if not self.port:
            return f"unix:{self.host}{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.path}"


class _HealthCommand(click.Command):
    """Makes every fault a 1, misspelt words included."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Note the exit code of faults before the words are read."""
        if parent is not None:
            parent.ensure_object(Options)["fault"] = _ILL
        return super().make_context(info_name, args, parent, **extra)


@click.command(cls=_HealthCommand)
@click.option("--url", metavar="URL", help="Ask there, and read no configuration.")
@click.option("--ready", is_flag=True, help="Ask whether it is ready, not only alive.")
@click.pass_obj
def healthcheck(options: dict[str, Any], url: str | None, ready: bool) -> int:
    """Ask a running daemon, or server, how it is.

    Asks the admin listener of the configuration, or else the built-in server. Exit 0: it is alive (with
    --ready: it has a JWKS to serve). 1: it is not, or gives no answer within two seconds, or any fault.
    """
    path = "/readyz" if ready else "/healthz"
    places = [_place_of(url, path)] if url else list(_places(options, path))
    until = time.monotonic() + TIMEOUT
    status, place = _first_answer(places, until)
    console = Console(options)
    if status != 200:
        hint = "its log says why, and so does the body of the answer"
        if status == 404:
            hint = "rotator has /healthz and /readyz, at its admin listener and at its server"
        raise RotatorError(f"{place} answered {status}", hint=hint)
    console.say(f"well: {place}")
    console.document({"format": FORMAT, "url": str(place), "status": status, "exit_code": 0})
    return 0


def _place_of(url: str, default: str) -> Place:
    """Return where a URL says; one that has no path is asked at `default`."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
        host = parts.hostname or ""
    except ValueError:
        port, host = 0, ""
    if not port or not host or not url.isprintable() or " " in url or parts.username is not None:
        raise UsageError(
            "--url takes a URL such as http://127.0.0.1:8081/readyz",
            hint="without it, `admin` or `server` of the configuration says where to ask",
        )
    path = default if parts.path in ("", "/") else parts.path
    return Place(
        host, port, f"{path}?{parts.query}" if parts.query else path, parts.scheme == "https"
    )


def _places(options: Mapping[str, Any], path: str) -> Iterator[Place]:
    """Yield where to ask, as the configuration has it; what else is in it, and whether it is sound, is not looked at."""
    from rotator.settings.faults import Fault
    from rotator.settings.find import find, read

    faults: list[Fault] = []
    data = read(find(options["config"], os.environ), faults).data
    admin, server = data.get("admin"), data.get("server")
    over = {name.upper(): value for name, value in os.environ.items()}
    listen = over.get("ROTATOR__ADMIN__LISTEN") or _text(admin, "listen")
    if listen or isinstance(admin, dict):
        yield _listening(listen or ADMIN, path)
    listen = over.get("ROTATOR__SERVER__LISTEN") or _text(server, "listen")
    if listen:
        tls = isinstance(server, dict) and ("tls" in server or "cert_file" in server)
        yield _listening(listen, path, tls=tls)
    elif listen is None and not isinstance(admin, dict) and "ROTATOR__ADMIN__LISTEN" not in over:
        raise ConfigError(
            "nothing listens that could be asked: there is neither `admin` nor `server`",
            hint="add `admin: {}` to the configuration, or name a URL with --url",
        )


def _text(section: Any, key: str) -> str | None:
    value = section.get(key) if isinstance(section, dict) else None
    return value if isinstance(value, str) else None


def _listening(listen: str, path: str, *, tls: bool = False) -> Place:
    if listen.startswith("unix:"):
        return Place(listen.removeprefix("unix:"), 0, path)
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) not in range(1, 65536):
        raise ConfigError(
            f"nobody can be asked at {listen!r}",
            hint="`rotator config validate` says what is wrong; port 0 is another one at each start",
        )
    return Place(_HERE.get(host, host), int(port), path, tls)


def _first_answer(places: list[Place], until: float) -> tuple[int, Place]:
    """Return the status of the first that can be reached, and which that is.

    `rotator serve` has no admin listener: then the server of the same configuration is asked.
    """
    failed: list[tuple[Place, OSError]] = []
    for place in places:
        try:
            return _status(place, until), place
        except OSError as error:
            failed.append((place, error))
    place, first = failed[0]
    why = "no answer in time" if isinstance(first, TimeoutError) else first.strerror or str(first)
    raise RotatorError(
        f"{place} does not answer: {why}",
        hint="is it running, with this configuration? its log says what it listens at",
    )


def _status(place: Place, until: float) -> int:
    """Ask, and return the status of the answer (RFC 9112 §4).

    Raises:
        OSError: it cannot be reached, or does not answer in time, or not like HTTP.
    """
    with _connected(place, until) as connection:
        name = place.host if place.port else "localhost"
        host = f"[{name}]" if ":" in name else name
        request = f"GET {place.path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode("ascii", "replace"))
        answer = b""
        while b"\r\n" not in answer and len(answer) < _MOST:
            connection.settimeout(_left(until))
            piece = connection.recv(_MOST)
            if not piece:
                break
            answer += piece
    version, _, rest = answer.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise OSError("what answers there is no HTTP server")
    return int(rest[:3])


def _connected(place: Place, until: float) -> socket.socket:
    if not place.port:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_left(until))
        try:
            connection.connect(place.host)
        except OSError:
            connection.close()
            raise
        return connection
    connection = socket.create_connection((place.host, place.port), _left(until))
    if not place.tls:
        return connection
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        return context.wrap_socket(connection, server_hostname=place.host)
    except OSError:
        connection.close()
        raise


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    return left
