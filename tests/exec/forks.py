"""A script that runs `rotator exec` in forks of itself, for the import of everything is most of what a start costs."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.cli.script import Script


class Forks(Script):
    """The test's side."""

    def __init__(self) -> None:
        super().__init__("tests.exec.forks")

    def start(
        self,
        words: list[str],
        home: Path,
        environ: Mapping[str, str],
        ignored: Iterable[signal.Signals] = (),
    ) -> int:
        """Start `rotator` with these words; its output goes to `out` and `err` of a directory, its input is `in`.

        Args:
            ignored: signals that it is told to ignore, as nohup(1) does.
        """
        said = {"start": words, "home": str(home), "environ": dict(environ)}
        return int(self._ask(**said, ignored=[int(number) for number in ignored])["pid"])

    def wait(self, pid: int) -> int:
        """Wait for its end; return its exit code, -n for a signal."""
        return int(self._ask(wait=pid)["code"])


def work() -> None:
    """Be the script: one request, one answer per line."""
    import rotator.assemble
    import rotator.cli.exec
    import rotator.exec.supervisor
    import rotator.settings.load
    import rotator.settings.models  # noqa: F401
    import rotator_file.store  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            answer: dict[str, Any] = {"pid": _fork(request)}
        else:
            _, status = os.waitpid(request["wait"], 0)
            answer = {"code": os.waitstatus_to_exitcode(status)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _fork(request: Mapping[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        # Whoever runs the tests may have been told to ignore a signal, too; that is not passed on.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        for number in request["ignored"]:
            signal.signal(number, signal.SIG_IGN)
        os.chdir(request["home"])
        for number, (name, flags) in enumerate(
            (("in", os.O_RDONLY), ("out", os.O_WRONLY), ("err", os.O_WRONLY))
        ):
            os.dup2(os.open(name, flags | os.O_CREAT | os.O_APPEND, 0o600), number)
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, closefd=False)  # noqa: SIM115
            for number, mode in ((0, "r"), (1, "w"), (2, "w"))
        )
        os.environ.clear()
        os.environ.update(request["environ"])
        from rotator.cli import main

        main(request["start"])
    finally:
        os._exit(70)
