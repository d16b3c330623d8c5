"""From a document to models: pydantic's faults said in sentences, and none of them hiding another."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from rotator.settings.document import Document
from rotator.settings.faults import Fault, Path, nearest
from rotator.settings.locations import document_path, field_at, keys_at
from rotator.settings.values import in_seconds

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)

_ROUNDS: Final = 4
"""How often what is faulty is cut out and the rest tried again; the second round finds nothing new but in
models that check one field against another."""


def validate(
    model: type[M],
    document: Document,
    path: Path,
    faults: list[Fault],
    *,
    values: Mapping[str, Any] | None = None,
    secret: bool = False,
) -> tuple[M | None, frozenset[Path]]:
    """Check what a document says at a path against a model.

    Args:
        faults: where every fault is added.
        values: what to check instead of all that stands at the path.
        secret: the values may be credentials; no fault shows one.

    Returns:
        The model made of what was without fault, None when nothing could be made; and the paths, below
        `path`, that had one.
    """
    data: Any = values if values is not None else _at(document.data, path)
    cut: set[Path] = set()
    for _ in range(_ROUNDS):
        try:
            return model.model_validate(data), frozenset(cut)
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=True)
        at = [document_path(model, detail["loc"]) for detail in details]
        # A value that was cut out is missing from then on; that was said already.
        new = [detail for detail, place in zip(details, at, strict=True) if place not in cut]
        # Written out, a fault of the second round is one of the first or depends on it.
        data = copy.deepcopy(data) if isinstance(data, dict) else data
        faults += [_fault(model, document, path, detail, data, secret=secret) for detail in new]
        if not isinstance(data, dict) or not _prune(data, at):
            break
        cut |= set(at)
    return None, frozenset(cut)


def without_nulls(document: Document, faults: list[Fault]) -> None:
    """Report every key without a value and take it out; `server:` with nothing below it is a mistake."""

    def clean(value: Any, path: Path) -> None:
        items = list(value.items() if isinstance(value, dict) else enumerate(value))
        for key, inner in reversed(items):
            here = (*path, key)
            if inner is None:
                del value[key]
                faults.append(document.fault(here, "has no value; give it one, or remove the key"))
            elif isinstance(inner, (dict, list)):
                clean(inner, here)

    clean(document.data, ())


def _at(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


def _prune(data: dict[str, Any], locations: list[tuple[int | str, ...]]) -> bool:
    """Cut faulty values out of a copy; False when one of them is needed for anything to be made."""
    # From the back, so that positions in a list stay true.
    for location in sorted(
        set(locations), key=lambda loc: [(str(p).zfill(9)) for p in loc], reverse=True
    ):
        at: Any = data
        trail: list[tuple[Any, Any]] = []
        for part in location:
            if not _exists(at, (part,)):
                # Missing: what lacks it goes as a whole.
                break
            trail.append((at, part))
            at = at[part]
        if not trail:
            return False
        holder, key = trail[-1]
        del holder[key]
    return True


def _fault(
    model: type[BaseModel],
    document: Document,
    path: Path,
    detail: ErrorDetails,
    data: object,
    *,
    secret: bool,
) -> Fault:
    tagged, kind = detail["loc"], detail["type"]
    location = document_path(model, tagged)
    if kind == "extra_forbidden":
        text = unknown_key(str(location[-1]), keys_at(model, tagged[:-1], tagged=True))
        return document.fault(path + location, text)
    if kind == "missing":
        return document.fault(path + location, "is missing; " + _wanted(field_at(model, tagged)))
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        return _tag_fault(document, path + location, detail, secret=secret)
    # A union without tags or a validator adds parts to the location that no document has.
    while location and not _exists(data, location):
        location = location[:-1]
    if secret and kind == "value_error" and _quotes(detail):
        return document.fault(path + location, _unquoted(field_at(model, tagged)))
    return document.fault(path + location, _sentence(detail, secret=secret))


def _quotes(detail: ErrorDetails) -> bool:
    """Tell whether what a validator says holds the value itself; a small number is no credential."""
    value = str(detail["input"])
    return len(value) > 4 and value in str(detail.get("ctx", {}).get("error"))


def _unquoted(field: FieldInfo | None) -> str:
    if field is not None and in_seconds(field):
        return "must be a duration with its unit, such as `10s`"
    return "cannot be used (it is not shown, for it may be a credential); " + _wanted(field)


def _tag_fault(document: Document, path: Path, detail: ErrorDetails, *, secret: bool) -> Fault:
    """Say which kinds there are, where the key that chooses one is missing or names none."""
    context = detail.get("ctx", {})
    key = re_quoted(str(context.get("discriminator", "")))[0]
    given = detail["input"]
    if detail["type"] == "union_tag_not_found":
        return document.fault((*path, key), "is missing; it says which kind is meant")
    names = re_quoted(str(context.get("expected_tags", "")))
    text = f"must be {' or '.join(repr(name) for name in names)}"
    if isinstance(given, dict):
        close = nearest(str(given.get(key)), names)
        text += "" if secret else f", not {_shown(given.get(key))}"
        text += close if close.startswith("; did") else ""  # it names a kind, never what was given
    return document.fault((*path, key), text)


def _exists(data: Any, location: tuple[int | str, ...]) -> bool:
    try:
        _at(data, location)
    except (KeyError, IndexError, TypeError):
        return False
    return True


def unknown_key(name: str, known: Collection[str]) -> str:
    """Say what is wrong with a key that a model does not have."""
    return f"unknown key{nearest(name, known)}"


def _wanted(field: FieldInfo | None) -> str:
    """Say what a missing key is for, in the words of the model."""
    text = (field.description or "") if field is not None else ""
    return (text[:1].lower() + text[1:]).rstrip(".") or "it has no default"


_SHAPES: Final = {
    "string_type": "must be text",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "list_type": "must be a list",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_too_short": "must not be empty",
}


def _sentence(detail: ErrorDetails, *, secret: bool) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context.get("error") or detail["msg"])
    shown = "" if secret else _shown(detail["input"])
    if kind == "literal_error":
        expected = str(context.get("expected", ""))
        close = nearest(str(detail["input"]), re_quoted(expected))
        close = close if close.startswith("; did") else ""
        return f"must be {expected}{f', not {shown}' if shown else ''}{close}"
    text = _SHAPES.get(kind) or detail["msg"].replace("Input should be", "must be")
    return f"{text}, not {shown}" if shown else text


def re_quoted(expected: str) -> list[str]:
    """Return the words between quotes in pydantic's list of what it expects."""
    return expected.split("'")[1::2]


def _shown(value: object) -> str:
    """Show a value as its writer sees it, shortened."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
