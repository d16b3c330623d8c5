"""Deliveries as files: what signers see, what is refused, what is drift, on a real file system."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from jwcrypto.jwk import JWK

from rotator.delivery import FilesDelivery
from rotator.errors import Conflict, StoreCorrupt, StoreDenied, StoreUnavailable
from rotator.stores import Document, DocumentKind, Sight, Target, VersionToken

KEYS: dict[str, dict[str, Any]] = {
    "RS256": {"kty": "RSA", "size": 2048},
    "ES256": {"kty": "EC", "crv": "P-256"},
    "ES384": {"kty": "EC", "crv": "P-384"},
    "ES512": {"kty": "EC", "crv": "P-521"},
    "EdDSA": {"kty": "OKP", "crv": "Ed25519"},
    "HS256": {"kty": "oct", "size": 256},
}


@functools.cache
def key(alg: str) -> JWK:
    """One key per algorithm, made by another library than ours."""
    return JWK.generate(alg=alg, kid=f"kid-{alg}", use="sig", **KEYS[alg])


def signing(revision: int, key_set: str = "web", alg: str = "ES256") -> Document:
    """A signing document as DESIGN §5 has it."""
    jwk = key(alg)
    body = {
        "format": "rotator.signing/1",
        "key_set": key_set,
        "revision": revision,
        "kid": jwk["kid"],
        "alg": alg,
        "jwk": jwk.export(as_dict=True),
        "pem": None if alg == "HS256" else jwk.export_to_pem(True, None).decode(),
        "activated_at": "2026-01-01T00:00:00Z",
    }
    return Document(json.dumps(body, indent=1).encode(), key_set, revision)


def verification(revision: int, key_set: str = "web") -> Document:
    """A verification document as DESIGN §5 has it."""
    body = {
        "format": "rotator.verification/1",
        "key_set": key_set,
        "revision": revision,
        "keys": [key("HS256").export(as_dict=True)],
    }
    return Document(json.dumps(body).encode(), key_set, revision)


def delivery(path: Path, key_set: str = "web", **options: Any) -> FilesDelivery:
    """A signing delivery."""
    return FilesDelivery(path, key_set, DocumentKind.SIGNING, **options)


def seen(target: FilesDelivery) -> Document:
    """The document that a look shows; there must be one."""
    document = target.look().document
    assert document is not None
    return document


def token(sight: Sight) -> VersionToken | None:
    """What a look gives to a conditional write."""
    return sight.document.token if sight.document else None


def visible(directory: Path) -> list[str]:
    """The names that signers see, sorted."""
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))


def put(target: FilesDelivery, document: Document) -> None:
    """Replace whatever is there, as a tick does."""
    target.write(document, replacing=token(target.look()))


def test_it_is_a_target(tmp_path: Path) -> None:
    """Name, kind and nature, as the core reads them."""
    target: Target = delivery(tmp_path / "x" / ".." / "out")
    assert target.name == f"files:{tmp_path}/out"
    assert target.kind is DocumentKind.SIGNING
    assert target.writable
    assert target.independent
    with pytest.raises(ValueError, match="not delivered as files"):
        FilesDelivery(tmp_path, "web", DocumentKind.JWKS)


@pytest.mark.parametrize("alg", [alg for alg in KEYS if alg != "HS256"])
def test_signers_find_every_part(tmp_path: Path, alg: str) -> None:
    """The whole document byte for byte, and the same key in each of the other files."""
    target, document = delivery(tmp_path / "out"), signing(3, alg=alg)
    target.write(document, replacing=None)

    out = tmp_path / "out"
    assert (out / "signing.json").read_bytes() == document.body
    assert (out / "kid").read_text() == f"kid-{alg}"
    assert JWK.from_json((out / "jwk.json").read_text()).thumbprint() == key(alg).thumbprint()
    private = JWK.from_pem((out / "private.pem").read_bytes())
    public = JWK.from_pem((out / "public.pem").read_bytes())
    assert private.has_private
    assert not public.has_private
    assert private.thumbprint() == public.thumbprint() == key(alg).thumbprint()

    sight = target.look()
    assert sight.note == ""
    assert sight.document is not None
    assert sight.document.body == document.body
    assert (sight.document.key_set, sight.document.revision) == ("web", 3)


def test_hmac_has_no_pem(tmp_path: Path) -> None:
    """There is no PEM of a symmetric key; a verification document is one file."""
    put(delivery(tmp_path / "s"), signing(1, alg="HS256"))
    assert visible(tmp_path / "s") == ["jwk.json", "kid", "signing.json"]

    target = FilesDelivery(tmp_path / "v", "web", DocumentKind.VERIFICATION)
    put(target, verification(1))
    assert visible(tmp_path / "v") == ["verification.json"]
    assert (tmp_path / "v" / "verification.json").read_bytes() == verification(1).body
    assert seen(target).revision == 1


def test_parts_that_a_new_document_lacks_go(tmp_path: Path) -> None:
    """No private key of an earlier kind of key set stays behind."""
    target = delivery(tmp_path / "out")
    put(target, signing(1))
    put(target, signing(2, alg="HS256"))
    assert not (tmp_path / "out" / "private.pem").is_symlink()
    assert len(list((tmp_path / "out").glob("..*"))) == 3
    assert target.look().note == ""


@pytest.mark.parametrize(
    ("options", "files", "directory"),
    [
        ({}, 0o600, 0o700),
        ({"mode": 0o640}, 0o640, 0o750),
        ({"mode": 0o644}, 0o644, 0o755),
        ({"mode": 0o400}, 0o400, 0o700),
        ({"group": str(os.getgid())}, 0o640, 0o750),
        ({"group": str(os.getgid()), "mode": 0o660}, 0o660, 0o770),
    ],
)
def test_modes(tmp_path: Path, options: dict[str, Any], files: int, directory: int) -> None:
    """Only the owner, unless the configuration says who else; whatever the umask."""
    before = os.umask(0o077)
    try:
        put(delivery(tmp_path / "out", **options), signing(1))
    finally:
        os.umask(before)
    out = tmp_path / "out"
    live = (out / "..data").resolve()
    assert {entry.stat().st_mode & 0o7777 for entry in live.iterdir()} == {files}
    assert out.stat().st_mode & 0o7777 == live.stat().st_mode & 0o7777 == directory
    assert {entry.stat().st_gid for entry in [out, live, *live.iterdir()]} == {os.getgid()}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to any group")
def test_group(tmp_path: Path) -> None:
    """Everything that the group must pass or read belongs to it."""
    put(delivery(tmp_path / "out", group="12345"), signing(1))
    live = (tmp_path / "out" / "..data").resolve()
    assert {e.stat().st_gid for e in [tmp_path / "out", live, *live.iterdir()]} == {12345}


def test_an_unknown_group_is_said_before_anything_is_written(tmp_path: Path) -> None:
    """The hint names the way out."""
    with pytest.raises(StoreDenied, match=r"no-such-group.*create the group"):
        delivery(tmp_path / "out", group="no-such-group").write(signing(1), replacing=None)
    assert not (tmp_path / "out").exists()


def test_a_changed_mode_is_brought_about(tmp_path: Path) -> None:
    """A new mode or group in the configuration does not wait for the next rotation."""
    put(delivery(tmp_path / "out"), signing(1))
    target = delivery(tmp_path / "out", mode=0o640)
    assert target.look().note == "drift: written with another mode or group than configured now"
    put(target, signing(1))
    assert target.look().note == ""
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "out" / "kid").stat().st_mode & 0o777 == 0o640


def test_looser_modes_are_advice_and_stay(tmp_path: Path) -> None:
    """Somebody may have had a reason; it is said, with the command that mends it."""
    target = delivery(tmp_path / "out")
    put(target, signing(1))
    (tmp_path / "out").chmod(0o755)
    (tmp_path / "out" / "private.pem").chmod(0o644)
    sight = target.look()
    assert sight.note.startswith("advice: ")
    assert f"chmod 600 {tmp_path}/out/private.pem" in sight.note
    assert f"chmod 700 {tmp_path}/out`" in sight.note
    assert sight.document is not None
    assert sight.document.body == signing(1).body
    put(target, signing(2))
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755


def test_nothing_is_a_directory_that_is_absent_or_empty(tmp_path: Path) -> None:
    """An absent directory in one that exists, an empty one, a mounted volume's root: nothing."""
    assert delivery(tmp_path / "out").look() == Sight(None)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "lost+found").mkdir()
    assert delivery(tmp_path / "out").look() == Sight(None)


def test_a_missing_parent_is_no_answer(tmp_path: Path) -> None:
    """It may be a file system that is not mounted: never "nothing"."""
    target = delivery(tmp_path / "gone" / "out")
    for call in (target.look, lambda: target.write(signing(1), replacing=None)):
        with pytest.raises(StoreUnavailable, match=f"mkdir -p {tmp_path}/gone"):
            call()


@pytest.mark.parametrize("make", ["link", "dangling link", "file", "fifo"])
def test_a_path_that_is_no_directory_is_refused(tmp_path: Path, make: str) -> None:
    """Whoever can replace a link chooses who reads the key."""
    out = tmp_path / "out"
    match make:
        case "link":
            (tmp_path / "real").mkdir()
            out.symlink_to("real")
        case "dangling link":
            out.symlink_to("nowhere")
        case "file":
            out.write_bytes(b"")
        case _:
            os.mkfifo(out)
    target = delivery(out)
    for call in (target.look, lambda: target.write(signing(1), replacing=None)):
        with pytest.raises(StoreDenied):
            call()


def test_conditional_writes(tmp_path: Path) -> None:
    """A write lands on what was seen and on nothing else."""
    target = delivery(tmp_path / "out")
    with pytest.raises(Conflict, match="is gone by now"):
        target.write(signing(1), replacing=VersionToken("stale"))
    assert not (tmp_path / "out").exists()
    target.write(signing(1), replacing=None)
    first = token(target.look())
    for replacing in (None, VersionToken("stale")):
        with pytest.raises(Conflict, match="is another one by now"):
            target.write(signing(2), replacing=replacing)
    target.write(signing(2), replacing=first)
    with pytest.raises(Conflict):
        target.write(signing(3), replacing=first)
    assert seen(target).body == signing(2).body


def test_a_lower_revision_never_lands(tmp_path: Path) -> None:
    """Not even by somebody who has seen what is there; the same revision does."""
    target = delivery(tmp_path / "out")
    put(target, signing(7))
    with pytest.raises(Conflict, match="revision 7, above 6"):
        put(target, signing(6))
    put(target, signing(7, alg="EdDSA"))
    assert seen(target).body == signing(7, alg="EdDSA").body


def test_anothers_document_has_its_name(tmp_path: Path) -> None:
    """Replaced only by whoever names what it is, whatever its revision."""
    put(delivery(tmp_path / "out", "api"), signing(90, "api"))
    target = delivery(tmp_path / "out")
    document = seen(target)
    assert (document.key_set, document.revision) == ("api", 90)
    with pytest.raises(Conflict):
        target.write(signing(1), replacing=None)
    target.write(signing(1), replacing=document.token)
    assert seen(target).body == signing(1).body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\x00 not json",
        b"[1]",
        b'{"format": "rotator.signing/2", "key_set": "web", "revision": 1}',
        b'{"format": "rotator.signing/1", "key_set": "web", "revision": true}',
        b'{"format": "rotator.signing/1", "key_set": 7, "revision": 1}',
        b"[" * 100_000,
    ],
    ids=["empty", "binary", "list", "newer", "bool revision", "no key set", "deep"],
)
def test_foreign_content_is_seen_and_can_be_taken_over(tmp_path: Path, content: bytes) -> None:
    """A file that we did not write: shown as nobody's, replaced only with its token."""
    out = tmp_path / "out"
    out.mkdir(0o700)
    (out / "signing.json").write_bytes(content)
    (out / "other").write_bytes(b"not ours")
    target = delivery(out)
    sight = target.look()
    assert sight.document is not None
    assert (sight.document.key_set, sight.document.revision) == (None, None)
    assert sight.note == "not written by this key set: other, signing.json"
    with pytest.raises(Conflict):
        target.write(signing(1), replacing=None)
    assert (out / "signing.json").read_bytes() == content
    target.write(signing(1), replacing=sight.document.token)
    assert (out / "signing.json").read_bytes() == signing(1).body
    assert (out / "other").read_bytes() == b"not ours"
    assert target.look().note == ""


@pytest.mark.parametrize("make", ["file", "link", "..data"])
def test_any_content_is_content(tmp_path: Path, make: str) -> None:
    """A directory that holds something, though not our document, is filled."""
    out = tmp_path / "out"
    out.mkdir(0o700)
    match make:
        case "file":
            (out / "notes").write_bytes(b"")
        case "link":
            (out / "signing.json").symlink_to("/etc/hostname")
        case _:
            (out / "..data").symlink_to("..2026_01_01")
    document = seen(delivery(out))
    assert (document.key_set, document.body) == (None, b"")


def test_a_document_that_lost_record_and_form_is_not_nothing(tmp_path: Path) -> None:
    """Readers see it, so it is there: never a first run over it."""
    put(delivery(tmp_path / "out"), signing(1))
    live = (tmp_path / "out" / "..data").resolve()
    (live / ".rotator.json").unlink()
    (live / "signing.json").write_bytes(b"garbage")
    document = seen(delivery(tmp_path / "out"))
    assert (document.key_set, document.body) == (None, b"garbage")


def edit(path: Path, data: bytes) -> None:
    """Change a file in place, as an editor or a script would."""
    path.write_bytes(data)


def to_plain(path: Path) -> None:
    """Put a plain file where the link was, as `sed -i` does."""
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)


def to_directory(path: Path) -> None:
    """Put a directory where the file was."""
    target = path.resolve()
    target.unlink()
    target.mkdir()


@pytest.mark.parametrize(
    ("name", "change", "note"),
    [
        ("private.pem", lambda p: edit(p, b"old key"), "private.pem differs"),
        ("public.pem", lambda p: edit(p, b"old key"), "public.pem differs"),
        ("kid", lambda p: p.resolve().unlink(), "kid is missing"),
        ("kid", lambda p: p.unlink(), "kid is not the link into ..data"),
        ("jwk.json", to_plain, "jwk.json is not the link into ..data"),
        ("jwk.json", to_directory, "jwk.json is not a regular file"),
        ("signing.json", to_plain, "signing.json is not the link into ..data"),
        ("signing.json", lambda p: edit(p, b"garbage"), "signing.json differs"),
        ("signing.json", lambda p: edit(p, signing(9, "api").body), "signing.json differs"),
        ("signing.json", lambda p: p.resolve().unlink(), "signing.json is missing"),
        ("..data/.rotator.json", Path.unlink, "the record of what was written is missing"),
    ],
)
def test_drift_is_shown_and_mended(
    tmp_path: Path, name: str, change: Callable[[Path], object], note: str
) -> None:
    """A hand on one of our files: still ours, at the revision we wrote, but never the same document."""
    target = delivery(tmp_path / "out")
    put(target, signing(4))
    clean = seen(target)
    change(tmp_path / "out" / name)
    sight = target.look()
    assert sight.note == f"drift: {note}"
    document = sight.document
    assert document is not None
    assert (document.key_set, document.revision) == ("web", 4)
    assert document.token != clean.token
    assert document.body != clean.body
    assert json.loads(document.body)["drift"] == [note]
    with pytest.raises(Conflict):
        target.write(signing(4), replacing=clean.token)
    target.write(signing(4), replacing=document.token)
    assert target.look() == Sight(clean)


def test_a_copy_without_links_is_drift(tmp_path: Path) -> None:
    """A directory restored by a tool that follows links is of this key set, and is mended."""
    put(delivery(tmp_path / "out"), signing(4))
    (tmp_path / "copy").mkdir(0o700)
    for name in ("signing.json", "private.pem", "public.pem", "jwk.json", "kid"):
        (tmp_path / "copy" / name).write_bytes((tmp_path / "out" / name).read_bytes())
    target = delivery(tmp_path / "copy")
    assert target.look().note == "drift: signing.json is not the link into ..data"
    assert seen(target).revision == 4
    with pytest.raises(Conflict):
        put(target, signing(3))
    put(target, signing(4))
    assert target.look() == Sight(seen(delivery(tmp_path / "out")))


def test_a_directory_in_the_way_is_named(tmp_path: Path) -> None:
    """What cannot be replaced is left for a person, who is told where it stands."""
    (tmp_path / "out" / "signing.json").mkdir(parents=True)
    with pytest.raises(StoreDenied, match=f"see what stands at {tmp_path}/out/signing.json"):
        put(delivery(tmp_path / "out"), signing(1))


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", verification(1).body])
def test_a_malformed_document_is_not_written(tmp_path: Path, body: bytes) -> None:
    """The last line of defence against a fault of our own."""
    with pytest.raises(StoreCorrupt, match="not one of format"):
        delivery(tmp_path / "out").write(Document(body, "web", 1), replacing=None)
    assert not (tmp_path / "out").exists()


def test_a_kid_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """JSON can say what no encoding can."""
    body = {**json.loads(signing(1).body), "kid": "\ud800"}
    document = Document(json.dumps(body).encode(), "web", 1)
    with pytest.raises(StoreCorrupt):
        delivery(tmp_path / "out").write(document, replacing=None)


def test_a_document_of_another_key_set_or_revision_than_said_is_not_written(tmp_path: Path) -> None:
    """What is outside decides the fence, so it must be what is inside."""
    for document in (Document(signing(2).body, "web", 3), signing(1, "api")):
        with pytest.raises(StoreCorrupt):
            delivery(tmp_path / "out").write(document, replacing=None)


@pytest.mark.parametrize("member", ["x", "y", "crv", "kty"])
def test_errors_name_no_key_material(tmp_path: Path, member: str) -> None:
    """Neither the message nor what it came from."""
    body = json.loads(signing(1).body)
    body["jwk"][member] = "c2VjcmV0LXN0dWZm!"
    with pytest.raises(StoreCorrupt) as caught:
        delivery(tmp_path / "out").write(
            Document(json.dumps(body).encode(), "web", 1), replacing=None
        )
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "c2Vj" not in str(caught.value)


AS_NOBODY = """
import os, pathlib, sys
from rotator.delivery import FilesDelivery
from rotator.errors import StoreError
from rotator.stores import DocumentKind
os.setgroups([]), os.setgid(65534), os.setuid(65534)
target = FilesDelivery(pathlib.Path(sys.argv[1]), "web", DocumentKind.SIGNING)
try:
    print(target.look().document is not None)
except StoreError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_somebody_else_is_denied(tmp_path: Path) -> None:
    """The modes do what they are for, and the refusal says what is missing."""
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    put(delivery(tmp_path / "out"), signing(1))
    command = [sys.executable, "-c", AS_NOBODY, str(tmp_path / "out")]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output.startswith("StoreDenied cannot read the signing document of key set web")
    assert "let uid 65534 read and write" in output


def test_looking_does_not_load_the_crypto_library(tmp_path: Path) -> None:
    """A `rotate` with nothing due looks at every delivery."""
    put(delivery(tmp_path / "out"), signing(1))
    program = (
        "import sys, pathlib\nfrom rotator.delivery import FilesDelivery\n"
        "from rotator.stores import DocumentKind\n"
        "target = FilesDelivery(pathlib.Path(sys.argv[1]), 'web', DocumentKind.SIGNING)\n"
        "print(target.look().note == '', 'cryptography' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "out")]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output == "True False\n"


def test_nothing_inside_hangs_or_breaks_a_look(tmp_path: Path) -> None:
    """A FIFO, first instead of the record and then of each file: still an answer, never "nothing"."""
    target = delivery(tmp_path / "out")
    put(target, signing(1))
    live = (tmp_path / "out" / "..data").resolve()
    for path in sorted(live.iterdir()):
        path.unlink()
        os.mkfifo(path)
        assert target.look().note.startswith(("drift: ", "not written by this key set: "))


GUIDE = Path(__file__).resolve().parents[2] / "docs" / "deliveries.md"


@pytest.mark.parametrize("alg", KEYS)
def test_the_example_of_the_guide_signs(tmp_path: Path, alg: str) -> None:
    """What signers are told to write works with every kind of key."""
    put(delivery(tmp_path / "web"), signing(1, alg=alg))
    example = GUIDE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(example.replace("/srv/issuer/web", str(tmp_path / "web")), names)
    token = names["sign"]({"sub": "someone"})

    assert jwt.get_unverified_header(token) == {"alg": alg, "kid": f"kid-{alg}", "typ": "JWT"}
    exported = key(alg).export(private_key=alg == "HS256", as_dict=True)
    assert jwt.decode(token, jwt.PyJWK(exported), algorithms=[alg]) == {"sub": "someone"}
