"""A process that has everything imported and no thread, and runs the real command in forks of itself.

A fork costs a twentieth of a start, so that hundreds of faults, kills and races fit into a test run. As a
script, this reads one request per line from its stdin and answers each with one line. What is changed in a
fork is only what a test could not have otherwise: the host's clock, and what counts as another machine.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import pkgutil
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from tests.cli.script import move_clock, replace
from tests.servers_e2e.loud import make_libraries_loud
from tests.servers_e2e.warm import Refusal

BACKENDS: Final = ("rotator_aws", "rotator_conjur", "rotator_file", "rotator_vault")
_SDKS: Final = ("boto3", "botocore.session", "hvac", "requests", "aiohttp", "conjur_api")


def work() -> None:
    """Be the script: answer requests until the end of the input."""
    _import_everything()
    gates: dict[str, tuple[int, int]] = {}
    outputs: dict[int, list[Path]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {}
        if "start" in request:
            pid, outputs_of = _fork(request, gates)
            outputs[pid] = outputs_of
            answer = {"pid": pid}
        elif "open" in request:
            for end in gates.pop(request["open"]):
                os.close(end)
        else:
            answer = _result(request["wait"], outputs.pop(request["wait"]))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _import_everything() -> None:
    """Load once what every command would load."""
    for name in (
        "cryptography.hazmat.primitives.asymmetric.ec",
        "joserfc.jws",
        "structlog",
        *_SDKS,
    ):
        importlib.import_module(name)
    skipped = ("__main__", "rotator.testing", "rotator.daemon", "rotator.server", "rotator.admin")
    for name in ("rotator", *BACKENDS):
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not any(part in module.name for part in skipped):
                importlib.import_module(module.name)
    _warm_botocore()
    assert threading.active_count() == 1, "a fork of a process with threads may hang"
    gc.freeze()  # a collection in a fork would copy every page it looks at


def _warm_botocore() -> None:
    """Let every fork have what botocore would parse from its data files; that is half of a run."""
    import botocore.loaders
    import botocore.session

    real = botocore.loaders.JSONFileLoader().load_file
    known = functools.cache(real)
    replace(botocore.loaders.JSONFileLoader, load_file=lambda _loader, path: known(path))
    session = botocore.session.Session()
    session.set_credentials("warm", "warm")
    for service in ("secretsmanager", "sts"):
        session.create_client(service, region_name="eu-central-1")


def _result(pid: int, files: list[Path]) -> dict[str, Any]:
    _, status = os.waitpid(pid, 0)
    out, err, refusals = (file.read_text() for file in files)
    for file in files:
        file.unlink()
    return {
        "code": os.waitstatus_to_exitcode(status),
        "out": out,
        "err": err,
        "refusals": [json.loads(line) for line in refusals.splitlines()],
    }


def _fork(request: Mapping[str, Any], gates: dict[str, tuple[int, int]]) -> tuple[int, list[Path]]:
    if request["gate"]:
        gates.setdefault(request["gate"], os.pipe())
    made = [tempfile.mkstemp(prefix="rotator-test-") for _ in range(3)]
    files = [Path(name) for _, name in made]
    for descriptor, _ in made[2:]:
        os.close(descriptor)
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            null = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((null, 0), (made[0][0], 1), (made[1][0], 2)):
                os.dup2(source, target)
            code = _command(request, gates, files[2])
        except BaseException:  # noqa: BLE001 - a fork must not go on as its parent
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)
    for descriptor, _ in made[:2]:
        os.close(descriptor)
    return pid, files


def _command(
    request: Mapping[str, Any], gates: Mapping[str, tuple[int, int]], refusals: Path
) -> int:
    for _, writing in gates.values():
        os.close(writing)  # or the gate would stay shut for as long as this process lives
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    _note_refusals(refusals)
    move_clock(timedelta(seconds=request["shift"]), leap=request["leap"])
    if request["elsewhere"]:
        import rotator.calls

        replace(rotator.calls, _is_here=lambda _host, _port: False)
    if request["loud"]:
        make_libraries_loud()
    if request["gate"]:
        os.read(gates[request["gate"]][0], 1)
    from rotator.cli import execute

    code = execute(request["start"])
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _note_refusals(file: Path) -> None:
    """Write down the class of what is refused, beside what is printed of it."""
    from rotator.cli.console import Console

    real = Console.refuse

    def refuse(console: Console, error: Any) -> None:
        found = Refusal(_kind(error), error.exit_code, error.message, error.hint)
        with file.open("a") as opened:
            opened.write(json.dumps(vars(found)) + "\n")
        real(console, error)

    replace(Console, refuse=refuse)


def _kind(error: object) -> str:
    """Return the class of `rotator.errors` that an error is of; a backend may have classes below it."""
    known = (kind for kind in type(error).__mro__ if kind.__module__ == "rotator.errors")
    return next(known, type(error)).__name__
