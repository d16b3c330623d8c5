"""Derived documents kept in Conjur: whoever reads one reads the latest value of its variable.

A write that lost a race leaves its value as the latest one. So its writer puts the winner's document back, and
until that is done the document that is *seen* is what counts for the next writer.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from rotator.plugin import (
    NOTIFY,
    Calls,
    Conflict,
    Document,
    DocumentKind,
    StoreUnavailable,
    VersionToken,
)
from rotator_conjur.client import Conjur
from rotator_conjur.history import History, Look, Waits
from rotator_conjur.names import Names
from rotator_conjur.purge import write_over
from rotator_conjur.splice import Written, parse

_PUBLIC: Final = (f"/{DocumentKind.JWKS}", f"/{NOTIFY}")
"""The documents in which there is no key material."""


class ConjurDocuments:
    """Derived documents, named `KEY_SET/DOCUMENT`."""

    def __init__(self, conjur: Conjur, calls: Calls, names: Names) -> None:
        self._conjur = conjur
        self._calls = calls
        self._names = names

    def _variable(self, name: str) -> str:
        return self._names.document(name)

    def read(self, name: str) -> Document | None:
        """Return a document as everybody sees it, or None where its variable is declared and holds none.

        Raises:
            ConfigError: no variable can have this name.
            StoreDenied: the variable is not declared or invisible, which the server does not tell apart.
            StoreUnavailable: no answer.
        """
        history = self._history(name)
        look = self._calls.attempt("document.read", _key_set(name), history.look)
        seen = look.seen
        if seen is None or seen.body is None:
            return None
        return Document(
            seen.body,
            seen.key_set,
            seen.revision,
            _token(look),
            max_age=seen.max_age,
            stale=seen.stale,
        )

    def write(self, name: str, document: Document, *, replacing: VersionToken | None) -> None:
        """Write a document if the one that is seen is still `replacing` (None: if there is none).

        Raises:
            Conflict: it is another one, or one of the same key set with a higher revision.
            ConfigError, StoreDenied, StoreUnavailable: as for `read`.
        """
        written = Written(
            b"",
            document.body,
            None,
            secrets.token_hex(16),
            document.key_set,
            document.revision,
            document.max_age,
            document.stale,
        )
        history = self._history(name)
        self._calls.attempt(
            "document.write", _key_set(name), lambda: self._write(history, name, written, replacing)
        )
        if not name.endswith(_PUBLIC):
            self._forget_earlier(history, name, written)

    def delete(self, name: str) -> None:
        """Write over a document, and over every version of it that is kept; harmless when it is not there.

        Raises:
            ConfigError, StoreDenied, StoreUnavailable: as for `read`.
        """
        history = self._history(name)
        self._calls.attempt("document.delete", _key_set(name), lambda: _erase(history))

    def erase(self, key_set: str) -> None:
        """Delete every document of a key set that this identity sees."""
        branch = f"{self._names.key_set(key_set)}/"
        reserved = (f"{branch}material/", f"{branch}ring")
        for variable in self._conjur.variables(branch):
            if not variable.startswith(reserved[0]) and variable != reserved[1]:
                self.delete(f"{key_set}/{variable.removeprefix(branch)}")

    def _history(self, name: str) -> History[Written]:
        return History(self._conjur, self._variable(name), parse)

    def _write(
        self,
        history: History[Written],
        name: str,
        written: Written,
        replacing: VersionToken | None,
    ) -> None:
        look = history.look()
        if look.head is not None and look.head.nonce == written.nonce:
            self._put_back(history, look)  # an earlier try was carried out, and its answer lost
            return
        _refuse(look, name, written, replacing)
        quiet = history.quiet(look)
        if quiet.latest == look.latest and history.append(quiet, _maker(written)) is not None:
            return
        self._put_back(history, history.look())
        raise Conflict(
            f"somebody else wrote the document {name!r} at the same time", hint="read it again"
        )

    def _forget_earlier(self, history: History[Written], name: str, written: Written) -> None:
        """Write a document over its earlier versions, for they hold private keys whose end has come, or will.

        The document itself is written. So a failure here is none of the write's: what is left goes with the next.
        """
        content = written.content

        def copy(number: int) -> bytes:
            return replace(written, expects=number).dump()

        with contextlib.suppress(StoreUnavailable):
            self._calls.attempt(
                "document.forget",
                _key_set(name),
                lambda: write_over(
                    history,
                    gone=lambda one: one.content == content,
                    tombstone=copy,
                    mine=lambda _: False,
                ),
            )

    def _put_back(self, history: History[Written], look: Look[Written]) -> None:
        """Make what everybody sees what the winner wrote."""
        waits = Waits()
        while _shows_a_loser(look):
            look = history.quiet(look)
            if look.head is None or not _shows_a_loser(look):
                return
            if history.append(look, _maker(look.head)) is not None:
                return
            waits.longer(f"others go on writing {history.variable!r}")
            look = history.look()


def _shows_a_loser(look: Look[Written]) -> bool:
    """Tell whether the latest value is that of a writer who lost a race.

    One that was written by hand is not: to find and mend that is for the next tick.
    """
    return (
        look.head is not None
        and look.seen is not None
        and look.seen.expects is not None
        and look.seen.content != look.head.content
    )


def _erase(history: History[Written]) -> None:
    write_over(history, gone=lambda one: one.body is None, tombstone=_gone, mine=lambda _: True)


def _gone(number: int) -> bytes:
    return Written(b"", None, number, secrets.token_hex(16)).dump()


def _key_set(name: str) -> str:
    return name.partition("/")[0]


def _maker(written: Written) -> Callable[[int], bytes]:
    return lambda number: replace(written, expects=number).dump()


def _token(look: Look[Written]) -> VersionToken | None:
    """Return what names the version that is seen; None where there is no document."""
    if look.seen is None or look.seen.body is None:
        return None
    return VersionToken(f"{look.latest}-{hashlib.sha256(look.seen.raw).hexdigest()[:16]}")


def _refuse(
    look: Look[Written], name: str, written: Written, replacing: VersionToken | None
) -> None:
    """Raise Conflict unless a document may replace what is there."""
    if _token(look) != replacing:
        raise Conflict(
            f"somebody else wrote the document {name!r} in between", hint="read it again"
        )
    for one in (look.seen, look.head):
        if one is not None and _is_ahead(one, written):
            raise Conflict(
                f"the document {name!r} has revision {one.revision}, above {written.revision}",
                hint="load the ring again",
            )


def _is_ahead(one: Written, written: Written) -> bool:
    if one.key_set != written.key_set or one.revision is None:
        return False
    return written.revision is None or one.revision > written.revision
