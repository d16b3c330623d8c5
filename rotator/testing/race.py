"""Races over one store: many processes, or threads, that all start at one moment.

Run as `python -m rotator.testing.race`, it reads a race from standard input, loads what all racers need, forks
them, lets them go when each has opened its store, and prints their results. Needs nothing but the backend.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from rotator.errors import Conflict, StoreCorrupt
from rotator.secret import Secret
from rotator.stores import Document, Store

if TYPE_CHECKING:
    from rotator.testing.base import Place

_PATIENCE: Final = 120.0  # seconds after which a race is lost by all


@dataclass(frozen=True, slots=True)
class Task:
    """What every racer does.

    Args:
        kind: `first` saves the first ring, `count` adds one to a number in the ring, again after every
            Conflict, `put` writes the material of its own kid at a locator that all share, `document`
            writes the first document of a name.
        key_set: of which key set.
        name: the locator or the name of the document.
        times: how often to count.
    """

    kind: Literal["first", "count", "put", "document"]
    key_set: str = "orders"
    name: str = ""
    times: int = 4


def race(place: Place, task: Task) -> list[str]:
    """Let `place.racers` run one task at once, and return what each of them says: `won` or `lost`.

    Raises:
        RuntimeError: a racer failed; the message holds what it printed.
    """
    return _threads(place, task) if place.address is None else _processes(place, task)


def run(store: Store, task: Task, number: int) -> str:
    """Do a task as the racer of a number; `lost` when the store said that another was faster."""
    try:
        _TASKS[task.kind](store, task, number)
    except (Conflict, StoreCorrupt):
        return "lost"
    return "won"


def _first(store: Store, task: Task, number: int) -> None:
    store.rings(task.key_set).save(f"racer {number}".encode(), replacing=None)


def _count(store: Store, task: Task, number: int) -> None:  # noqa: ARG001  # all racers count alike
    ring = store.rings(task.key_set)
    done = 0
    while done < task.times:
        found = ring.load()
        number_now = 0 if found is None else int(found.document)
        try:
            ring.save(
                str(number_now + 1).encode(), replacing=None if found is None else found.version
            )
        except Conflict:
            continue
        done += 1


def _put(store: Store, task: Task, number: int) -> None:
    store.material(task.key_set).put(task.name, f"kid-{number}", Secret(bytes([number]) * 32))


def _document(store: Store, task: Task, number: int) -> None:
    documents = store.documents()
    if documents is None:
        raise TypeError("this store keeps no documents")
    document = Document(f"racer {number}".encode(), task.key_set, number)
    documents.write(task.name, document, replacing=None)


_TASKS: Final[dict[str, Callable[[Store, Task, int], None]]] = {
    "first": _first,
    "count": _count,
    "put": _put,
    "document": _document,
}


def _threads(place: Place, task: Task) -> list[str]:
    start = threading.Barrier(place.racers, timeout=_PATIENCE)

    def racer(number: int) -> str:
        store = place.open()
        start.wait()
        return run(store, task, number)

    with ThreadPoolExecutor(place.racers) as pool:
        return list(pool.map(racer, range(place.racers)))


def _processes(place: Place, task: Task) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "rotator.testing.race"],
        input=json.dumps([place.address, asdict(task), place.racers, place.preload]),
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"a racer failed: {done.stderr}")
    return done.stdout.split()


def main(race_of: str) -> None:
    """Run a race: an interpreter and its imports once, and a fork of it for each racer."""
    import structlog

    from rotator.testing.base import Place

    # Standard output is for the results alone.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    address, task, racers, preload = json.loads(race_of)
    name, settings = _address(address)
    place = Place.of_backend(name, settings)
    for module in preload:
        importlib.import_module(module)
    (ready, tell_ready), (go, let_go), (results, tell) = os.pipe(), os.pipe(), os.pipe()
    pids = []
    for number in range(racers):
        pid = os.fork()
        if pid == 0:
            os.close(let_go)  # or it would keep the gate shut itself
            _be_a_racer(place, Task(**task), number, (tell_ready, go, tell))
        pids.append(pid)
    for end in (tell_ready, go, tell):
        os.close(end)
    waiting = sum(len(os.read(ready, 1)) for _ in range(racers))  # less when one fails
    os.close(let_go)
    failed = [pid for pid in pids if os.waitpid(pid, 0)[1]]
    if failed or waiting < racers:
        raise SystemExit(1)
    with os.fdopen(results) as said:
        by_number = dict(line.split() for line in said)
    sys.stdout.write("\n".join(by_number[str(number)] for number in range(racers)))


def _be_a_racer(place: Place, task: Task, number: int, pipes: tuple[int, int, int]) -> NoReturn:
    tell_ready, go, tell = pipes
    code = 1
    try:
        store = place.open()
        os.write(tell_ready, b".")
        os.close(tell_ready)
        os.read(go, 1)
        os.write(tell, f"{number} {run(store, task, number)}\n".encode())
        code = 0
    except BaseException:  # noqa: BLE001 - a fork must not go on as its parent
        sys.stderr.write(traceback.format_exc())
        sys.stderr.flush()
    finally:
        os._exit(code)


def _address(value: Any) -> tuple[str, dict[str, Any]]:
    name, settings = value
    return str(name), dict(settings)


if __name__ == "__main__":
    main(sys.stdin.read())
