"""Faults in how a kind of secrets manager is used: each looks right as long as nobody else writes."""

from __future__ import annotations

from typing import Any

from rotator.errors import Conflict, UsageError
from rotator.reconcile.steps import self_test
from rotator.reconcile.view import View
from rotator.rehearsal.labels import LabelStore, LabelWay
from rotator.rehearsal.numbers import NumberStore, NumberWay
from rotator.rehearsal.objects import Kept, Refused, Value
from rotator.rehearsal.voids import Entry, Variable, VoidWay
from rotator.ring import Key

_FLIP = LabelStore.flip


def moved_from_anywhere(store: LabelStore, name: str, token: str, _base: str) -> None:
    """PutSecretValue without a label of its own moves `current`, whatever it is at."""
    _FLIP(store, name, token, store.objects[name].current)


def newest_version(store: LabelStore, name: str) -> tuple[Value, str] | None:
    """Read the version that was put last, whether anybody moved the label to it or not."""
    found = store.seen(name)
    if found is None:
        return None
    token = list(found.versions)[-1]
    return found.versions[token], token


def named_at_random(way: LabelWay, _value: Value, _replacing: str | None) -> str:
    return f"random-{way.nonce()}"


def read_just_before(way: NumberWay, name: str, _replacing: str | None) -> int:
    found = way.read(lambda: way.store.get(name))
    return int(found[1]) if found is not None else 0


def not_read_back(
    way: NumberWay, name: str, value: Value, replacing: str | None, nonce: str
) -> str:
    del nonce
    cas = int(replacing or 0)
    try:
        return str(way.write(lambda: way.store.put(name, value, cas)))
    except Refused:
        raise Conflict(f"{name} was changed by somebody else") from None


def destroyed_if_seen(way: NumberWay, name: str, kid: str) -> None:
    found = way.head(name)
    if found is not None and isinstance(found[0], Kept) and found[0].kid == kid:
        way.write(lambda: way.store.destroy(name), destroys=True)


def only_hidden(store: NumberStore, name: str) -> None:
    """A soft delete: reads find nothing, and whoever undeletes finds everything."""
    found = store.objects[name]
    hidden = {-number: value for number, value in found.versions.items()}
    store.change(name, type(found)(found.number, hidden))


def newest_counts(_way: VoidWay, variable: Variable) -> tuple[int, Entry] | None:
    return variable.entries[-1] if variable.entries else None


def believed(way: VoidWay, name: str, number: int, nonce: str, value: Value) -> int:
    way.write(lambda: way.store.post(name, Entry(number, nonce, value)))
    return number


def any_slot(_way: VoidWay, _kid: str, _taken: frozenset[str]) -> str:
    return "slot-1"


def written_over_once(way: VoidWay, name: str, kid: str, nonce: str) -> bool:
    _WRITE_OVER(way, name, kid, nonce)
    return True


_WRITE_OVER = VoidWay._write_over


def nothing_where_nothing_is(way: VoidWay, name: str, kid: str, nonce: str) -> bool:
    held: Any = way.store.get(name).entries
    if not any(isinstance(entry.value, Kept) and entry.value.kid == kid for _, entry in held):
        return True
    return _WRITE_OVER(way, name, kid, nonce)


def unread_and_left(view: View, key: Key) -> None:
    """Refuse with what the caller does not clear up after."""
    if not self_test(view, key):
        raise UsageError("the material does not read back as written")
