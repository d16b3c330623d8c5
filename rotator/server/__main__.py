"""The child process that serves: `python -m rotator.server --fd N`, started by `ServerProcess` only.

It knows no store, no credential and no key. The parent gives it a listening socket, and on stdin one line
that says what to serve; the end of stdin is the end of the parent, however that died, and so of this
process. It says events as lines of JSON on stdout, for the parent to log.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
from typing import Any, Final

from rotator.server.app import App
from rotator.server.site import parse_site

BACKLOG: Final = 1024
_CONNECTIONS: Final = 1024  # at a time; more wait in the backlog
_HEADER_TIMEOUT: Final = 10_000  # milliseconds for a request's head, and for an idle connection
_HEADER_BYTES: Final = 16_384
_FAREWELL: Final = 3.0  # seconds for requests that are under way when the end comes


def report(event: str, **fields: Any) -> None:
    """Say an event to the parent. One that is stopped and does not read must not stop the serving."""
    line = json.dumps({"event": event, **fields}).encode() + b"\n"
    try:
        os.write(1, line)
    except OSError:  # the pipe is full, or the parent is gone and stdin ends as well
        return


def main() -> int:
    """Serve until stdin ends or SIGTERM comes; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m rotator.server")
    parser.add_argument("--fd", type=int, required=True, help="a listening socket")
    listener = parser.parse_args().fd
    # Ctrl-C is for the parent, which ends this process when its step is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = sys.stdin.buffer.readline()
    if not line:  # the parent ended before it said anything
        return 0
    asyncio.run(_serve(App(parse_site(line), report), listener))
    return 0


async def _serve(app: App, listener: int) -> None:
    server = _embedded(app, listener)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, server.stop)

    def watch_parent() -> None:
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(server.stop)

    threading.Thread(target=watch_parent, name="parent", daemon=True).start()
    report("server.started", pid=os.getpid())
    os.set_blocking(1, False)
    serving = asyncio.ensure_future(server.serve())
    code = await _until_stopped(server, serving)
    # Not by returning: granian's threads may still ask for the interpreter, and abort if it is being
    # taken down under them (seen in one of four ends under load). There is nothing to tidy up here.
    os._exit(code)


async def _until_stopped(server: Any, serving: asyncio.Future[None]) -> int:
    """Return the exit code: 0 when the end was asked for, or else the parent starts another process."""
    stopped = asyncio.ensure_future(server.main_loop_interrupt.wait())
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    # A client that does not read its answer must not keep this process.
    done, _ = await asyncio.wait({serving}, timeout=_FAREWELL)
    if done:
        serving.result()
    return 0 if server.interrupt_signal else 1


def _embedded(app: App, listener: int) -> Any:
    from granian import net
    from granian.constants import HTTPModes
    from granian.http import HTTP1Settings
    from granian.server.embed import Server

    # Takes (fd, is_uds, backlog), since granian 2.5; its stubs leave that out.
    make_holder: Any = net.SocketHolder  # type: ignore[attr-defined]

    class Inherited(Server):
        """Granian on a socket that the parent bound: so a restart loses no connection, and port 0 works."""

        def _init_shared_socket(self) -> None:
            self._ssp = None
            self._shd = make_holder(listener, False, BACKLOG)

    return Inherited(
        app,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=_CONNECTIONS,
        http1_settings=HTTP1Settings(
            header_read_timeout=_HEADER_TIMEOUT, max_buffer_size=_HEADER_BYTES
        ),
        log_enabled=False,
    )


if __name__ == "__main__":
    sys.exit(main())
