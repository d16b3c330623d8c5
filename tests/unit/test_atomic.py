"""Whole-file replacement, locks and what their errors mean, on real files and between real processes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rotator.atomic import (
    LIMIT,
    locked,
    read_regular,
    remove_leftovers,
    replace_file,
    translate,
    translating,
)
from rotator.errors import StoreCorrupt, StoreDenied, StoreError, StoreUnavailable


def names(directory: Path) -> list[str]:
    """What lies in a directory, sorted."""
    return sorted(entry.name for entry in directory.iterdir())


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_replaced_file_has_content_and_mode_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    """The mode is what was asked for; nothing else is left beside it."""
    path = tmp_path / "document"
    before = os.umask(0o077)
    try:
        replace_file(path, b"one", mode)
        replace_file(path, b"two", mode)
    finally:
        os.umask(before)
    assert read_regular(path) == b"two"
    assert path.stat().st_mode & 0o7777 == mode
    assert names(tmp_path) == ["document"]


def test_a_symbolic_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """Whoever plants a link does not choose what is overwritten."""
    (tmp_path / "victim").write_bytes(b"untouched")
    (tmp_path / "document").symlink_to("victim")
    replace_file(tmp_path / "document", b"new")
    assert (tmp_path / "victim").read_bytes() == b"untouched"
    assert not (tmp_path / "document").is_symlink()


def test_something_in_the_way_is_named(tmp_path: Path) -> None:
    """A directory where the file belongs: denied, with its path, and no temporary file is left."""
    (tmp_path / "document").mkdir()
    with pytest.raises(StoreDenied, match=r"see what stands at .*/document and move it"):
        replace_file(tmp_path / "document", b"new")
    assert names(tmp_path) == ["document"]


def test_a_missing_directory_is_unavailable(tmp_path: Path) -> None:
    """A file system may not be mounted: worth trying again."""
    with pytest.raises(StoreUnavailable, match="not mounted"):
        replace_file(tmp_path / "gone" / "document", b"new")


def test_a_file_that_may_not_grow_leaves_the_old_one(tmp_path: Path) -> None:
    """A real limit of the kernel in the middle of a write: old content, no temporary file, a hint."""
    path = tmp_path / "document"
    replace_file(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StoreUnavailable, match="free some space"):
            replace_file(path, bytes(20_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["document"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_unavailable() -> None:
    """The kernel's own ENOSPC."""
    with (
        pytest.raises(StoreUnavailable, match="no space left"),
        translating("cannot write"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")


def test_leftovers_of_crashed_writers_go_and_others_stay(tmp_path: Path) -> None:
    """Only what `replace_file` itself would have made for this very name is removed."""
    kept = ["a", ".a.txt", ".ab.0.tmp~", "a.tmp~"]
    for name in [*kept, ".a.0123456789abcdef.tmp~"]:
        (tmp_path / name).write_bytes(b"")
    remove_leftovers(tmp_path / "a")
    assert names(tmp_path) == sorted(kept)


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    """None says that the name does not exist, nothing more."""
    assert read_regular(tmp_path / "document") is None
    assert read_regular(tmp_path / "gone" / "document") is None


def make_socket(path: Path) -> None:
    """Leave a socket's name behind, as a crashed server does."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(path))


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (Path.mkdir, StoreCorrupt),
        (os.mkfifo, StoreCorrupt),
        (make_socket, StoreCorrupt),
        (lambda path: path.symlink_to("elsewhere"), StoreDenied),
        (lambda path: path.write_bytes(bytes(LIMIT + 1)), StoreCorrupt),
    ],
    ids=["directory", "fifo", "socket", "link", "too long"],
)
def test_only_regular_files_of_bounded_length_are_read(
    tmp_path: Path, make: Callable[[Path], object], error: type[StoreError]
) -> None:
    """None of them hangs, none is followed."""
    make(tmp_path / "document")
    with pytest.raises(error):
        read_regular(tmp_path / "document")


def test_a_file_of_exactly_the_limit_is_read(tmp_path: Path) -> None:
    """The bound is the length itself."""
    (tmp_path / "document").write_bytes(b"12345678")
    assert read_regular(tmp_path / "document", limit=8) == b"12345678"


@pytest.mark.parametrize(
    ("number", "kind", "hint"),
    [
        (errno.EACCES, StoreDenied, f"let uid {os.geteuid()} read and write /a/b"),
        (errno.EPERM, StoreDenied, "let uid"),
        (errno.ELOOP, StoreDenied, "/a/b is a symbolic link"),
        (errno.ENOTDIR, StoreDenied, "see what stands at /a/b"),
        (errno.EISDIR, StoreDenied, "move it out of the way"),
        (errno.ENOENT, StoreUnavailable, "not mounted"),
        (errno.EROFS, StoreUnavailable, "mount the file system for writing"),
        (errno.ENOSPC, StoreUnavailable, "free some space"),
        (errno.EDQUOT, StoreUnavailable, "quota"),
        (errno.EIO, StoreUnavailable, "kernel log"),
        (errno.EMFILE, StoreUnavailable, "ulimit -n"),
        (errno.EINTR, StoreUnavailable, ""),
    ],
)
def test_each_error_says_what_to_do(number: int, kind: type[StoreError], hint: str) -> None:
    """What a permission forbids is denied; what may pass by itself is unavailable."""
    error = translate(OSError(number, os.strerror(number), "/a/b"), "cannot write the ring of web")
    assert type(error) is kind
    assert error.message.startswith("cannot write the ring of web: ")
    assert hint in error.hint


def test_a_second_thread_waits_for_the_lock_and_then_has_it(tmp_path: Path) -> None:
    """A lock is between holders, not between processes only."""
    order: list[str] = []
    waiting = threading.Event()

    def second() -> None:
        waiting.set()
        with locked(tmp_path / "lock", timeout=30):
            order.append("second")

    with locked(tmp_path / "lock"):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(30)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]


def test_the_lock_of_another_process_is_bounded_and_ends_with_it(tmp_path: Path) -> None:
    """Its pid is named; kill -9 lets go of the lock; the lock file stays."""
    lock = tmp_path / "lock"
    program = (
        "import sys, pathlib\nfrom rotator.atomic import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            by_pid = rf"another process \(pid {holder.pid}\)"
            with pytest.raises(StoreUnavailable, match=by_pid), locked(lock, timeout=0.1):
                raise AssertionError("two holders")
        finally:
            holder.kill()
    with locked(lock, timeout=10):
        assert lock.exists()


def test_a_lock_whose_file_is_removed_meanwhile_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the open and the flock somebody removes the file: a lock on it would exclude nobody."""
    lock, flock, opened = tmp_path / "lock", fcntl.flock, 0

    def removing(descriptor: int, operation: int) -> None:
        nonlocal opened
        opened += 1
        if opened == 1:
            lock.unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", removing)
    with locked(lock):
        assert opened == 2
        with pytest.raises(StoreUnavailable), locked(lock, timeout=0):
            raise AssertionError("two holders")


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """Otherwise somebody else chooses which file is truncated."""
    (tmp_path / "victim").write_bytes(b"untouched")
    (tmp_path / "lock").symlink_to("victim")
    with pytest.raises(StoreDenied), locked(tmp_path / "lock"):
        pass
    assert (tmp_path / "victim").read_bytes() == b"untouched"


def test_an_error_inside_a_lock_is_not_translated(tmp_path: Path) -> None:
    """The lock speaks for itself only, and is free afterwards."""
    with pytest.raises(OSError, match="of the block"), locked(tmp_path / "lock"):
        raise OSError("of the block")
    with locked(tmp_path / "lock", timeout=0):
        pass
