"""The options of a store, or of a bucket, checked by the model of its own backend."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from rotator.errors import BackendMissing
from rotator.objects import find_objects
from rotator.settings.document import Document
from rotator.settings.faults import Fault, nearest
from rotator.settings.faults import Path as KeyPath
from rotator.settings.locations import keys_at
from rotator.settings.misplaced import without_secrets
from rotator.settings.models import Store
from rotator.settings.result import StoreSettings
from rotator.settings.target_models import PublishS3
from rotator.settings.targets import ObjectSettings
from rotator.settings.validate import validate
from rotator.settings.values import path_problem
from rotator.stores import backend_names, find_backend


def check_store(
    name: str, model: Store, document: Document, directory: Path, faults: list[Fault]
) -> StoreSettings | None:
    """Return the settings of a store, None when it has faults.

    Paths among the options are made absolute: relative to the configuration's directory, `~` expanded.
    """
    path = ("stores", name)
    try:
        options_model = find_backend(model.backend).settings()
    except BackendMissing as error:
        close = nearest(model.backend, backend_names())
        text = str(error) if not close.startswith("; did") else f"{error.message}{close}"
        faults.append(document.fault((*path, "backend"), text))
        return None
    options = check_options(
        options_model, model.model_extra or {}, document, path, directory=directory, faults=faults
    )
    return None if options is None else StoreSettings(name, model.backend, options)


def check_object(
    item: PublishS3, key_set: str, document: Document, path: KeyPath, **more: Any
) -> ObjectSettings:
    """Return the settings of a publication in object storage; those with faults have no options.

    Args:
        path: where its entry stands in the document.
        more: `directory` and `faults`, as `check_options` takes them.
    """
    key = item.key or f"{key_set}/jwks.json"
    try:
        objects = find_objects(item.BACKEND)
    except BackendMissing as error:
        more["faults"].append(document.fault((*path, "to"), str(error)))
        return ObjectSettings(item.to, item.BACKEND, key, None)
    options = check_options(objects.settings(), item.model_extra or {}, document, path, **more)
    return ObjectSettings(item.to, item.BACKEND, key, options)


def check_options(
    model: type[BaseModel],
    given: Mapping[str, Any],
    document: Document,
    path: KeyPath,
    *,
    directory: Path,
    faults: list[Fault],
) -> BaseModel | None:
    """Return what a backend's own model makes of its options, None when they have faults.

    No fault shows a value: it may be a credential in the wrong place.

    Args:
        given: the options as written.
        path: where they stand in the document.
        directory: what relative paths among them are relative to.
    """
    before = len(faults)
    sound = without_secrets(model, document, path, given, faults)
    misplaced = len(faults) > before
    options, cut = validate(model, document, path, faults, values=sound, secret=True)
    if options is None or cut or misplaced:
        return None
    return _absolute(options, document, path, directory, faults)


def _absolute(
    options: BaseModel, document: Document, path: KeyPath, directory: Path, faults: list[Fault]
) -> BaseModel:
    """Return options with every path made absolute, those of nested options too."""
    changes: dict[str, Any] = {}
    for key in type(options).model_fields:
        value = getattr(options, key)
        if isinstance(value, BaseModel):
            changes[key] = _absolute(value, document, (*path, key), directory, faults)
        elif isinstance(value, Path):
            if problem := path_problem(str(value)):
                faults.append(document.fault((*path, key), problem))
            else:
                changes[key] = Path(os.path.normpath(directory / value.expanduser()))
    return options.model_copy(update=changes) if changes else options


def option_names(store: Any, inside: KeyPath = ()) -> Collection[str]:
    """Return the options that a store's backend has, nothing when there is no such backend.

    Args:
        inside: the path of a nested option; its own options are returned then.
    """
    backend = store.get("backend") if isinstance(store, dict) else None
    if not isinstance(backend, str):
        return []
    try:
        known = keys_at(find_backend(backend).settings(), inside)
    except BackendMissing:
        return []
    return known if inside else ["backend", *known]
