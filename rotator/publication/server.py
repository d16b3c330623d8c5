"""The JWKS at this process's own HTTP server: written as a file, looked at over HTTP.

The built-in server of a process is a probe for that process (DESIGN §3, rule 1), so a look is a real
request: what counts is what is served, not what was written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Final

from rotator.atomic import LIMIT, translating
from rotator.errors import StoreUnavailable
from rotator.publication.file import FilePublication
from rotator.publication.sidecar import digest_of
from rotator.stores import Document, DocumentKind, Sight, VersionToken

_LOOKS: Final = (
    2  # a file that is replaced between the look and the request shows on the second try
)
_SETTLE: Final = 0.01  # seconds between the two: the server looks at its files once a millisecond
_PAUSE: Final = Event()  # never set
_HINT: Final = "it is restarted when it ended; see the log for `server.died`"

KEY_SET_HEADER: Final = "Rotator-Key-Set"
REVISION_HEADER: Final = "Rotator-Revision"
DOCUMENT_HEADER: Final = "Rotator-Document"

NO_DOCUMENT: Final = "none"
"""`Rotator-Document` of "no document yet": the server's word that nothing was published there."""

UNREADABLE: Final = "unreadable"
"""`Rotator-Document` when there is a file that must not be served, and no last good one in memory."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    state: str
    key_set: str | None
    revision: int | None
    body: bytes


def public_file(public_dir: Path, key_set: str) -> Path:
    """Return where a key set's JWKS lies below the directory that the server serves."""
    return public_dir / key_set / "jwks.json"


class ServerPublication:
    """The JWKS of one key set, served by this process's own server.

    Args:
        url: the server's address from this machine, such as `http://127.0.0.1:8080` or `unix:/run/jwks.sock`.
        public_dir: the directory that the server serves; created with its parents when missing, 0755.
        key_set: the key set; it is looked at under `/KEY_SET/jwks.json`.
        timeout: seconds for the connection, and for each read.
    """

    name: Final = "server"
    kind: Final = DocumentKind.JWKS
    writable: Final = True
    independent: Final = True

    def __init__(self, url: str, public_dir: Path, key_set: str, *, timeout: float = 5.0) -> None:
        self.key_set = key_set
        self._url = url.rstrip("/")
        self._path = f"/{key_set}/jwks.json"
        self._shown = f"{self._url}{self._path}"
        self._public_dir = public_dir
        self._file = FilePublication(public_file(public_dir, key_set), key_set)
        self._timeout = timeout

    def look(self) -> Sight:
        """Ask the server, and compare its answer with the file that it is made from.

        The document is what the server serves; its token is the file's, for a conditional write. A file
        that went bad under a server that still serves the last good one shows as a note, `drift: …`. A
        server on this machine is no witness of the time, so there is none.

        Raises:
            StoreUnavailable: the server does not answer, or not like ours.
            StoreDenied, StoreCorrupt: the file cannot be read (see `FilePublication.look`).
        """
        for once_more in range(_LOOKS):
            if once_more:
                _PAUSE.wait(_SETTLE)
            self._ensure_public_dir()
            answer = self._ask()
            file = self._file.look()
            sight = _compare(answer, file)
            if sight is not None and not sight.note:
                return sight
        if sight is None:
            raise StoreUnavailable(
                f"{self._shown} answered {answer.status}, which does not fit the file {self._file.path}",
                hint="another program, or a server with another configuration, listens there",
            )
        return sight

    def write(self, document: Document, *, replacing: VersionToken | None) -> None:
        """Replace the file that the server serves; it notices at the next request.

        Raises:
            Conflict, StoreUnavailable, StoreDenied, StoreCorrupt: see `FilePublication.write`.
        """
        self._ensure_public_dir()
        self._file.write(document, replacing=replacing)

    def _ensure_public_dir(self) -> None:
        # It is ours alone, in a state directory that may be new with each container.
        with translating(f"cannot create {self._public_dir}"):
            self._public_dir.mkdir(mode=0o755, parents=True, exist_ok=True)

    def _ask(self) -> _Answer:
        from http.client import HTTPException

        from rotator.publication.own import ask

        try:
            answer = ask(self._url, self._path, timeout=self._timeout)
        except (HTTPException, OSError) as error:
            raise StoreUnavailable(
                f"our own server does not answer at {self._shown}: {type(error).__name__}",
                hint=_HINT,
            ) from error
        revision = answer.headers.get(REVISION_HEADER, "")
        return _Answer(
            status=answer.status,
            state=answer.headers.get(DOCUMENT_HEADER, ""),
            key_set=answer.headers.get(KEY_SET_HEADER),
            revision=int(revision) if revision.isascii() and revision.isdigit() else None,
            body=answer.body,
        )


def _compare(answer: _Answer, file: Sight) -> Sight | None:
    """Return what an answer and the file behind it show together, None when they contradict each other."""
    written = file.document
    if answer.status == 200 and len(answer.body) <= LIMIT:
        served = Document(
            answer.body, answer.key_set, answer.revision, written.token if written else None
        )
        if written is None:
            return Sight(served, note="drift: the file is gone; the last good one is served")
        served = replace(served, max_age=written.max_age, stale=written.stale)
        if written.token != digest_of(answer.body):
            return Sight(served, note="drift: the file cannot be served; the last good one is")
        return Sight(served, note=file.note)
    if answer.status == 404 and answer.state == NO_DOCUMENT and written is None:
        return Sight(None)
    if answer.status == 503 and answer.state == UNREADABLE and written is not None:
        return Sight(
            written, note="drift: the file cannot be served, and there is no last good one"
        )
    return None
