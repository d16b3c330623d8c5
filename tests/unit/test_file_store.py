"""The file store: what it makes, what it trusts, what it refuses, and what it says of each."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import ValidationError

from rotator.plugin import (
    ConfigError,
    Conflict,
    Document,
    Role,
    Secret,
    StoreCorrupt,
    StoreDenied,
    StoreUnavailable,
)
from rotator.stores import find_backend
from rotator_file.meaning import require_private
from rotator_file.settings import FileSettings
from rotator_file.store import FileStore

RING = b'{"format": "rotator.ring/1"}'
MATERIAL = Secret(b"the material of a key " * 5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The directory of the store."""
    return tmp_path / "keys"


@pytest.fixture
def store(path: Path) -> FileStore:
    """A store with a ring, the material of `kid`, and a document, all of the key set `orders`."""
    store = FileStore(path, lock_timeout=5)
    store.rings("orders").save(RING, replacing=None)
    store.material("orders").put("kid", "kid", MATERIAL)
    store.documents().write("orders/jwks", Document(b"{}", "orders", 1), replacing=None)
    return store


CALLS: dict[str, Callable[[FileStore], object]] = {
    "load": lambda store: store.rings("orders").load(),
    "save": lambda store: store.rings("orders").save(RING, replacing=None),
    "get": lambda store: store.material("orders").get("kid", "kid"),
    "put": lambda store: store.material("orders").put("kid", "kid", MATERIAL),
    "destroy": lambda store: store.material("orders").destroy("kid", "kid"),
    "read": lambda store: store.documents().read("orders/jwks"),
    "write": lambda store: store.documents().write(
        "orders/jwks", Document(b"{}", "orders", 2), replacing=None
    ),
}


def tree(path: Path) -> dict[str, tuple[int, bytes]]:
    """Every file and directory below a path, with its mode and content."""
    return {
        str(place.relative_to(path)): (
            place.lstat().st_mode,
            place.read_bytes() if place.is_file() and not place.is_symlink() else b"",
        )
        for place in sorted(path.rglob("*"))
    }


# What it makes


@pytest.mark.usefixtures("store")
def test_all_it_makes_is_for_its_user_alone(path: Path) -> None:
    """Directories 0700, files 0600, whatever the umask would give away."""
    modes = {
        name: stat.S_IMODE(mode) for name, (mode, _) in tree(path).items() if stat.S_ISDIR(mode)
    }
    assert modes == {"orders": 0o700, "orders/material": 0o700, "orders/documents": 0o700}
    files = {name: stat.S_IMODE(mode) for name, (mode, _) in tree(path).items()}
    assert {name for name in files if name not in modes} == {
        "orders/lock",
        "orders/ring.json",
        "orders/material/kid.json",
        "orders/documents/jwks.json",
    }
    assert {files[name] for name in files if name not in modes} == {0o600}
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_ring_is_kept_as_its_bytes(store: FileStore, path: Path) -> None:
    """The file is the ring, so that a person can read and restore it."""
    found = store.rings("orders").load()
    assert found is not None
    assert (path / "orders" / "ring.json").read_bytes() == found.document == RING


@pytest.mark.parametrize("name", ["load", "get", "read", "destroy"])
def test_asking_an_empty_store_makes_nothing(path: Path, name: str) -> None:
    """Where PATH does not exist yet, and may, there is nothing; looking does not make it."""
    assert CALLS[name](FileStore(path)) is None
    assert not path.exists()


def test_importing_the_backend_is_cheap() -> None:
    """Finding and naming the backend loads neither pydantic nor the store."""
    script = (
        "import sys; from rotator.stores import find_backend; find_backend('file');"
        "print(*({'pydantic', 'structlog', 'rotator_file.store', 'cryptography'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, check=True)
    assert run.stdout.split() == []


# What it is configured with


def test_settings() -> None:
    """`path` is all that is needed; a lock timeout is a duration as everywhere."""
    settings = find_backend("file").settings()(path="/srv/keys")
    assert settings == FileSettings.model_validate(
        {"path": "/srv/keys", "lock_timeout": "10s", "create": True}
    )
    timeouts = {"500ms": 0.5, "10s": 10, "1m": 60}
    for given, seconds in timeouts.items():
        parsed = FileSettings.model_validate({"path": "/srv", "lock_timeout": given})
        assert parsed.lock_timeout == seconds


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"path": "/srv", "lock_timout": 3},
        *(
            {"path": "/srv", "lock_timeout": value}
            for value in (0, -1, 2.5, "10", "1h", "12:30", "0s", "11m", 1e9)
        ),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    """An unknown key, a missing path, a timeout without a unit or without sense."""
    with pytest.raises(ValidationError):
        FileSettings.model_validate(wrong)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../orders", "/etc", "-rf", "UPPER", "a\0b", "x" * 64, "a\n", "é"],
)
def test_no_key_set_leaves_the_directory(store: FileStore, name: str) -> None:
    """Names are checked where they become paths, whoever checked them before."""
    with pytest.raises(ConfigError):
        store.rings(name)
    with pytest.raises(ConfigError):
        store.material(name)
    with pytest.raises(ConfigError):
        store.documents().read(f"{name}/jwks")


@pytest.mark.parametrize("locator", ["", "..", "../ring", "a/b", ".hidden", "-x", "x" * 161, "a\0"])
def test_no_locator_leaves_the_directory(store: FileStore, path: Path, locator: str) -> None:
    """A ring that names a path is a ring that somebody else wrote."""
    before = tree(path)
    material = store.material("orders")
    with pytest.raises(StoreCorrupt, match="locator"):
        material.get(locator, "kid")
    with pytest.raises(StoreCorrupt, match="locator"):
        material.put(locator, "kid", MATERIAL)
    with pytest.raises(StoreCorrupt, match="locator"):
        material.destroy(locator, "kid")
    assert tree(path) == before


def test_locators_that_differ_only_in_case_are_taken(store: FileStore) -> None:
    """Some file systems take `Key` and `key` for one name."""
    assert store.material("orders").allocate("KEY", frozenset({"key"})) == "KEY.2"


def test_a_document_needs_a_key_set(store: FileStore) -> None:
    """The first part of a document's name says where it lies."""
    with pytest.raises(ConfigError, match="KEY_SET/DOCUMENT"):
        store.documents().read("signing")


# What it trusts


@pytest.mark.parametrize(
    ("name", "mode", "calls"),
    [
        ("orders", 0o750, list(CALLS)),
        ("orders", 0o701, list(CALLS)),
        ("orders/lock", 0o666, ["save", "put", "destroy", "write"]),
        ("orders/ring.json", 0o640, ["load", "save"]),
        ("orders/material", 0o755, ["save", "get", "put", "destroy", "write"]),
        ("orders/material/kid.json", 0o644, ["get", "put"]),
        ("orders/documents", 0o770, ["save", "put", "destroy", "read", "write"]),
        ("orders/documents/jwks.json", 0o604, ["read", "write"]),
    ],
)
def test_what_others_may_use_is_refused(
    store: FileStore, name: str, mode: int, calls: list[str]
) -> None:
    """Nothing is read through or written beside what others can change; the hint mends it."""
    place = store.path / name
    command = f"chmod {'700' if place.is_dir() else '600'} {place}"
    place.chmod(mode)
    before = tree(store.path)
    for call in calls:
        with pytest.raises(StoreDenied, match=f"{mode:04o}") as refused:
            CALLS[call](store)
        assert refused.value.hint.endswith(command)
    assert tree(store.path) == before
    subprocess.run(command.split(), check=True)
    store.material("orders").put("kid", "kid", MATERIAL)
    assert store.documents().read("orders/jwks") is not None


def test_material_that_others_may_read_can_be_destroyed(store: FileStore, path: Path) -> None:
    """A leak is a reason to destroy a key, not an obstacle."""
    (path / "orders/material/kid.json").chmod(0o644)
    store.material("orders").destroy("kid", "kid")
    assert not list((path / "orders/material").iterdir())


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o1777, 0o2770])
def test_the_root_of_a_volume_may_be_looser(path: Path, mode: int) -> None:
    """PATH may be a mounted volume's root; what is in it is strict all the same."""
    path.mkdir()
    path.chmod(mode)
    store = FileStore(path)
    store.rings("orders").save(RING, replacing=None)
    assert stat.S_IMODE((path / "orders").stat().st_mode) & 0o777 == 0o700
    assert stat.S_IMODE((path / "orders/ring.json").stat().st_mode) == 0o600
    assert store.rings("orders").load() is not None


def test_another_users_key_set_is_refused(store: FileStore, path: Path) -> None:
    """Root looks at a store that wholly belongs to another, and writes to none that is not its own."""
    if os.geteuid() != 0:
        # Without the right to give files away, root's own directory is somebody else's.
        with pytest.raises(StoreDenied, match="belongs to uid 0"):
            require_private(Path("/").stat(), Path("/"), frozenset({os.geteuid()}))
        return
    everything = [path / "orders", *(path / "orders").rglob("*")]
    for place in everything:
        os.chown(place, 1234, -1)
    with pytest.raises(StoreDenied, match="belongs to uid 1234"):
        store.rings("orders").load()
    os.chown(path, 1234, -1)
    found = store.rings("orders").load()
    assert found is not None
    with pytest.raises(StoreDenied, match="belongs to uid 1234") as refused:
        store.rings("orders").save(RING, replacing=found.version)
    assert f"chown -R 0 {path}/orders" in refused.value.hint


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("", list(CALLS)),
        ("orders", list(CALLS)),
        ("orders/lock", ["save", "put", "destroy", "write"]),
        ("orders/ring.json", ["load", "save"]),
        ("orders/material", ["save", "get", "put", "destroy", "write"]),
        ("orders/material/kid.json", ["get", "put", "destroy"]),
        ("orders/documents", ["save", "put", "destroy", "read", "write"]),
        ("orders/documents/jwks.json", ["read", "write"]),
    ],
)
def test_symbolic_links_are_refused(
    store: FileStore, path: Path, tmp_path: Path, name: str, calls: list[str]
) -> None:
    """A link in the place of anything of ours is not followed, even to the very thing it replaced."""
    place = path / name
    elsewhere = tmp_path / "elsewhere"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    before = tree(tmp_path)
    for call in calls:
        with pytest.raises(StoreDenied, match="symbolic link"):
            CALLS[call](store)
    assert tree(tmp_path) == before


def test_a_dangling_link_is_no_absence(store: FileStore, path: Path) -> None:
    """Nothing is created through a link to nowhere, and it is not taken for a first run."""
    ring = path / "orders/ring.json"
    ring.unlink()
    ring.symlink_to(path / "nowhere")
    for call in ("load", "save"):
        with pytest.raises(StoreDenied, match="symbolic link"):
            CALLS[call](store)
    assert not (path / "nowhere").exists()


@pytest.mark.parametrize("kind", ["directory", "fifo", "socket", "device"])
@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("orders/lock", ["save", "put", "destroy", "write"]),
        ("orders/ring.json", ["load", "save"]),
        ("orders/material/kid.json", ["get", "put", "destroy"]),
        ("orders/documents/jwks.json", ["read", "write"]),
    ],
)
@pytest.mark.timeout(20)
def test_what_is_no_file_is_refused_at_once(
    store: FileStore, path: Path, kind: str, name: str, calls: list[str]
) -> None:
    """Neither a FIFO without a writer nor anything else makes a call hang."""
    place = path / name
    place.unlink()
    if kind == "directory":
        place.mkdir(mode=0o700)
    elif kind == "fifo":
        os.mkfifo(place, 0o600)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            # By a short path: those of sockets end after some hundred bytes.
            server.bind(f"/proc/self/fd/{os.open(place.parent, os.O_RDONLY)}/{place.name}")
        place.chmod(0o600)
    else:
        try:
            os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        except PermissionError:
            os.mkfifo(place, 0o600)  # only root makes devices
    for call in calls:
        with pytest.raises(StoreCorrupt, match="not a regular file"):
            CALLS[call](store)
    assert place.exists()


# What it finds wrong


def test_a_ring_of_ten_megabytes_is_refused(store: FileStore, path: Path) -> None:
    """Nothing of ours is longer than one MiB, and nothing longer is read into memory or written."""
    ring = path / "orders/ring.json"
    ring.write_bytes(b"x" * (10 << 20))
    with pytest.raises(StoreCorrupt, match="longer than 1048576 bytes"):
        store.rings("orders").load()
    with pytest.raises(StoreCorrupt, match="longer than 1048576 bytes"):
        store.rings("billing").save(b"x" * ((1 << 20) + 1), replacing=None)
    assert store.rings("billing").load() is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[" * 200_000,
        b"[]",
        b"null",
        b'{"format": "rotator.material/2", "key_set": "orders", "kid": "kid", "material": "eA=="}',
        b'{"format": "rotator.material/1", "key_set": "orders", "kid": "kid"}',
        b'{"format": "rotator.material/1", "key_set": "orders", "kid": "kid", "material": 7}',
        b'{"format": "rotator.material/1", "key_set": "orders", "kid": "kid", "material": "%%%"}',
    ],
    ids=range(10),
)
def test_damaged_material(store: FileStore, path: Path, content: bytes) -> None:
    """What cannot be read is corrupt, is not written over, and can be destroyed."""
    place = path / "orders/material/kid.json"
    place.write_bytes(content)
    material = store.material("orders")
    with pytest.raises(StoreCorrupt):
        material.get("kid", "kid")
    with pytest.raises(StoreCorrupt):
        material.put("kid", "kid", MATERIAL)
    assert place.read_bytes() == content
    material.destroy("kid", "kid")
    assert not place.exists()


def test_material_of_another_key_set_is_corrupt(store: FileStore, path: Path) -> None:
    """A file that somebody copied from another key set is neither used nor destroyed."""
    store.material("billing").put("kid", "kid", MATERIAL)
    shutil.copy2(path / "billing/material/kid.json", path / "orders/material/kid.json")
    for call in ("get", "put", "destroy"):
        with pytest.raises(StoreCorrupt, match="'orders'"):
            CALLS[call](store)
    assert (path / "orders/material/kid.json").exists()


def test_an_error_keeps_nothing_of_a_damaged_file(store: FileStore, path: Path) -> None:
    """A JSON error holds the text that it failed on: none is left on the exception, however deep."""
    place = path / "orders/material/kid.json"
    place.write_bytes(place.read_bytes()[:-3])
    with pytest.raises(StoreCorrupt) as refused:
        store.material("orders").get("kid", "kid")
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


def test_a_foreign_document_is_shown_as_foreign(store: FileStore, path: Path) -> None:
    """What `rotator` did not write has neither key set nor revision, and is replaced by its token only."""
    (path / "orders/documents/jwks.json").write_bytes(b'{"keys": []}')
    documents = store.documents()
    found = documents.read("orders/jwks")
    assert found is not None
    assert (found.body, found.key_set, found.revision) == (b'{"keys": []}', None, None)
    with pytest.raises(Conflict):
        documents.write("orders/jwks", Document(b"x", "orders", 5), replacing=None)
    documents.write("orders/jwks", Document(b"x", "orders", 5), replacing=found.token)


def test_cache_lifetimes_are_kept_with_a_document(store: FileStore) -> None:
    """Who serves a JWKS from the store serves it with the lifetimes of its policy."""
    documents = store.documents()
    written = Document(b"{}", "orders", 1, max_age=300, stale=21600)
    documents.write("orders/other", written, replacing=None)
    found = documents.read("orders/other")
    assert found is not None
    assert (found.max_age, found.stale) == (300, 21600)


# What is gone


@pytest.mark.parametrize("below", ["", "first"])
def test_a_directory_made_by_another_thread_right_after_the_look_is_not_gone(
    path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    """Many key sets begin at once in one new store: what one has made since was never gone for the other."""
    store, opened = FileStore(path), os.open
    others: list[str] = []
    if below:
        path.mkdir()

    def looks(place: str | Path, *rest: Any, **named: Any) -> int:
        try:
            return opened(place, *rest, **named)
        except FileNotFoundError:
            if str(place) == (below or str(path)) and not others:
                others.append("begins")
                store.rings("first").save(RING, replacing=None)
            raise

    monkeypatch.setattr(os, "open", looks)
    assert store.rings("first").load() is None
    assert others
    monkeypatch.undo()
    found = store.rings("first").load()
    assert found is not None


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", ["", "orders"])
def test_a_directory_that_vanished_is_no_empty_store(
    store: FileStore, path: Path, call: str, name: str
) -> None:
    """What this process has seen and is gone was unmounted or moved; it is not made anew."""
    shutil.rmtree(path / name)
    with pytest.raises(StoreUnavailable, match="is gone"):
        CALLS[call](store)
    assert not (path / name).exists()


def test_a_directory_that_came_back_is_used_again(
    store: FileStore, path: Path, tmp_path: Path
) -> None:
    """The volume is mounted again: no restart is needed."""
    path.rename(tmp_path / "away")
    with pytest.raises(StoreUnavailable):
        store.rings("orders").load()
    (tmp_path / "away").rename(path)
    assert store.rings("orders").load() is not None


@pytest.mark.parametrize("call", CALLS)
def test_a_directory_that_may_not_be_made(tmp_path: Path, call: str) -> None:
    """With `create: false`, or without a directory above, absence is no answer."""
    with pytest.raises(StoreUnavailable, match="does not exist"):
        CALLS[call](FileStore(tmp_path / "keys", create=False))
    with pytest.raises(StoreUnavailable, match="nor does the one above it"):
        CALLS[call](FileStore(tmp_path / "volume/keys"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", CALLS)
def test_a_file_in_the_place_of_the_directory(tmp_path: Path, call: str) -> None:
    """Only a person can move it."""
    (tmp_path / "keys").write_bytes(b"")
    with pytest.raises(StoreDenied, match="not a directory"):
        CALLS[call](FileStore(tmp_path / "keys"))


# What it says


def test_every_call_is_one_event_without_its_payload(store: FileStore) -> None:
    """DEBUG, `store.call`, five fields; a failure is named, nothing of what was carried is."""
    with structlog.testing.capture_logs() as events:
        quiet = FileStore(store.path)
        quiet.rings("orders").load()
        with pytest.raises(Conflict):
            quiet.rings("orders").save(RING, replacing=None)
        quiet.material("orders").get("kid", "kid")
    assert [(event["op"], event["outcome"]) for event in events] == [
        ("ring.load", "ok"),
        ("ring.save", "Conflict"),
        ("material.get", "ok"),
    ]
    for event in events:
        assert event["event"] == "store.call"
        assert event["log_level"] == "debug"
        assert event["store"] == str(store.path)
        assert event["key_set"] == "orders"
        assert event["duration_ms"] >= 0
        assert len(event) <= 8
        assert MATERIAL.reveal().decode() not in repr(event)


def test_an_inspection_finds_what_is_wrong(store: FileStore, path: Path) -> None:
    """Rings are counted, loose modes are faults with their exit code, plain text at rest is advice."""
    (path / "lost+found").mkdir()
    (path / "NOTES").write_text("by hand")
    good = store.inspect()
    assert {finding.level for finding in good.findings} <= {"ok", "advice"}
    assert any("1 key set has a ring" in finding.text for finding in good.findings)
    assert any("not encrypted at rest" in finding.text for finding in good.findings)
    (path / "orders/material/kid.json").chmod(0o644)
    path.chmod(0o777)
    before = tree(path)
    bad = store.inspect().findings
    fault = next(finding for finding in bad if finding.level == "fault")
    assert "kid.json has mode 0644" in fault.text
    assert fault.exit_code == 77
    assert "chmod 600" in fault.hint
    assert any("others than its owner may write" in finding.text for finding in bad)
    assert tree(path) == before


def test_an_inspection_of_nothing(tmp_path: Path) -> None:
    """An absent directory is fine where it may be made, and a fault where it may not."""
    levels = [finding.level for finding in FileStore(tmp_path / "keys").inspect().findings]
    assert "fault" not in levels
    missing = FileStore(tmp_path / "keys", create=False).inspect().findings
    assert [finding.exit_code for finding in missing if finding.level == "fault"] == [69]
    assert list(tmp_path.iterdir()) == []


def test_policies_give_signers_nothing_here(store: FileStore, path: Path) -> None:
    """Rings and material lie together: only rotator itself gets at them."""
    assert f"install -d -m 0700 -o rotator -g rotator {path}" in store.policy(Role.ROTATOR)
    for role in (Role.SIGNER, Role.VERIFIER, Role.JWKS_READER):
        assert "Nothing in" in store.policy(role)
