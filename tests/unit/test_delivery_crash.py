"""Deliveries under `kill -9` at every system call, failing system calls, stopped and racing writers.

The file is also the program that the tests start: `python test_delivery_crash.py COMMAND DIRECTORY`. It
forks one child per system call of a write; a child dies of SIGKILL right before that call.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rotator.delivery import FilesDelivery
from rotator.errors import Conflict, StoreDenied, StoreError, StoreUnavailable
from rotator.stores import Document, DocumentKind, Sight

VISIBLE = ("signing.json", "private.pem", "public.pem", "jwk.json", "kid")
CALLS = (
    *("open", "close", "write", "read", "fsync", "fchmod", "chmod", "fchown", "mkdir", "rmdir"),
    *("rename", "unlink", "symlink", "readlink", "ftruncate", "pwrite", "lstat", "stat", "scandir"),
)
JWK = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
}
"""The key of RFC 8037 appendix A.1: nobody's."""


def document(revision: int) -> Document:
    """A signing document of some length, so that a part of it is noticed."""
    body = {
        "format": "rotator.signing/1",
        "key_set": "web",
        "revision": revision,
        "kid": f"kid-{revision}",
        "alg": "EdDSA",
        "jwk": {**JWK, "kid": f"kid-{revision}"},
        "pem": f"PEM of {revision}" * 500,
        "activated_at": "2026-01-01T00:00:00Z",
    }
    return Document(json.dumps(body).encode(), "web", revision)


def delivery(path: Path, **options: Any) -> FilesDelivery:
    """The delivery under test."""
    return FilesDelivery(path, "web", DocumentKind.SIGNING, **options)


def put(target: FilesDelivery, revision: int) -> None:
    """Replace whatever is there, as a tick does."""
    seen = target.look().document
    target.write(document(revision), replacing=seen.token if seen else None)


def read_as_signer(out: Path) -> int | None:
    """Return the revision of what a signer reads, None when there is nothing; anything between fails."""
    body = None
    # As docs/deliveries.md has it: a switch may fall between two steps of one open.
    for _ in range(5):
        with contextlib.suppress(FileNotFoundError):
            body = (out / "signing.json").read_bytes()
            break
    if body is None:
        return None
    if body == b"foreign":
        return 0
    revision: int = json.loads(body)["revision"]
    assert body == document(revision).body
    return revision


def check_after_crash(out: Path, *, before: int | None, after: int) -> None:
    """What must hold wherever a writer died: a whole old or new document, and a next write that tidies."""
    revision = read_as_signer(out)
    assert revision in (before, after)
    target = delivery(out, lock_timeout=5.0)
    sight = target.look()
    if revision is None:
        assert sight == Sight(None)
    elif revision:
        live = (out / "..data").resolve()
        whole = {"private.pem": f"PEM of {revision}" * 500, "kid": f"kid-{revision}"}
        assert {name: (live / name).read_text() for name in whole} == whole
        assert sight.document is not None
        assert (sight.document.key_set, sight.document.revision) == ("web", revision)
        assert sight.note == "" or sight.note.startswith("drift: ")
        # Old keys never stay on the disk unseen: whatever was left behind is drift, which is mended.
        # (A new directory that was not switched to is seen just the same.)
        lies = {path.name for path in out.glob("..*")} - {"..lock", "..data", live.name}
        assert bool(lies) == ("leftovers" in sight.note)
    put(target, after + 1)
    assert read_as_signer(out) == after + 1
    assert target.look().note == ""
    live = (out / "..data").resolve()
    assert {path.name for path in out.iterdir()} == {"..lock", "..data", live.name, *VISIBLE}


def before_call(number: int, act: Callable[[], None]) -> None:
    """Let something happen right before the call of that number among all that reach the system."""
    count = 0

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                act()
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, wrap(getattr(os, name)))


def die() -> None:
    """End as `kill -9` ends a process: nothing is flushed, closed or tidied."""
    os.kill(os.getpid(), signal.SIGKILL)


def nothing(_out: Path) -> None:
    """A first write."""


def old(out: Path) -> None:
    """A document of an earlier revision."""
    put(delivery(out), 1)


def foreign(out: Path) -> None:
    """Somebody else's file, about to be taken over."""
    out.mkdir(0o700)
    (out / "signing.json").write_bytes(b"foreign")


def leftover(out: Path) -> None:
    """An earlier crash."""
    put(delivery(out), 1)
    (out / "..00000000000000ff").mkdir()
    (out / "..00000000000000ff" / "private.pem").write_bytes(b"old key")
    (out / "..00000000000000ff.link").symlink_to("..00000000000000ff")


BEFORE: dict[str, tuple[Callable[[Path], None], int | None]] = {
    "nothing": (nothing, None),
    "old": (old, 1),
    "foreign": (foreign, 0),
    "leftover": (leftover, 1),
}


def kill_at_every_call(start: str, work: Path) -> int:
    """Kill one writer before each of its calls, check after each, and return how many there were."""
    prepare, before = BEFORE[start]
    for number in range(1, 1000):
        out = Path(tempfile.mkdtemp(dir=work)) / "out"
        prepare(out)
        target = delivery(out)
        seen = target.look().document
        child = os.fork()
        if child == 0:
            before_call(number, die)
            target.write(document(2), replacing=seen.token if seen else None)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            assert read_as_signer(out) == 2
            return number - 1
        check_after_crash(out, before=before, after=2)
    raise AssertionError("a write has no end")


def run(*command: str) -> subprocess.Popen[str]:
    """Start this file as a program."""
    return subprocess.Popen(
        [sys.executable, __file__, *command],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[str]]:
    """Start this file as a program and end it, stopped or not."""
    with run(*command) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("start", BEFORE)
def test_kill_at_every_instruction(tmp_path: Path, start: str) -> None:
    """A signer reads the old or the new document, whole, and the next writer leaves no trace of the crash."""
    with running("kill", start, str(tmp_path)) as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert int(output) > 40


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES])
def test_failure_of_every_instruction(tmp_path: Path, number: int) -> None:
    """Any call may fail: the error is one of ours, and what signers read is whole."""
    with running("fail", str(number), str(tmp_path)) as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    kinds = set(output.split())
    assert kinds == {"StoreDenied" if number == errno.EACCES else "StoreUnavailable"}


def fail_every_call(number: int, work: Path) -> list[str]:
    """Let each changing call of a write fail once; return the names of the errors that came of it."""
    kinds: list[str] = []
    for call in range(1, 1000):
        out = Path(tempfile.mkdtemp(dir=work)) / "out"
        put(delivery(out), 1)
        seen = delivery(out).look().document
        assert seen is not None
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os._exit(_fail_once(out, call, number, seen, writing))
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        _, status = os.waitpid(child, 0)
        assert os.WIFEXITED(status)
        assert os.WEXITSTATUS(status) == 0
        check_after_crash(out, before=1, after=2)
        if said == "landed":
            return kinds
        kinds.append(said)
    raise AssertionError("a write has no end")


def _fail_once(out: Path, call: int, number: int, seen: Document, answer: int) -> int:
    say = os.write
    count = 0

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == call:
                raise OSError(number, os.strerror(number))
            return real(*args, **kwargs)

        return wrapped

    # Not those that a tidy-up ignores on purpose (closing, signing the lock).
    for name in ("open", "write", "fsync", "fchmod", "mkdir", "rename", "symlink", "scandir"):
        setattr(os, name, wrap(getattr(os, name)))
    try:
        delivery(out).write(document(2), replacing=seen.token)
    except StoreError as error:
        say(answer, type(error).__name__.encode())
    else:
        say(answer, b"landed")
    return 0


def stop_before_write(out: Path) -> str:
    """A writer that is stopped between its look and its write, and says what became of it."""
    target = delivery(out)
    seen = target.look().document
    os.kill(os.getpid(), signal.SIGSTOP)
    try:
        target.write(document(2), replacing=seen.token if seen else None)
    except Conflict as error:
        return f"Conflict {error.message}"
    return "landed"


def stop_inside_write(out: Path) -> str:
    """A writer that is stopped with the lock in its hand, right before the switch."""
    target = delivery(out)
    seen = target.look().document
    rename = os.rename

    def stopping(*args: Any, **kwargs: Any) -> None:
        os.rename = rename
        os.kill(os.getpid(), signal.SIGSTOP)
        rename(*args, **kwargs)

    os.rename = stopping
    target.write(document(2), replacing=seen.token if seen else None)
    return "landed"


def wait_until_stopped(process: subprocess.Popen[str]) -> None:
    """Wait until the kernel says that a child is stopped; the test's own timeout bounds it."""
    pid, status = os.waitpid(process.pid, os.WUNTRACED)
    assert pid == process.pid
    assert os.WIFSTOPPED(status)


def test_a_stopped_writer_does_not_land(tmp_path: Path) -> None:
    """Stopped before its write while another promotes and delivers: its old document does not land."""
    out = tmp_path / "out"
    put(delivery(out), 1)
    with running("stop-before", str(out)) as writer:
        wait_until_stopped(writer)
        put(delivery(out), 3)
        os.kill(writer.pid, signal.SIGCONT)
        said, _ = writer.communicate(timeout=60)
    assert said.startswith("Conflict the signing document of key set web at ")
    assert read_as_signer(out) == 3
    assert delivery(out).look().note == ""


def test_a_writer_stopped_in_mid_write_keeps_others_out_for_a_bounded_time(tmp_path: Path) -> None:
    """The others say who holds the lock; signers go on reading; nobody's write is lost."""
    out = tmp_path / "out"
    put(delivery(out), 1)
    with running("stop-inside", str(out)) as writer:
        wait_until_stopped(writer)
        assert delivery(out).look().note == ""  # a writer at work is no crashed one
        with pytest.raises(StoreUnavailable, match=rf"pid {writer.pid}"):
            put(delivery(out, lock_timeout=0.2), 3)
        assert read_as_signer(out) == 1
        os.kill(writer.pid, signal.SIGCONT)
        said, _ = writer.communicate(timeout=60)
    assert said == "landed"
    put(delivery(out), 3)
    assert read_as_signer(out) == 3


def race(out: Path, count: int) -> int:
    """Write revision after revision against others; return how many of ours landed."""
    target, landed = delivery(out, lock_timeout=60.0), 0
    for _ in range(count):
        seen = target.look().document
        revision = (seen.revision or 0) + 1 if seen else 1
        try:
            target.write(document(revision), replacing=seen.token if seen else None)
        except Conflict:
            continue
        landed += 1
    return landed


def test_racing_writers_never_lose_a_revision_and_readers_never_see_a_mix(tmp_path: Path) -> None:
    """Eight processes: every write that succeeded raised the revision by one; a reader sees only whole ones."""
    out = tmp_path / "out"
    writers = [run("race", str(out), "15") for _ in range(8)]
    try:
        latest, target = 0, delivery(out)
        while any(writer.poll() is None for writer in writers):
            revision = read_as_signer(out) or 0
            assert revision >= latest
            latest = revision
            seen = target.look().document
            assert seen is None or seen.revision is not None
        landed = [int(writer.communicate(timeout=60)[0]) for writer in writers]
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert sum(landed) == read_as_signer(out)
    assert target.look().note == ""


def fill_up(path: Path) -> None:
    """Take all the space that there is."""
    with path.open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """A file system of a few pages, filled by somebody else and freed again."""
    mounted = ["mount", "-t", "tmpfs", "-o", "size=64k", "rotator-test", str(tmp_path)]
    if subprocess.run(mounted, check=False, capture_output=True).returncode:
        pytest.skip("this container may not mount; the injected ENOSPC above stands for it")
    try:
        out = tmp_path / "out"
        put(delivery(out), 1)
        with pytest.raises(OSError, match="No space left"):
            fill_up(tmp_path / "ballast")
        with pytest.raises(StoreUnavailable, match="free some space"):
            put(delivery(out), 2)
        assert read_as_signer(out) == 1
        assert delivery(out).look().note == ""
        (tmp_path / "ballast").unlink()
        put(delivery(out), 2)
        assert read_as_signer(out) == 2
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
        with pytest.raises(StoreUnavailable, match="mount the file system for writing"):
            put(delivery(out), 3)
        assert read_as_signer(out) == 2
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_directory_that_goes_away_in_mid_run(tmp_path: Path) -> None:
    """The parent unmounted or removed: no answer, and no directory is made in its place."""
    parent = tmp_path / "mount"
    parent.mkdir()
    target = delivery(parent / "out")
    put(target, 1)
    parent.rename(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable):
        target.look()
    with pytest.raises((StoreUnavailable, StoreDenied)):
        target.write(document(2), replacing=None)
    assert not parent.exists()


def main(command: str, *args: str) -> str:
    """Do what a test asked for, in this process of its own."""
    match command, args:
        case "kill", (start, work):
            return str(kill_at_every_call(start, Path(work)))
        case "fail", (number, work):
            return " ".join(fail_every_call(int(number), Path(work)))
        case "race", (out, count):
            return str(race(Path(out), int(count)))
        case "stop-before", (out,):
            return stop_before_write(Path(out))
        case "stop-inside", (out,):
            return stop_inside_write(Path(out))
        case _:
            raise AssertionError(command)


if __name__ == "__main__":
    sys.stdout.write(main(*sys.argv[1:]))
