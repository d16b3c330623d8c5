"""The parent's side of the server: a child process that is started, watched, restarted and ended.

A process of its own, so that making a key (seconds of CPU) never blocks serving, and so that what faces
the network holds neither key material nor the credentials of a store.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from rotator import lazy_log
from rotator.errors import ConfigError, StoreUnavailable, TargetFailing
from rotator.server.site import Site

if TYPE_CHECKING:
    import structlog

BACKLOG: Final = 1024
_UNREAD: Final = 10_000  # milliseconds that an answer may lie unread at a client's full door
_FIRST_WAIT: Final = 0.5  # seconds before a restart; doubled each time
_LONGEST_WAIT: Final = 30.0
_HEALTHY: Final = 60.0  # seconds after which an end counts as the first again

_PASSED_ON: Final = frozenset(
    {"PATH", "LANG", "LANGUAGE", "TZ", "TZDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"}
    | {"PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONUTF8"}
)


def scrubbed(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what of an environment a child needs to run at all: a list of names, so no credential."""
    return {
        name: value
        for name, value in environ.items()
        if name in _PASSED_ON or name.startswith("LC_")
    }


def bind(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket; port 0 takes a free one.

    Raises:
        TargetFailing: another program listens there; worth trying again.
        ConfigError: an address that this host does not have, or may not use.
    """
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(
            (str(address[0]), port),
            family=family,
            backlog=BACKLOG,
            dualstack_ipv6=address[0] == "::" and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise TargetFailing(
                f"cannot listen at {place}: another program does",
                hint=f"end it (`ss -ltnp 'sport = :{port}'` names it) or change `server.listen`",
            ) from error
        raise ConfigError(
            f"cannot listen at {place}: {error.strerror or error}",
            hint="name an address of this host and a port that this user may use in `server.listen`",
        ) from error
    _drop_who_does_not_read(listener)
    return listener


def _drop_who_does_not_read(listener: socket.socket) -> None:
    """Bound how long a client may leave its answers unread: a few hundred of them would take every connection.

    The web server bounds only the reading of requests. Connections inherit this from the listener (tcp(7),
    Linux; elsewhere there is no such bound).
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD)


class ServerProcess:
    """The built-in HTTP server, in a child process that dies with this one.

    The listening socket is made here and handed down, so a child that is restarted keeps the address, and
    connections made in between wait instead of being refused.

    Args:
        host: address or name to listen at; `::` serves IPv4 too.
        port: TCP port; 0 takes a free one, see `address`.
        site: what is served.
    """

    def __init__(self, host: str, port: int, site: Site) -> None:
        self._host, self._port = host, port
        self._site = site
        self._socket: socket.socket | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._asked: subprocess.Popen[bytes] | None = None  # the child that was asked to end
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # between a spawn and a stop
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._wake = threading.Event()
        self.restarts = 0
        """How often a child ended by itself and was started again."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port listened at. Raises StoreUnavailable before `start` and after `stop`."""
        if self._socket is None:
            raise StoreUnavailable("the server is not running", hint="start it first")
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    @property
    def url(self) -> str:
        """The server's URL from this machine, without a final slash."""
        host, port = self.address
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def start(self, timeout: float = 30.0) -> None:
        """Listen, start the child, and wait until it serves.

        Args:
            timeout: seconds to wait; the child goes on being started in the background after them.

        Raises:
            TargetFailing, ConfigError: see `bind`; nothing was started.
            StoreUnavailable: the child did not serve in time, or ended at once.
        """
        if self._thread is not None:
            return
        self._socket = bind(self._host, self._port)
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
        self._wake.set()
        return self._ready.is_set()

    def replace_site(self, site: Site) -> None:
        """Serve something else from now on, at the same address: the child is ended and started anew."""
        with self._lock:
            self._site = site
            self._ready.clear()
            self._ask_to_end()

    def stop(self, timeout: float = 10.0) -> None:
        """End the child, after the requests under way; kill it when it takes longer than `timeout` seconds."""
        with self._lock:
            self._stopping.set()
            self._wake.set()
            self._ask_to_end()
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive() and self._child is not None:
                self._child.kill()
                self._thread.join()
            self._thread = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._ready.clear()

    def _supervise(self) -> None:
        wait = _FIRST_WAIT
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                asked = self._run_child()
            except OSError as error:  # no process to be had, or the interpreter is being replaced
                _logger().error("server.died", reason=f"cannot be started: {error.strerror}")
                asked = False
            if asked:
                continue
            if time.monotonic() - began >= _HEALTHY:
                wait = _FIRST_WAIT
            self._wake.clear()
            if not self._stopping.is_set():
                self._wake.wait(wait)
            wait = min(wait * 2, _LONGEST_WAIT)
            self.restarts += 1

    def _run_child(self) -> bool:
        """Start a child and log what it says until it ends; return whether it was asked to end."""
        child = self._spawn()
        if child is None:
            return True
        with child:  # closes both pipes at the end, and waits
            with contextlib.suppress(BrokenPipeError):
                _tell(child, self._site)
            self._listen(child.stdout or (), child.pid)
        with self._lock:
            self._ready.clear()
            asked = self._asked is child
        log, status = _logger(), child.returncode
        if asked:
            log.info("server.stopped", pid=child.pid, exit_status=status)
        else:
            log.error(
                "server.died", pid=child.pid, exit_status=status, reason="it is started again"
            )
        return asked

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._stopping.is_set() or self._socket is None:
                return None
            listener = self._socket.fileno()
            # -P: what lies in the working directory must not be imported.
            self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-m", "rotator.server", "--fd", str(listener)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=scrubbed(os.environ),
                pass_fds=(listener,),
                start_new_session=True,  # Ctrl-C and the terminal are the parent's
            )
            return self._child

    def _ask_to_end(self) -> None:
        # By signal: closing the pipe here could wait for a supervisor that writes to it.
        self._asked = self._child
        if self._child is not None:
            self._child.terminate()

    def _listen(self, said: Iterable[bytes], pid: int) -> None:
        log = _logger()
        for line in said:
            try:
                fields = json.loads(line)
                event = fields.pop("event")
            except (ValueError, KeyError, AttributeError, TypeError):
                continue  # not an event of ours: something that a library printed
            if event == "server.started":
                self._ready.set()
                log.info(event, pid=pid, address=self._address_or_none())
            elif event == "jwks.refused":
                log.error(event, **fields)
            else:
                log.debug(event, **fields)

    def _address_or_none(self) -> str | None:
        with contextlib.suppress(StoreUnavailable, OSError):
            return self.url
        return None


def _tell(child: subprocess.Popen[bytes], site: Site) -> None:
    """Say what to serve. The pipe stays open: its end is how the child learns of this process's end."""
    if child.stdin is not None:
        child.stdin.write(site.render())
        child.stdin.flush()


def _logger() -> structlog.typing.FilteringBoundLogger:
    lazy_log.ready()
    import structlog

    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(component="server")
    return logger
