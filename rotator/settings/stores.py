"""The options of a store, checked by the model of its own backend."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from rotator.errors import BackendMissing
from rotator.settings.document import Document
from rotator.settings.faults import Fault, nearest
from rotator.settings.faults import Path as KeyPath
from rotator.settings.locations import keys_at
from rotator.settings.misplaced import without_secrets
from rotator.settings.models import Store
from rotator.settings.result import StoreSettings
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
    # No fault shows a value: it may be a credential in the wrong place.
    before = len(faults)
    given = without_secrets(options_model, document, path, model.model_extra or {}, faults)
    misplaced = len(faults) > before
    options, cut = validate(options_model, document, path, faults, values=given, secret=True)
    if options is None or cut or misplaced:
        return None
    return StoreSettings(name, model.backend, _absolute(options, document, path, directory, faults))


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
