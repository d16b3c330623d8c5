"""The JSON Schema (draft 2020-12) of a configuration, for editors and for checks outside `rotator`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from rotator.durations import PATTERN
from rotator.objects import find_objects
from rotator.policy import format_duration
from rotator.settings.models import Defaults, KeySet, Root
from rotator.settings.names import KEY_SET_NAME
from rotator.settings.notify import Receiver
from rotator.settings.target_models import PUBLICATIONS, OfBackend
from rotator.stores import backend_names, find_backend

if TYPE_CHECKING:
    from pydantic import BaseModel

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Writes defaults the way that configurations do."""

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def json_schema() -> dict[str, Any]:
    """Return the schema, with the options of every backend that is installed."""
    models: list[type[BaseModel]] = [Root, Defaults, KeySet, Receiver]
    backends = {name: find_backend(name).settings() for name in backend_names()}
    objects = {
        kind.__name__: find_objects(kind.BACKEND).settings()
        for kind in PUBLICATIONS
        if issubclass(kind, OfBackend)
    }
    references, shared = models_json_schema(
        [(model, "validation") for model in [*models, *backends.values(), *objects.values()]],
        schema_generator=_Generator,
    )
    definitions = shared["$defs"]
    root = definitions.pop("Root")
    for name, model in backends.items():
        definitions[f"Store_{name}"] = _store(
            name, _definition(references[model, "validation"], definitions)
        )
    for name, model in objects.items():
        options = _definition(references[model, "validation"], definitions)
        definitions[name] = _with_options(definitions[name], options)
    properties = root["properties"]
    names = {"pattern": f"^{KEY_SET_NAME.pattern}$"}
    properties["stores"] |= {
        "propertyNames": names,
        "minProperties": 1,
        "additionalProperties": {"anyOf": [{"$ref": f"#/$defs/Store_{name}"} for name in backends]},
    }
    properties["key_sets"] |= {
        "propertyNames": names,
        "additionalProperties": {"$ref": "#/$defs/KeySet"},
    }
    properties["notify"] |= {
        "propertyNames": names,
        "additionalProperties": {"$ref": "#/$defs/Receiver"},
    }
    properties["defaults"] = {
        "$ref": "#/$defs/Defaults",
        "description": properties["defaults"]["description"],
    }
    root["required"] = ["version", "stores"]
    probe = definitions["Probe"]
    definitions["Probe"] = {"anyOf": [{"type": "string", "format": "uri"}, probe]}
    head = {"$schema": DIALECT, "title": "Configuration of rotator"}
    schema: dict[str, Any] = head | _tidy(root)
    schema["$defs"] = dict(sorted(_tidy(definitions).items()))
    return schema


def _definition(reference: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Take the schema that a reference names out of the shared ones."""
    found: dict[str, Any] = definitions.pop(reference["$ref"].rpartition("/")[2])
    return found


def _store(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Add the `backend` that chooses this kind of store."""
    properties = {"backend": {"const": name}, **schema.get("properties", {})}
    required = ["backend", *schema.get("required", [])]
    # What a backend says of itself in code (its docstring) is for developers.
    rest = {
        key: value
        for key, value in schema.items()
        if key not in {"description", "properties", "required"}
    }
    return {**rest, "properties": properties, "required": required}


def _with_options(entry: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Add the options of a backend's object storage to an entry that is checked by both."""
    return {
        **entry,
        "additionalProperties": False,
        "properties": {**entry["properties"], **options["properties"]},
        "required": [*entry.get("required", []), *options.get("required", [])],
    }


def _tidy(node: Any) -> Any:
    """Take out what pydantic adds for Python: titles, and `null`, which a configuration never holds."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    branches = node.get("anyOf")
    if isinstance(branches, list) and {"type": "null"} in branches:
        left = [branch for branch in branches if branch != {"type": "null"}]
        rest = {key: value for key, value in node.items() if key != "anyOf"}
        node = {**left[0], **rest} if len(left) == 1 else {**rest, "anyOf": left}
    if node.get("pattern") == PATTERN and isinstance(node.get("default"), float):
        # Backends keep seconds; a configuration says durations.
        node = {**node, "default": format_duration(timedelta(seconds=node["default"]))}
    return {
        key: _tidy(value)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str))
        and not (key == "default" and value is None)
    }
