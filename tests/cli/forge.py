"""Runs the command in forked processes of a script that has everything imported, and meddles with them.

A fork costs a twentieth of a start, so that hundreds of kills and races fit into seconds. As a script, this
reads one request per line from its stdin and answers each with one line. Nothing of it is known to the
program: the calls of `os` are counted, failed or stopped from outside.
"""

from __future__ import annotations

import atexit
import errno
import gc
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.cli.bench import Bench, Ran, environment
from tests.cli.script import Script, move_clock

_CHANGES: Final = ("mkdir", "rename", "replace", "unlink", "rmdir", "symlink", "link")
"""The calls with which a process changes what others see."""


class Forge(Script):
    """The test's side: asks the script to run commands.

    Every method takes what happens to the process as keywords: `kill_after=N` kills it right after its
    Nth change of the file system, `stop_before=TEXT` stops it before it first makes or changes a file whose
    path has that text, `fail=ERRNO` makes every write fail, `travel=ISO` moves its wall clock,
    `leap=True` lets its waiting move its clocks instead of taking time. `said` is what
    it reads, `env` what its environment has beside that of this process.
    """

    def __init__(self) -> None:
        super().__init__("tests.cli.forge")

    def run(self, bench: Bench, *words: str, **meddling: Any) -> Ran:
        """Run one command to its end; a killed one has the code -9."""
        return self.wait(self.start(bench, *words, **meddling))

    def start(self, bench: Bench, *words: str, **meddling: Any) -> int:
        """Start one command; return its process id."""
        words = ("-c", str(bench.config), *words)
        meddling["env"] = environment(meddling.get("env"))
        return int(self._ask(start=words, cwd=str(bench.path), **meddling)["pid"])

    def stopped(self, pid: int) -> bool:
        """Wait until a process stops or ends; return whether it stopped."""
        return bool(self._ask(stopped=pid)["stopped"])

    def wait(self, pid: int) -> Ran:
        """Wait for the end of a process."""
        answer = self._ask(wait=pid)
        return Ran(answer["code"], answer["out"], answer["err"])


@cache
def shared() -> Forge:
    """Return the one of this test process, started at the first call and ended with it."""
    forge = Forge()
    atexit.register(forge.close)
    return forge


def ready(forge: Forge, path: Path, **more: Any) -> Bench:
    """Return a key set after its first run."""
    bench = Bench(path, **more)
    ran = forge.run(bench, "rotate")
    assert ran.code == 0, ran.err
    return bench


def refused(ran: Ran, code: int, *said: str) -> None:
    """The command was refused with one message that says what, where and what to do."""
    assert ran.code == code, (ran.code, ran.out, ran.err)
    errors = [line for line in ran.err.splitlines() if line.startswith("rotator: error: ")]
    assert len(errors) == 1, ran.err
    assert "Traceback" not in ran.err
    for text in said:
        assert text in ran.err, (text, ran.err)


def work() -> None:
    """Be the script: answer requests until the end of the input."""
    _import_everything()
    outputs: dict[int, tuple[Path, Path]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            pid, outputs_of = _fork(request)
            outputs[pid] = outputs_of
            answer: dict[str, Any] = {"pid": pid}
        elif "stopped" in request:
            found = os.waitid(os.P_PID, request["stopped"], os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            answer = {"stopped": found is not None and found.si_code == os.CLD_STOPPED}
        else:
            _, status = os.waitpid(request["wait"], 0)
            files = outputs.pop(request["wait"])
            out, err = (file.read_text() for file in files)
            for file in files:
                file.unlink()
            answer = {"code": os.waitstatus_to_exitcode(status), "out": out, "err": err}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _import_everything() -> None:
    """Load once what every command would load."""
    import importlib
    import pkgutil

    import rotator
    import rotator_file

    for name in (
        "cryptography.hazmat.primitives.asymmetric.ec",
        "joserfc.jwk",
        "joserfc.jws",
        "structlog",
    ):
        importlib.import_module(name)
    for package in (rotator, rotator_file):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            skipped = ("__main__", "rotator.testing", "rotator.daemon", "rotator.server")
            if not any(name in module.name for name in skipped):
                importlib.import_module(module.name)
    gc.freeze()  # a collection in a fork would copy every page it looks at


def _fork(request: dict[str, Any]) -> tuple[int, tuple[Path, Path]]:
    files = [tempfile.mkstemp(prefix="rotator-test-") for _ in range(2)]
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            said = _input(request.get("said", ""))
            for source, target in ((said, 0), (files[0][0], 1), (files[1][0], 2)):
                os.dup2(source, target)
            os.chdir(request["cwd"])
            os.environ.clear()
            os.environ.update(request["env"])
            code = _command(request)
        except BaseException:  # noqa: BLE001 - a fork must not go on as its parent
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)
    for descriptor, _ in files:
        os.close(descriptor)
    return pid, (Path(files[0][1]), Path(files[1][1]))


def _input(said: str) -> int:
    """Return a descriptor from which this text is read, and then the end."""
    if not said:
        return os.open(os.devnull, os.O_RDONLY)
    reading, writing = os.pipe()
    os.write(writing, said.encode())  # a pipe holds more than any test says
    os.close(writing)
    return reading


def _command(request: dict[str, Any]) -> int:
    from rotator.cli import main

    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    try:
        if request.get("leap"):
            move_clock(timedelta(0), leap=True)
        with _travelling(request.get("travel")):
            _meddle(request)
            main(request["start"])
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        return end.code if isinstance(end.code, int) else 70


@contextmanager
def _travelling(to: str | None) -> Iterator[None]:
    if to is None:
        yield
        return
    import time_machine

    with time_machine.travel(to, tick=True):
        yield


def _meddle(request: dict[str, Any]) -> None:
    changes = 0

    def before(_name: str, words: tuple[Any, ...]) -> None:
        text = request.get("stop_before")
        if text is not None and any(
            text in os.fspath(word) for word in words[:2] if _is_path(word)
        ):
            request["stop_before"] = None
            os.kill(os.getpid(), signal.SIGSTOP)
        if request.get("fail"):
            number = getattr(errno, request["fail"])
            raise OSError(number, os.strerror(number), words[0])

    def after() -> None:
        nonlocal changes
        changes += 1
        if changes == request.get("kill_after"):
            os.kill(os.getpid(), signal.SIGKILL)

    for name in _CHANGES:
        setattr(os, name, _wrapped(name, getattr(os, name), before, after))
    os.open = _creating(os.open, before)


def _wrapped(
    name: str,
    real: Callable[..., Any],
    before: Callable[[str, tuple[Any, ...]], None],
    after: Callable[[], None],
) -> Callable[..., Any]:
    def call(*words: Any, **more: Any) -> Any:
        before(name, words)
        result = real(*words, **more)
        after()
        return result

    return call


def _creating(
    real: Callable[..., int], before: Callable[[str, tuple[Any, ...]], None]
) -> Callable[..., int]:
    """Let what would make a file, a lock for instance, be failed or stopped like other changes."""

    def call(path: Any, flags: int, *words: Any, **more: Any) -> int:
        if flags & os.O_CREAT:
            before("open", (path,))
        return real(path, flags, *words, **more)

    return call


def _is_path(word: Any) -> bool:
    return isinstance(word, str | os.PathLike)
