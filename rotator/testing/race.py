"""Races over one store: many processes, or threads, that all start at one moment.

Run as `python -m rotator.testing.race`, it is one of the racers: it reads its task from standard input,
says `ready`, waits for `go`, and prints its result. Needs nothing but the backend.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

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
    racers: list[subprocess.Popen[str]] = []
    try:
        for number in range(place.racers):
            racer = subprocess.Popen(
                [sys.executable, "-P", "-m", "rotator.testing.race"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            racers.append(racer)
            _tell(racer, json.dumps([place.address, asdict(task), number]))
        for racer in racers:
            _hear_ready(racer)
        for racer in racers:
            _tell(racer, "go")
        return [_result(racer) for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()


def _tell(racer: subprocess.Popen[str], line: str) -> None:
    if racer.stdin is None:
        raise RuntimeError("a racer without standard input")
    racer.stdin.write(line + "\n")
    racer.stdin.flush()


def _hear_ready(racer: subprocess.Popen[str]) -> None:
    if racer.stdout is None or racer.stdout.readline() != "ready\n":
        raise RuntimeError(f"a racer did not start: {racer.communicate(timeout=_PATIENCE)[1]}")


def _result(racer: subprocess.Popen[str]) -> str:
    output, errors = racer.communicate(timeout=_PATIENCE)
    if racer.returncode:
        raise RuntimeError(f"a racer failed: {errors}")
    return output.strip()


def main(lines: Iterable[str]) -> None:
    """Be one racer."""
    import structlog

    from rotator.testing.base import Place

    # Standard output is for the result alone.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    wait = iter(lines)
    address, task, number = json.loads(next(wait))
    name, settings = _address(address)
    store = Place.of_backend(name, settings).open()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    next(wait)
    sys.stdout.write(run(store, Task(**task), number) + "\n")


def _address(value: Any) -> tuple[str, dict[str, Any]]:
    name, settings = value
    return str(name), dict(settings)


if __name__ == "__main__":
    main(sys.stdin)
