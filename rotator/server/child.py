"""One child process that serves: how it is started, and what is known of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from rotator import lazy_log
from rotator.server.site import Site

if TYPE_CHECKING:
    import structlog

_PASSED_ON: Final = frozenset(
    {"PATH", "LANG", "LANGUAGE", "TZ", "TZDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"}
    | {"PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONUTF8"}
)
# One arena instead of four per core for jemalloc in granian: a few MiB less with thousands of connections.
_ALLOCATOR: Final = {"_RJEM_MALLOC_CONF": "narenas:1"}
_SILENT: Final = 3  # pulses that fail to come, one after the other
_UNANSWERED: Final = 6  # looks without an answer, one after the other


def scrubbed(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what of an environment a child needs to run at all: a list of names, so no credential."""
    return {
        name: value
        for name, value in environ.items()
        if name in _PASSED_ON or name.startswith("LC_")
    }


class Child:
    """A child process, from its start to its end.

    Args:
        site: what it serves.
        words: its arguments.
        listener: the number of the listening socket, which it inherits.
        files: further descriptors that it inherits.
        generation: which of the parent's wishes it fulfils.
        news: called from another thread when it serves, and when it ended.

    Raises:
        OSError: there is no process to be had, or the interpreter is being replaced.
    """

    def __init__(
        self,
        site: Site,
        words: list[str],
        *,
        listener: int,
        files: tuple[int, ...] = (),
        generation: int,
        news: Callable[[], None],
    ) -> None:
        self.generation = generation
        self.started = threading.Event()
        self.ended = threading.Event()
        self.asked = False
        """Whether it was asked to end."""
        self._site, self._news = site, news
        self._answered = self._answered_before = -1
        self._beats = 0
        self._silent = self._unanswered = 0
        # -P: what lies in the working directory must not be imported.
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", "rotator.server", "--fd", str(listener), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**scrubbed(os.environ), **_ALLOCATOR},
            pass_fds=(listener, *files),
            start_new_session=True,  # Ctrl-C and the terminal are the parent's
        )
        threading.Thread(target=self._attend, name="server-child", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def end(self) -> None:
        """Ask it to end; clients have a second to go by themselves."""
        # By signal: closing the pipe here could wait for a thread that writes to it.
        self.asked = True
        self.process.terminate()

    def retire(self) -> None:
        """Ask it to accept no more, and to end when the last client has gone; another one serves by now."""
        self.asked = True
        self.process.send_signal(signal.SIGUSR1)

    def kill(self) -> None:
        """End it at once, also one that is stopped or hangs."""
        self.process.kill()

    def hangs(self, look: Callable[[], bool]) -> str:
        """Judge it once per pulse; return why it counts as hanging, nothing while it does not.

        Counted in judgements rather than seconds: a parent that was suspended must not blame its child.

        Args:
            look: asks the server whether it answers.
        """
        beats, self._beats = self._beats, 0
        self._silent = 0 if beats else self._silent + 1
        if self._silent >= _SILENT:
            return "it gave no sign of life"
        advanced = self._answered != self._answered_before
        self._answered_before = self._answered
        # One that answers others need not be asked.
        self._unanswered = 0 if advanced or look() else self._unanswered + 1
        return "it answers nobody" if self._unanswered >= _UNANSWERED else ""

    def _attend(self) -> None:
        with self.process:  # closes both pipes at the end, and waits
            with contextlib.suppress(OSError):
                self._tell()
            for line in self.process.stdout or ():
                try:
                    fields = json.loads(line)
                    event = fields.pop("event")
                except (ValueError, KeyError, AttributeError, TypeError):
                    continue  # not an event of ours: something that a library printed
                self._hear(event, fields)
        log = logger().bind(pid=self.pid, exit_status=self.process.returncode)
        if self.asked:
            log.info("server.stopped")
        else:
            log.error("server.died", reason="it is started again")
        self.ended.set()
        self._news()

    def _tell(self) -> None:
        """Say what to serve. The pipe stays open: its end is how the child learns of this process's end."""
        if self.process.stdin is not None:
            self.process.stdin.write(self._site.render())
            self.process.stdin.flush()

    def _hear(self, event: str, fields: dict[str, Any]) -> None:
        log = logger()
        if event == "alive":
            self._beats += 1
            self._answered = fields.get("answered", self._answered)
        elif event == "server.started":
            self.started.set()
            self._news()
        elif event == "jwks.refused":
            log.error(event, **fields)
        elif event == "server.full":
            reason = "no file descriptor is free; who has a connection is served, nobody else until one is"
            log.warning(event, reason=reason, pid=self.pid)
        elif event == "server.accepting":
            log.info(event, pid=self.pid)
        elif event == "server.limited":
            log.warning(
                event,
                reason="the limit on open files leaves no room for more connections",
                **fields,
            )
        else:
            log.debug(event, **fields)


def logger() -> structlog.typing.FilteringBoundLogger:
    """Return the logger of the server."""
    lazy_log.ready()
    import structlog

    made: structlog.typing.FilteringBoundLogger = structlog.get_logger(component="server")
    return made
