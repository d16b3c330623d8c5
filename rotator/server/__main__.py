"""The child process that serves: `python -m rotator.server --fd N`, started by `ServerProcess` only.

It knows no store, no credential and no key that signs. The parent gives it a listening socket, and on stdin
one line that says what to serve; the end of stdin is the end of the parent, however that died, and so of
this process. It says events as lines of JSON on stdout, for the parent to log; `alive` is its pulse.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
import threading
from argparse import ArgumentParser
from pathlib import Path
from time import monotonic
from typing import Any, Final

from rotator.server.app import App
from rotator.server.drain import Valve, address_of, clients_gone, open_files, stop_accepting
from rotator.server.edge import Terms, granian_server
from rotator.server.site import parse_site

_OTHER_FILES: Final = 64  # descriptors beside the connections
_LAST_WORDS: Final = (
    1.0  # seconds for clients to hear that this process ends, and to go by themselves
)
_HANDOVER: Final = (
    15.0  # seconds for the same when another process serves already; idle ones go after 10
)
_BREATH: Final = 1.0  # seconds between two looks whether a descriptor is free
_FAREWELL: Final = 3.0  # seconds for requests that are under way after that


def report(event: str, **fields: Any) -> None:
    """Say an event to the parent. One that is stopped and does not read must not stop the serving."""
    line = json.dumps({"event": event, **fields}).encode() + b"\n"
    try:
        os.write(1, line)
    except OSError:  # the pipe is full, or the parent is gone and stdin ends as well
        return


def main() -> int:
    """Serve until stdin ends or SIGTERM comes; return the exit code."""
    parser = ArgumentParser(prog="python -m rotator.server")
    parser.add_argument("--fd", type=int, required=True, help="a listening socket")
    parser.add_argument("--unix", action="store_true", help="it is a Unix socket")
    parser.add_argument("--connections", type=int, default=1024)
    parser.add_argument(
        "--pulse", type=float, default=5.0, help="seconds between two signs of life"
    )
    parser.add_argument("--cert", type=Path)
    parser.add_argument("--key", type=Path)
    words = parser.parse_args()
    # Ctrl-C is for the parent, which ends this process when its step is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    line = sys.stdin.buffer.readline()
    if not line:  # the parent ended before it said anything
        return 0
    _batch()
    connections = _connections(words.connections)
    terms = Terms(words.fd, words.unix, connections, words.cert, words.key)
    asyncio.run(_serve(App(parse_site(line), report), terms, words.pulse))
    return 0


def _batch() -> None:
    """Do not interrupt each other: granian's two threads hand every request to and fro.

    With the usual policy each one that wakes up displaces the other, once per request and back; as batch
    processes they finish what lies there first (measured: 18 → 14 µs of CPU per request).
    """
    if hasattr(os, "SCHED_BATCH"):  # Linux
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _connections(wanted: int) -> int:
    """Make room for the descriptors of so many connections; return how many there is room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        room = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (room, hard))
        if room < needed:
            possible = max(room - _OTHER_FILES, 1)
            report("server.limited", connections=possible, wanted=wanted, open_files=hard)
            return possible
    return wanted


class _Leaving:
    """The way out: hurried when the end was asked for, patient when another process serves already."""

    def __init__(self, app: App, server: Any, listener: int) -> None:
        self._app, self._server, self._listener = app, server, listener
        self._address = address_of(listener)
        self._until = 0.0
        self._task: asyncio.Task[None] | None = None

    def begin(self, seconds: float) -> None:
        """Leave within some seconds; less than what was said before counts too."""
        until = monotonic() + seconds
        if self._task is None:
            self._until = until
            self._task = asyncio.get_running_loop().create_task(self._leave())
        self._until = min(self._until, until)

    async def _leave(self) -> None:
        self._app.leaving = True
        with contextlib.suppress(OSError):  # no descriptor to look round with: then at once
            stop_accepting(self._listener)
            await clients_gone(self._address, within=lambda: self._until)
        self._server.stop()


async def _serve(app: App, terms: Terms, pulse: float) -> None:
    server = granian_server(app, terms)
    loop = asyncio.get_running_loop()
    before = open_files()
    serving = asyncio.ensure_future(server.serve())
    leaving = _Leaving(app, server, terms.listener)
    loop.add_signal_handler(signal.SIGTERM, leaving.begin, _LAST_WORDS)
    loop.add_signal_handler(signal.SIGUSR1, leaving.begin, _HANDOVER)

    def watch_parent() -> None:
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(leaving.begin, 0.0)

    threading.Thread(target=watch_parent, name="parent", daemon=True).start()
    await _under_way(before)
    report("server.started", pid=os.getpid())
    os.set_blocking(1, False)
    tasks = [
        loop.create_task(_beat(app, pulse)),
        loop.create_task(_breathe(app, Valve(terms.listener))),
    ]
    code = await _until_stopped(server, serving)
    for task in tasks:
        task.cancel()
    # Not by returning: granian's threads may still ask for the interpreter, and abort if it is being
    # taken down under them (seen in one of four ends under load). There is nothing to tidy up here.
    os._exit(code)


async def _under_way(before: set[str]) -> None:
    """Wait until granian's thread has what it needs, which it does not tell: until its files are open.

    A second at most: without a word the parent would wait for ever, and the socket listens anyway.
    """
    seen = before
    for _ in range(100):
        await asyncio.sleep(0.01)
        now = open_files()
        if now == seen != before:
            return
        seen = now


async def _beat(app: App, pulse: float) -> None:
    while True:
        report("alive", answered=app.answered)
        await asyncio.sleep(pulse)


async def _breathe(app: App, valve: Valve) -> None:
    while True:
        await asyncio.sleep(_BREATH)
        if app.leaving:
            return
        if not valve.look():
            continue
        if valve.shut:
            report("server.full")
        else:
            report("server.accepting")


async def _until_stopped(server: Any, serving: asyncio.Future[None]) -> int:
    """Return the exit code: 0 when the end was asked for, or else the parent starts another process."""
    stopped = asyncio.ensure_future(server.main_loop_interrupt.wait())
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    # A client that does not read its answer must not keep this process.
    done, _ = await asyncio.wait({serving}, timeout=_FAREWELL)
    if done:
        serving.result()
    return 0 if server.interrupt_signal else 1


if __name__ == "__main__":
    sys.exit(main())
