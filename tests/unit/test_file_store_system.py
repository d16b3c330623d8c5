"""The file store on real full, read-only and unmounted disks, without permission, and beside a stopped process.

Run as a script, this file plays one scene in a process of its own: in a mount namespace where a disk has to
be mounted, without capabilities where root would be let in, under a limit, or stopped in the middle of a
save. Pytest starts the scenes and looks at how they end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from rotator.plugin import Conflict, Secret, StoreDenied, StoreError, StoreUnavailable
from rotator_file.store import FileStore

OLD, NEW = (
    b'{"revision": 1}' * 10,
    b'{"revision": 2}' * 4000,
)  # 60 KB: more than is left where it matters
MATERIAL = Secret(b"m" * 3000)


def opened(path: Path) -> FileStore:
    """A store with a ring and the material of `kid`, both of the key set `orders`."""
    store = FileStore(path, lock_timeout=2)
    store.rings("orders").save(OLD, replacing=None)
    store.material("orders").put("kid", "kid", MATERIAL)
    return store


def ring_of(store: FileStore) -> bytes:
    """The ring as another handle reads it."""
    found = FileStore(store.path).rings("orders").load()
    assert found is not None
    return found.document


def replace_ring(store: FileStore, document: bytes = NEW) -> None:
    """Load and save, as a tick does."""
    found = store.rings("orders").load()
    assert found is not None
    store.rings("orders").save(document, replacing=found.version)


@contextlib.contextmanager
def refused(kind: type[StoreError], words: str) -> Iterator[None]:
    """Expect a refusal with some words in it, and a hint."""
    with pytest.raises(kind) as caught:
        yield
    assert words in caught.value.message
    assert caught.value.hint


def nothing_is_left(path: Path) -> None:
    """No temporary file lies anywhere in the store."""
    assert not [place for place in path.rglob("*") if place.name.endswith("~")]


def mount(path: Path, options: str) -> None:
    """Mount a small file system in memory, in the namespace of this process."""
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True)


# The scenes


def full_disk(path: Path) -> None:
    """A full disk refuses what is new, keeps what is old, and lets a key be destroyed."""
    mount(path, "size=128k,mode=700")
    store = opened(path)
    filler = path / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    with refused(StoreUnavailable, "no space left"):
        replace_ring(store)
    with refused(StoreUnavailable, "no space left"):
        store.material("orders").put("another", "another", MATERIAL)
    with refused(StoreUnavailable, "no space left"):
        store.rings("billing").save(OLD, replacing=None)
    assert any("KiB" in finding.text for finding in store.inspect().findings)
    nothing_is_left(path)
    assert ring_of(store) == OLD
    assert store.material("orders").get("kid", "kid") == MATERIAL
    assert store.rings("billing").load() is None
    store.material("orders").destroy("kid", "kid")
    assert store.material("orders").get("kid", "kid") is None
    filler.unlink()
    replace_ring(store)
    assert ring_of(store) == NEW


def no_inodes(path: Path) -> None:
    """Running out of inodes is the same to a store as running out of bytes."""
    mount(path, "nr_inodes=12,mode=700")
    store = opened(path)
    with contextlib.suppress(OSError):
        for number in range(20):
            (path / str(number)).touch()
    with refused(StoreUnavailable, "no space left"):
        replace_ring(store)
    assert ring_of(store) == OLD
    (path / "0").unlink()
    replace_ring(store)
    assert ring_of(store) == NEW


def read_only(path: Path) -> None:
    """A disk that was remounted read-only, as kernels do after an error, is still read."""
    mount(path, "size=1m,mode=700")
    store = opened(path)
    subprocess.run(["mount", "-o", "remount,bind,ro", path], check=True)
    for write in (
        lambda: replace_ring(store),
        lambda: store.material("orders").put("another", "another", MATERIAL),
        lambda: store.material("orders").destroy("kid", "kid"),
        lambda: store.rings("billing").save(OLD, replacing=None),
    ):
        with refused(StoreUnavailable, "read-only"):
            write()
    assert ring_of(store) == OLD
    assert store.material("orders").get("kid", "kid") == MATERIAL
    assert 69 in [finding.exit_code for finding in store.inspect().findings]
    subprocess.run(["mount", "-o", "remount,bind,rw", path], check=True)
    replace_ring(store)
    assert ring_of(store) == NEW


def unmounted(path: Path) -> None:
    """The empty mount point that is left is no empty store."""
    mount(path, "size=1m,mode=700")
    store = opened(path)
    subprocess.run(["umount", path], check=True)
    for call in (
        lambda: store.rings("orders").load(),
        lambda: store.rings("orders").save(OLD, replacing=None),
        lambda: store.material("orders").get("kid", "kid"),
        lambda: store.material("orders").destroy("kid", "kid"),
    ):
        with refused(StoreUnavailable, "is gone"):
            call()
    assert list(path.iterdir()) == []


def limited(path: Path) -> None:
    """A limit on the size of files is met in the middle of a write."""
    store = opened(path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    with refused(StoreUnavailable, "file too large"):
        replace_ring(store)
    nothing_is_left(path)
    assert ring_of(store) == OLD
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    replace_ring(store)
    assert ring_of(store) == NEW


def without_descriptors(path: Path) -> None:
    """A process that has too many files open is told so, and goes on when it has fewer."""
    store = opened(path)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    with refused(StoreUnavailable, "too many open files"):
        store.rings("orders").load()
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
    replace_ring(store)


def without_permission(path: Path) -> None:
    """Modes that keep even the owner out: denied, with the uid that needs them."""
    store = opened(path)
    drop_capabilities()
    path.chmod(0o500)
    with refused(StoreDenied, "permission denied"):
        store.rings("billing").save(OLD, replacing=None)
    path.chmod(0o700)
    (path / "orders").chmod(0o500)
    with refused(StoreDenied, "permission denied"):
        replace_ring(store)
    (path / "orders").chmod(0o700)
    (path / "orders/material").chmod(0o500)
    with refused(StoreDenied, "permission denied"):
        store.material("orders").put("another", "another", MATERIAL)
    with refused(StoreDenied, "permission denied"):
        store.material("orders").destroy("kid", "kid")
    (path / "orders/material").chmod(0o700)
    (path / "orders/ring.json").chmod(0)
    path.chmod(0)
    with refused(StoreDenied, "permission denied"):
        store.rings("orders").load()
    path.chmod(0o700)
    with refused(StoreDenied, "permission denied"):
        store.rings("orders").load()
    (path / "orders/ring.json").chmod(0o600)
    nothing_is_left(path)
    assert ring_of(store) == OLD
    replace_ring(store)


def drop_capabilities() -> None:
    """Give up what lets root past the modes of files, with capset(2); nothing to do for others."""
    version_3, nobody = 0x20080522, 0
    header = (ctypes.c_uint32 * 2)(version_3, nobody)
    none = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def stop_before_rename(path: Path) -> None:
    """Be stopped in the middle of a save, the lock held and the version checked."""
    rename = os.rename

    def stop_then_rename(*names: Any, **where: Any) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)
        rename(*names, **where)

    os.rename = stop_then_rename
    replace_ring(FileStore(path))


SCENES: dict[str, Callable[[Path], None]] = {
    scene.__name__: scene
    for scene in (
        *(full_disk, no_inodes, read_only, unmounted),
        *(limited, without_descriptors, without_permission, stop_before_rename),
    )
}
ON_A_DISK_OF_ITS_OWN = ("full_disk", "no_inodes", "read_only", "unmounted")


def main(scene: str, path: str) -> None:
    """Play one scene."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    SCENES[scene](Path(path))


# How pytest plays them


def script(scene: str, path: Path) -> list[str]:
    """The command that plays a scene."""
    return [sys.executable, "-P", __file__, scene, str(path)]


def namespace() -> list[str]:
    """The command that gives another one mounts of its own: as root, or in a namespace of users."""
    users = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *users, "--mount", "--propagation", "private"]


def may_mount(tmp_path: Path) -> bool:
    """Tell whether this machine lets us mount anything anywhere."""
    try:
        run = subprocess.run(
            [*namespace(), "mount", "-t", "tmpfs", "tmpfs", tmp_path],
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return False
    return run.returncode == 0


@pytest.mark.parametrize("scene", ON_A_DISK_OF_ITS_OWN)
def test_on_a_disk_of_its_own(tmp_path: Path, scene: str) -> None:
    """What a full, read-only or vanished disk does; test_file_store_crash.py plays it on any machine."""
    if not may_mount(tmp_path):
        pytest.skip(
            "this machine gives nobody a mount namespace; the errors are simulated elsewhere"
        )
    run = subprocess.run(
        [*namespace(), *script(scene, tmp_path / "disk")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("scene", ["limited", "without_descriptors", "without_permission"])
def test_within_limits(tmp_path: Path, scene: str) -> None:
    """What limits and modes do, to root as to anybody."""
    run = subprocess.run(
        script(scene, tmp_path / "keys"), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that was stopped in the middle of saving the ring of `tmp_path / "keys"`."""
    opened(tmp_path / "keys")
    process = subprocess.Popen(script("stop_before_rename", tmp_path / "keys"))
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_stopped_holder_of_the_lock(tmp_path: Path, stopped: subprocess.Popen[bytes]) -> None:
    """Others give up within the timeout, naming it; once continued it saves, and nobody's save is lost."""
    store = FileStore(tmp_path / "keys", lock_timeout=0.3)
    found = store.rings("orders").load()
    assert found is not None, "reading takes no lock"
    started = time.monotonic()
    with refused(StoreUnavailable, f"(pid {stopped.pid})"):
        store.rings("orders").save(b"mine", replacing=found.version)
    assert 0.3 <= time.monotonic() - started < 60
    store.rings("billing").save(OLD, replacing=None)  # another key set, another lock
    stopped.send_signal(signal.SIGCONT)
    assert stopped.wait(timeout=60) == 0
    assert ring_of(store) == NEW
    with pytest.raises(Conflict):
        store.rings("orders").save(b"mine", replacing=found.version)
    replace_ring(store, b"mine")
    assert ring_of(store) == b"mine"


def test_a_stopped_holder_that_is_killed(tmp_path: Path, stopped: subprocess.Popen[bytes]) -> None:
    """The kernel takes the lock back, what it had begun is gone, and the old ring is the ring."""
    store = FileStore(tmp_path / "keys", lock_timeout=5)
    assert [place for place in store.path.rglob("*") if place.name.endswith("~")]
    stopped.kill()
    assert stopped.wait(timeout=60) == -signal.SIGKILL
    assert ring_of(store) == OLD
    replace_ring(store, b"mine")
    assert ring_of(store) == b"mine"
    nothing_is_left(store.path)


def test_a_lock_file_that_was_removed(tmp_path: Path, stopped: subprocess.Popen[bytes]) -> None:
    """Whoever removes the lock under a stopped holder loses that holder's save, and no bytes are mixed."""
    store = FileStore(tmp_path / "keys", lock_timeout=5)
    (store.path / "orders/lock").unlink()
    replace_ring(store, b"mine")
    stopped.send_signal(signal.SIGCONT)
    assert stopped.wait(timeout=60) == 1, "its temporary file was taken for a leftover"
    assert ring_of(store) == b"mine"


if __name__ == "__main__":
    main(*sys.argv[1:])
