"""A mounted JWKS: both files from one version of the mount, and nothing else than what its sidecar names."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from rotator.errors import StoreCorrupt, StoreUnavailable
from rotator.publication.mounted import read_mounted
from rotator.publication.sidecar import Sidecar, digest_of


def mount(volume: Path, version: str, **files: bytes) -> None:
    """Show files as the kubelet does: a directory for each version, switched by one symbolic link."""
    folder = volume / f"..{version}"
    folder.mkdir(parents=True)
    for name, body in files.items():
        path = folder / name.replace("_", ".")
        path.write_bytes(body)
        link = volume / path.name
        if not link.is_symlink():
            link.symlink_to(f"..data/{path.name}")
    (volume / "..new").symlink_to(folder.name)
    (volume / "..new").replace(volume / "..data")


def pair(body: bytes, revision: int, key_set: str = "web") -> dict[str, bytes]:
    """A JWKS and its sidecar."""
    modified = datetime(2031, 5, 6, tzinfo=UTC)
    sidecar = Sidecar(key_set, revision, digest_of(body), 300, 600, modified)
    return {"jwks_json": body, "jwks_json_meta_json": sidecar.render()}


def test_both_files_are_of_one_version(tmp_path: Path) -> None:
    volume = tmp_path / "web"
    mount(volume, "1", **pair(b"one", 7))
    document = read_mounted(tmp_path, "web")
    assert document is not None
    assert (document.body, document.key_set, document.revision) == (b"one", "web", 7)
    assert (document.max_age, document.stale) == (300, 600)
    mount(volume, "2", **pair(b"two", 8))
    document = read_mounted(tmp_path, "web")
    assert document is not None
    assert (document.body, document.revision) == (b"two", 8)


def test_a_mounted_empty_object_is_nothing_and_no_mount_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="no directory"):
        read_mounted(tmp_path, "web")
    mount(tmp_path / "web", "1")
    assert read_mounted(tmp_path, "web") is None


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"jwks_json": b"one"}, "not what a sidecar"),
        ({**pair(b"one", 7), "jwks_json": b"edited"}, "not what a sidecar"),
        ({**pair(b"one", 7), "jwks_json_meta_json": b"{"}, "not what a sidecar"),
        (pair(b"one", 7, "other"), "of key set other"),
    ],
)
def test_what_its_sidecar_does_not_name_is_refused(
    tmp_path: Path, files: dict[str, bytes], said: str
) -> None:
    mount(tmp_path / "web", "1", **files)
    with pytest.raises(StoreCorrupt, match=said):
        read_mounted(tmp_path, "web")
