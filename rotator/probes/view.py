"""What an HTTP answer shows of a JWKS, and what several answers show together. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from rotator.algorithms import PRIVATE_MEMBERS
from rotator.errors import StoreUnavailable
from rotator.probes.exchange import LIMIT, Answer

_REDIRECTS: Final = frozenset({300, 301, 302, 303, 305, 306, 307, 308})
_NOTHING: Final = frozenset({404, 410})
_KEY_SET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_REVISION: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_LONGEST_KID: Final = 128
_MOST_KIDS: Final = 100
_HINTS: Final = {
    401: "a JWKS is public: let everybody read it",
    403: "a JWKS is public: let everybody read it; object storage also says 403 for an object that is "
    "not there when the reader may not list",
    429: "verifiers are turned away too: raise the limit for this path",
}


@dataclass(frozen=True, slots=True)
class View:
    """A JWKS as it is served, `body` and `keys` being None where the answer was "nothing"."""

    body: bytes | None
    keys: tuple[dict[str, Any], ...] | None
    key_set: str | None
    revision: int | None
    notes: tuple[str, ...]

    @property
    def kids(self) -> tuple[str, ...] | None:
        """The kids that are served, None for "nothing"; bounded, for others may write what they like."""
        if self.keys is None:
            return None
        kids = [key["kid"] for key in self.keys if isinstance(key.get("kid"), str)]
        return tuple(kid[:_LONGEST_KID] for kid in kids[:_MOST_KIDS])


def view_of(url: str, answer: Answer) -> View:
    """Return what one answer shows.

    Raises:
        StoreUnavailable: it is neither a JWKS nor "nothing"; the message says what was seen, and quotes
            nothing of the body.
    """
    what = f"{url} at {answer.address}"
    if answer.status in _NOTHING:
        return View(None, None, None, None, ())
    if answer.status in _REDIRECTS:
        where = _first(answer, "location").partition("?")[0][:200]
        raise StoreUnavailable(
            f"{what} answered {answer.status}, a redirect to {where!r}",
            hint="many verifiers follow none: serve the JWKS at this address, or name the final one",
        )
    if answer.status != 200:
        raise StoreUnavailable(
            f"{what} answered {answer.status}", hint=_HINTS.get(answer.status, "")
        )
    keys = _keys(what, answer)
    key_set, revision = _first(answer, "rotator-key-set"), _first(answer, "rotator-revision")
    return View(
        body=answer.body,
        keys=keys,
        key_set=key_set if _KEY_SET.fullmatch(key_set) else None,
        revision=int(revision) if _REVISION.fullmatch(revision) else None,
        notes=_remarks(keys),
    )


def _keys(what: str, answer: Answer) -> tuple[dict[str, Any], ...]:
    media_type = _first(answer, "content-type")[:80] or "no media type"
    seen = f"{what} answered {len(answer.body)} bytes ({media_type})"

    def refuse(why: str, hint: str = "") -> NoReturn:
        raise StoreUnavailable(f"{seen} that are no JWKS: {why}", hint=hint)

    coding = _first(answer, "content-encoding").strip().lower()
    if coding not in ("", "identity"):
        # Never decoded, so that no few bytes become many; several verifiers fail on it as well.
        refuse(f"coded as {coding[:20]!r} though nobody asked", "compress only when a client asks")
    if len(answer.body) > LIMIT:
        refuse(f"longer than {LIMIT} bytes")
    try:
        document = json.loads(answer.body.decode())  # strict: no byte order mark, no UTF-16
    except RecursionError:
        refuse("nested too deeply")
    except ValueError as error:
        refuse(f"not JSON ({type(error).__name__})")
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        refuse("no object with a list of `keys`")
    if not all(isinstance(key, dict) for key in keys):
        refuse("a member of `keys` is no object")
    return tuple(keys)


def _remarks(keys: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    notes = []
    if any(PRIVATE_MEMBERS & key.keys() for key in keys):
        notes.append("PRIVATE key members are served here: revoke these keys")
    kids = [key["kid"] for key in keys if isinstance(key.get("kid"), str)]
    if len(kids) != len(set(kids)):
        notes.append("a kid is served twice")
    return tuple(notes)


def _first(answer: Answer, name: str) -> str:
    values = answer.headers.get(name, ())
    return values[0] if values else ""


def merge(views: Sequence[View]) -> View:
    """Return the worst that several addresses show: the keys that every one of them serves alike.

    Nothing at all only when every address says so. The revision is the highest one: a single address
    ahead of the ring is reason enough to stop.
    """
    first, notes = views[0], list(dict.fromkeys(note for view in views for note in view.notes))
    if all(view.keys is None for view in views):
        return first
    owners = {view.key_set for view in views if view.key_set is not None}
    if len(owners) > 1:
        notes.append(f"addresses serve different key sets: {', '.join(sorted(owners))}")
    revisions = [view.revision for view in views if view.revision is not None]
    body = first.body
    if any(view.body != first.body for view in views):
        notes.append("addresses differ; only keys that all of them serve are counted")
        shared = _shared(views)
        body = json.dumps({"keys": shared}, separators=(",", ":")).encode()
    return View(
        body=body,
        keys=None,
        key_set=owners.pop() if len(owners) == 1 else None,
        revision=max(revisions, default=None),
        notes=tuple(notes),
    )


def _shared(views: Sequence[View]) -> list[dict[str, Any]]:
    served = [{json.dumps(key, sort_keys=True): key for key in view.keys or ()} for view in views]
    return [key for text, key in served[0].items() if all(text in others for others in served)]
