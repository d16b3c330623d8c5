"""The JWKS as a file: what a look shows, what a write replaces, and what a crash leaves."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

import pytest

from rotator.errors import Conflict, StoreCorrupt, StoreDenied, StoreUnavailable
from rotator.publication.file import FilePublication
from rotator.publication.sidecar import digest_of, parse_sidecar, sidecar_path
from rotator.stores import Document, DocumentKind, VersionToken


def jwks(*kids: str) -> bytes:
    """Return a JWKS of Ed25519 keys that differ in their kid only."""
    keys = [
        {"kty": "OKP", "kid": kid, "use": "sig", "alg": "EdDSA", "crv": "Ed25519", "x": "AAAA"}
        for kid in kids
    ]
    return json.dumps({"keys": keys}).encode()


def document(revision: int, *kids: str, key_set: str = "web") -> Document:
    """Return a document of a revision; its kid is named by the revision unless told otherwise."""
    body = jwks(*(kids or (f"k{revision}",)))
    return Document(body, key_set, revision, max_age=300, stale=600)


def token_of(target: FilePublication) -> VersionToken | None:
    """Return the token that a look gives."""
    seen = target.look().document
    return seen.token if seen else None


def names(directory: Path) -> set[str]:
    """Return the names in a directory."""
    return {entry.name for entry in directory.iterdir()}


@pytest.fixture
def target(tmp_path: Path) -> FilePublication:
    """A publication into an empty directory."""
    return FilePublication(tmp_path / "jwks.json", "web", lock_timeout=0.2)


def test_it_is_a_target_named_by_its_absolute_path(tmp_path: Path) -> None:
    target = FilePublication(tmp_path / "a" / ".." / "jwks.json", "web")
    assert target.name == f"file:{tmp_path}/jwks.json"
    assert target.kind is DocumentKind.JWKS
    assert target.writable
    assert target.independent


def test_an_absent_file_in_a_directory_is_nothing(target: FilePublication) -> None:
    assert target.look().document is None


def test_a_directory_that_a_write_would_create_is_nothing(tmp_path: Path) -> None:
    target = FilePublication(tmp_path / "new" / "jwks.json", "web")
    assert target.look().document is None
    target.write(document(1), replacing=None)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o755


def test_no_directory_is_no_answer_and_no_place_to_write(tmp_path: Path) -> None:
    target = FilePublication(tmp_path / "not" / "mounted" / "jwks.json", "web")
    with pytest.raises(StoreUnavailable, match="mkdir -p"):
        target.look()
    with pytest.raises(StoreUnavailable, match="mkdir -p"):
        target.write(document(1), replacing=None)


def test_what_was_written_is_read_back_with_revision_and_lifetimes(target: FilePublication) -> None:
    target.write(document(7), replacing=None)
    sight = target.look()
    assert sight.document == Document(
        jwks("k7"), "web", 7, VersionToken(digest_of(jwks("k7"))), max_age=300, stale=600
    )
    assert sight.note == ""
    assert sight.cache is None


def test_the_sidecar_says_everything_in_its_documented_form(tmp_path: Path) -> None:
    at = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    target = FilePublication(tmp_path / "jwks.json", "web", now=lambda: at)
    target.write(document(1), replacing=None)
    target.write(document(2), replacing=token_of(target))
    assert json.loads((tmp_path / "jwks.json.meta.json").read_bytes()) == {
        "format": "rotator.publication/1",
        "key_set": "web",
        "revision": 2,
        "sha256": digest_of(jwks("k2")),
        "max_age": 300,
        "stale": 600,
        "modified": "2031-05-06T07:08:09+00:00",
        "previous": {"revision": 1, "sha256": digest_of(jwks("k1"))},
    }


def test_a_body_that_stays_keeps_its_date_under_a_new_revision(tmp_path: Path) -> None:
    dates = [datetime(2031, 1, day, tzinfo=UTC) for day in (2, 1)]
    target = FilePublication(tmp_path / "jwks.json", "web", now=dates.pop)
    target.write(document(1, "same"), replacing=None)
    target.write(document(2, "same"), replacing=token_of(target))
    sidecar = parse_sidecar(sidecar_path(target.path).read_bytes())
    assert sidecar is not None
    assert (sidecar.revision, sidecar.modified.day) == (2, 1)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_the_mode_is_the_one_asked_for_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    target = FilePublication(tmp_path / "jwks.json", "web", mode)
    before = os.umask(0o077)
    try:
        target.write(document(1), replacing=None)
    finally:
        os.umask(before)
    for path in (target.path, sidecar_path(target.path)):
        assert path.stat().st_mode & 0o777 == mode


def test_a_write_needs_the_token_of_what_is_there(target: FilePublication) -> None:
    with pytest.raises(Conflict):
        target.write(document(1), replacing=VersionToken("0" * 64))
    target.write(document(1), replacing=None)
    with pytest.raises(Conflict):
        target.write(document(2), replacing=None)
    assert target.path.read_bytes() == jwks("k1")


def test_no_higher_revision_is_replaced_even_with_its_token(target: FilePublication) -> None:
    target.write(document(5), replacing=None)
    with pytest.raises(Conflict, match="revision 5"):
        target.write(document(4), replacing=token_of(target))
    target.write(document(5, "again"), replacing=token_of(target))
    assert target.path.read_bytes() == jwks("again")


def test_an_equal_body_of_a_higher_revision_fences_as_well(target: FilePublication) -> None:
    target.write(document(4, "same"), replacing=None)
    stale = token_of(target)
    target.write(document(6, "same"), replacing=stale)
    with pytest.raises(Conflict, match="revision 6"):
        target.write(document(5), replacing=stale)


def test_a_file_without_sidecar_is_nobodys(target: FilePublication) -> None:
    target.path.write_bytes(jwks("foreign"))
    seen = target.look().document
    assert seen is not None
    assert (seen.key_set, seen.revision) == (None, None)
    target.write(document(1), replacing=seen.token)
    assert target.look().document == Document(
        jwks("k1"), "web", 1, VersionToken(digest_of(jwks("k1"))), max_age=300, stale=600
    )


def test_another_key_sets_document_keeps_its_name(target: FilePublication) -> None:
    FilePublication(target.path, "other").write(document(9, key_set="other"), replacing=None)
    seen = target.look().document
    assert seen is not None
    assert (seen.key_set, seen.revision) == ("other", 9)


def test_a_file_edited_by_hand_is_drift_of_the_sidecars_revision(target: FilePublication) -> None:
    target.write(document(3), replacing=None)
    target.path.write_bytes(jwks("k3", "planted"))
    sight = target.look()
    assert sight.document is not None
    assert (sight.document.key_set, sight.document.revision) == ("web", 3)
    assert sight.note.startswith("drift:")
    target.write(document(3), replacing=sight.document.token)
    assert target.look().note == ""


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"format": "rotator.publication/2"}',
        b'{"format": "rotator.publication/1"}',
        b"[" * 100_000,
    ],
)
def test_a_sidecar_that_is_not_ours_is_nobodys(target: FilePublication, damaged: bytes) -> None:
    target.write(document(3), replacing=None)
    sidecar_path(target.path).write_bytes(damaged)
    sight = target.look()
    assert sight.document is not None
    assert (sight.document.key_set, sight.document.revision) == (None, None)
    assert "cannot be understood" in sight.note


@pytest.mark.parametrize(
    "member", ["key_set", "revision", "sha256", "max_age", "modified", "previous"]
)
@pytest.mark.parametrize("value", [True, -1, [], "x", 1.5])
def test_no_wrong_value_in_a_sidecar_is_believed(
    target: FilePublication, member: str, value: object
) -> None:
    target.write(document(3), replacing=None)
    members = json.loads(sidecar_path(target.path).read_bytes())
    wrong = json.dumps(members | {member: value}).encode()
    expected = (member, value) == ("key_set", "x")  # any text is a name
    assert (parse_sidecar(wrong) is not None) is expected


def test_a_sidecar_cut_anywhere_never_lends_a_revision(target: FilePublication) -> None:
    target.write(document(3), replacing=None)
    whole = sidecar_path(target.path).read_bytes().rstrip()
    assert all(parse_sidecar(whole[:end]) is None for end in range(len(whole)))


def test_symbolic_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_bytes(b"precious")
    (tmp_path / "jwks.json").symlink_to("real.json")
    target = FilePublication(tmp_path / "jwks.json", "web")
    with pytest.raises(StoreDenied, match="symbolic link"):
        target.look()
    with pytest.raises(StoreDenied, match="symbolic link"):
        target.write(document(1), replacing=None)
    assert (tmp_path / "real.json").read_bytes() == b"precious"


def test_what_is_no_file_or_too_long_is_no_answer(tmp_path: Path) -> None:
    target = FilePublication(tmp_path / "jwks.json", "web")
    os.mkfifo(target.path)
    with pytest.raises(StoreCorrupt):
        target.look()
    target.path.unlink()
    with target.path.open("wb") as file:
        file.truncate((1 << 20) + 1)
    with pytest.raises(StoreCorrupt):
        target.look()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"keys": []}',
        b"not json",
        b"[" * 100_000,
        jwks("a", "a"),
        jwks("a").replace(b'"x"', b'"d": "AAAA", "x"'),
        jwks("a").replace(b'"x"', b'"k": "AAAA", "x"'),
        jwks("a").replace(b'"x"', b'"priv": "AAAA", "x"'),
        jwks("a").replace(b'"x"', b'"unknown": "AAAA", "x"'),
        jwks("a").replace(b'"x": "AAAA"', b'"x": 1'),
        jwks("a").replace(b'"kid"', b'"kid": "a", "kid"'),
        jwks("a").replace(b'{"keys"', b'{"keys": [{"d": "AAAA"}], "keys"'),
        jwks("a").replace(b'"OKP"', b'"oct"'),
        jwks("a").replace(b'"kid": "a", ', b""),
    ],
)
def test_nothing_but_public_keys_is_ever_written(target: FilePublication, body: bytes) -> None:
    with pytest.raises(StoreCorrupt) as refused:
        target.write(Document(body, "web", 1), replacing=None)
    assert "AAAA" not in str(refused.value)
    assert names(target.path.parent) == set()


def test_another_key_sets_document_is_not_written(target: FilePublication) -> None:
    with pytest.raises(StoreCorrupt):
        target.write(document(1, key_set="other"), replacing=None)


HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


def test_a_held_lock_ends_in_unavailable_and_writes_nothing(target: FilePublication) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            HOLDER,
            str(target.path.with_name(".jwks.json.lock")),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(StoreUnavailable, match="lock"):
            target.write(document(1), replacing=None)
        holder.communicate()
    assert not target.path.exists()
    target.write(document(1), replacing=None)


@contextmanager
def failing(name: str, number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make one function of `os` fail, as a full or read-only disk would."""

    def fail(*_arguments: object, **_more: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, name, fail)
        yield


@pytest.mark.parametrize(
    ("name", "number", "kind"),
    [
        ("write", errno.ENOSPC, StoreUnavailable),
        ("fsync", errno.EIO, StoreUnavailable),
        ("rename", errno.EROFS, StoreUnavailable),
        ("rename", errno.EACCES, StoreDenied),
    ],
)
def test_a_disk_that_fails_leaves_what_was_there(
    target: FilePublication,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    number: int,
    kind: type[Exception],
) -> None:
    target.write(document(1), replacing=None)
    before = target.look()
    with failing(name, number, monkeypatch), pytest.raises(kind):
        target.write(document(2), replacing=before.document.token if before.document else None)
    assert target.look() == before
    assert not [entry for entry in names(target.path.parent) if "tmp" in entry]


def test_readers_never_see_a_torn_pair(target: FilePublication) -> None:
    target.write(document(1), replacing=None)
    done, seen = Event(), []

    def read() -> None:
        reader = FilePublication(target.path, "web")
        while not done.is_set():
            seen.append(reader.look())

    readers = [Thread(target=read) for _ in range(2)]
    for thread in readers:
        thread.start()
    for revision in range(2, 40):
        target.write(document(revision), replacing=token_of(target))
    done.set()
    for thread in readers:
        thread.join()
    for sight in seen:
        assert sight.note == ""
        assert sight.document is not None
        assert sight.document.body == jwks(f"k{sight.document.revision}")


WRITER = """
import fcntl, os, signal, sys
from pathlib import Path
from rotator.publication.file import FilePublication
from rotator.stores import Document, VersionToken

path, end, revision, body = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
target = FilePublication(path, "web")
calls = 0

def counted(call):
    def stand_in(*arguments, **more):
        global calls
        calls += 1
        if calls == end:
            os.kill(os.getpid(), int(sys.argv[5]))
        return call(*arguments, **more)
    return stand_in

seen = target.look().document
for name in "open write fsync rename unlink mkdir close fchmod chmod ftruncate pwrite".split():
    setattr(os, name, counted(getattr(os, name)))
fcntl.flock = counted(fcntl.flock)
print("writing", flush=True)
target.write(Document(body.encode(), "web", revision, max_age=1), replacing=seen and seen.token)
"""


def start_writer(
    target: FilePublication, end: int, revision: int, number: int
) -> subprocess.Popen[bytes]:
    """Start a writer that sends itself a signal at its Nth system call."""
    arguments = [str(target.path), str(end), str(revision), jwks(f"k{revision}").decode()]
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, *arguments, str(int(number))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("first", [True, False])
def test_kill_at_each_system_call_leaves_a_readable_pair(
    target: FilePublication, tmp_path: Path, first: bool
) -> None:
    """Whatever the instruction: the old or the new document, whole, with its own revision."""
    revision, kills, seen = 0, 0, set()
    while True:
        if first:
            for entry in tmp_path.iterdir():
                entry.unlink()
        elif revision == 0:
            target.write(document(1), replacing=None)
            revision = 1
        before = target.look().document
        revision += 1
        with start_writer(target, kills + 1, revision, signal.SIGKILL) as writer:
            _, said = writer.communicate()
        after = target.look()
        assert after.note == ""
        if after.document is None:
            assert before is None
        else:
            assert after.document.revision in {revision, before.revision if before else None}
            assert after.document.body == jwks(f"k{after.document.revision}")
            seen.add(after.document.revision == revision)
        if writer.returncode == 0:
            break
        assert writer.returncode == -signal.SIGKILL, said
        kills += 1
    assert kills > 15
    assert True in seen
    assert first or False in seen
    assert len(names(tmp_path)) == 3  # the pair and the lock: leftovers were taken away
    target.write(document(revision + 1), replacing=token_of(target))


def test_a_writer_stopped_before_its_fence_does_not_land_later(target: FilePublication) -> None:
    """Show 9 of the issue, for a publication: SIGSTOP, somebody else publishes, SIGCONT."""
    target.write(document(1), replacing=None)
    with start_writer(target, 1, 2, signal.SIGSTOP) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        os.waitpid(writer.pid, os.WUNTRACED)
        target.write(document(3), replacing=token_of(target))
        writer.send_signal(signal.SIGCONT)
        _, said = writer.communicate()
    assert b"Conflict" in said
    assert target.path.read_bytes() == jwks("k3")


def test_of_many_writers_at_once_the_highest_revision_stays(target: FilePublication) -> None:
    target.write(document(1), replacing=None)
    writers = [start_writer(target, 0, revision, 9) for revision in range(2, 8)]
    for writer in writers:
        with writer:
            writer.communicate()
    revisions = [1] + [n for n, writer in enumerate(writers, 2) if writer.returncode == 0]
    seen = target.look()
    assert seen.note == ""
    assert seen.document is not None
    assert seen.document.revision == max(revisions)
