"""Where a location that pydantic names stands in a document, and what a model has there.

Pydantic puts the tag of a discriminated union into its locations (`deliver, 0, files, path`); no document
has such a part.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from rotator.settings.faults import Path

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


def document_path(model: type[BaseModel], location: Sequence[int | str]) -> Path:
    """Return a location of pydantic's without the parts that no document has."""
    return _walk(model, location, tagged=True)[0]


def keys_at(
    model: type[BaseModel], location: Sequence[int | str], *, tagged: bool = False
) -> Collection[str]:
    """Return the keys that may stand at a location inside a model; nothing when any may.

    Args:
        tagged: the location is one of pydantic's, so that only the chosen member of a union counts.
    """
    found = models_in(_walk(model, location, tagged=tagged)[1])
    return list(dict.fromkeys(name for one in found for name in one.model_fields))


def field_at(model: type[BaseModel], location: Sequence[int | str]) -> FieldInfo | None:
    """Return the field that a location of pydantic's names, None when there is none."""
    name = location[-1] if location else None
    for above in models_in(_walk(model, location[:-1], tagged=True)[1]):
        if isinstance(name, str) and name in above.model_fields:
            return above.model_fields[name]
    return None


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that may stand where an annotation is: several for a union of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = get_origin(annotation)
    if origin is Annotated:
        return models_in(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [model for inner in get_args(annotation) for model in models_in(inner)]
    return []


def _walk(
    model: type[BaseModel], location: Sequence[int | str], *, tagged: bool
) -> tuple[Path, Any]:
    """Follow a location; return it as documents have it, and the annotation at its end."""
    at: Any = model
    path: list[int | str] = []
    for part in location:
        models = models_in(at)
        chosen = _member(models, part) if tagged and len(models) > 1 else None
        if chosen is not None:
            at = chosen
            continue
        path.append(part)
        at = _below(at, models, part)
    return tuple(path), at


def _below(annotation: Any, models: Sequence[type[BaseModel]], part: int | str) -> Any:
    """Return the annotation one step further down; None when nothing is known of it."""
    for model in models:
        if isinstance(part, str) and part in model.model_fields:
            return model.model_fields[part].annotation
    return None if models else _item(annotation)


def _item(annotation: Any) -> Any:
    """Return what the items of a list, or the values of a mapping, are."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _item(inner[0])
    if origin in (Union, UnionType):
        return next((found for one in inner if (found := _item(one)) is not None), None)
    return inner[-1] if origin in (list, dict) else inner[0] if origin is tuple and inner else None


def _member(models: Sequence[type[BaseModel]], tag: int | str) -> type[BaseModel] | None:
    """Return the member of a discriminated union that a tag chooses."""
    for model in models:
        for field in model.model_fields.values():
            if get_origin(field.annotation) is Literal and tag in get_args(field.annotation):
                return model
    return None
