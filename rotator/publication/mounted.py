"""A JWKS with its sidecar that somebody else put into a directory: a mounted ConfigMap, or a shared volume.

The kubelet shows each version of a ConfigMap as a directory of its own, and switches a symbolic link (Kubernetes,
"Mounted ConfigMaps are updated automatically"): both files are read from the one that the JWKS is in by then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rotator.atomic import read_regular, translating
from rotator.errors import StoreCorrupt, StoreUnavailable
from rotator.publication.sidecar import Sidecar, digest_of, parse_sidecar, sidecar_path
from rotator.stores import Document

_READS: Final = (
    3  # as in FilePublication: a writer, or the kubelet's switch, between two reads is no fault
)


def read_mounted(directory: Path, key_set: str) -> Document | None:
    """Return what is published at `DIRECTORY/KEY_SET/jwks.json`, None when nothing is there yet.

    Raises:
        StoreUnavailable: the directory of the key set is not there, or the disk does not answer.
        StoreDenied: it may not be read.
        StoreCorrupt: what is there is not what its sidecar names, or of another key set.
    """
    path = directory / key_set / "jwks.json"
    body, sidecar = _pair(path)
    if body is None:
        if not path.parent.is_dir():
            raise StoreUnavailable(
                f"there is no directory {path.parent} for key set {key_set}",
                hint="is its ConfigMap mounted there?",
            )
        return None
    if sidecar is None or not sidecar.describes(digest_of(body)):
        raise StoreCorrupt(
            f"{path} is not what a sidecar beside it names",
            hint="what was served last stays; the next `rotator rotate` writes both anew",
        )
    if sidecar.key_set != key_set:
        raise StoreCorrupt(
            f"{path} is a document of key set {sidecar.key_set}, not of {key_set}",
            hint="mount that of the right key set",
        )
    revision = sidecar.revision_of(digest_of(body))
    return Document(body, key_set, revision, None, max_age=sidecar.max_age, stale=sidecar.stale)


def _pair(path: Path) -> tuple[bytes | None, Sidecar | None]:
    body: bytes | None = None
    sidecar: Sidecar | None = None
    for _ in range(_READS):
        with translating(f"cannot read {path}"):
            here = path.resolve()
        data = read_regular(sidecar_path(here))
        body = read_regular(here)
        sidecar = parse_sidecar(data) if data is not None else None
        if body is not None and sidecar is not None and sidecar.describes(digest_of(body)):
            break
    return body, sidecar
