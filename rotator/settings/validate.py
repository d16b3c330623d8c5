"""From a document to models: pydantic's faults said in sentences, and none of them hiding another."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from rotator.settings.document import Document
from rotator.settings.faults import Fault, Path, nearest
from rotator.settings.models import LATER

if TYPE_CHECKING:
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
        # A value that was cut out is missing from then on; that was said already.
        new = [detail for detail in details if detail["loc"] not in cut]
        # Written out, a fault of the second round is one of the first or depends on it.
        data = copy.deepcopy(data) if isinstance(data, dict) else data
        faults += [_fault(model, document, path, detail, data, secret=secret) for detail in new]
        if not isinstance(data, dict) or not _prune(data, [detail["loc"] for detail in details]):
            break
        cut |= {detail["loc"] for detail in details}
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
    location = detail["loc"]
    kind = detail["type"]
    if kind == "extra_forbidden":
        name = str(location[-1])
        return document.fault(path + location, unknown_key(name, known_at(model, location[:-1])))
    if kind == "missing":
        return document.fault(path + location, "is missing; " + _wanted(model, location))
    # A union or a validator adds parts to the location that no document has.
    while location and not _exists(data, location):
        location = location[:-1]
    return document.fault(path + location, _sentence(detail, secret=secret))


def _exists(data: Any, location: tuple[int | str, ...]) -> bool:
    try:
        _at(data, location)
    except (KeyError, IndexError, TypeError):
        return False
    return True


def unknown_key(name: str, known: Collection[str]) -> str:
    """Say what is wrong with a key that a model does not have."""
    if name in LATER:
        return f"this version has no {LATER[name]}; remove the key"
    return f"unknown key{nearest(name, known)}"


def known_at(model: type[BaseModel], location: tuple[int | str, ...]) -> Collection[str]:
    """Return the keys that may stand at a location inside a model; nothing when any may."""
    current: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        field = current.model_fields.get(part) if current is not None else None
        current = _model_in(field.annotation) if field is not None else None
    return list(current.model_fields) if current is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if (found := _model_in(inner)) is not None:
            return found
    return None


def _wanted(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """Say what a missing key is for, in the words of the model."""
    name = str(location[-1])
    known: Any = model
    for part in location[:-1]:
        field = (
            known.model_fields.get(part) if known is not None and isinstance(part, str) else None
        )
        known = _model_in(field.annotation) if field is not None else known
    field = known.model_fields.get(name) if known is not None else None
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
        close = nearest(str(detail["input"]), re_quoted(expected)) if not secret else ""
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
