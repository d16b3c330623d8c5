"""What is made from the models: schema, example, reference; they agree with the code, and with each other."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from rotator.policy import RotationPolicy, broken_clauses
from rotator.settings import (
    DeliverSettings,
    PublishSettings,
    listeners,
    load_settings,
    models,
    target_models,
)
from rotator.settings.generate import generated, main
from rotator.settings.schema import json_schema
from rotator.settings.template import Answers, render

if TYPE_CHECKING:
    from pydantic import BaseModel

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "name", ["config/rotator.schema.json", "config/rotator.example.yaml", "docs/configuration.md"]
)
def test_no_drift(name: str) -> None:
    """After a change of the models: `python -m rotator.settings.generate`."""
    assert (ROOT / name).read_text() == generated(ROOT)[ROOT / name]


def test_generate_tells_and_mends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` writes nothing; without it the files are made."""
    (tmp_path / "config").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "configuration.md").write_text("# Mine\n")
    assert main(["--check", str(tmp_path)]) == 1
    assert not list((tmp_path / "config").iterdir())
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    assert (tmp_path / "docs" / "configuration.md").read_text().startswith("# Mine\n")
    assert "rotator.schema.json" in capsys.readouterr().out


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """Return the schema, itself checked."""
    made = json_schema()
    jsonschema.Draft202012Validator.check_schema(made)
    return made


def parsed(text: str) -> Any:
    """Read YAML the way that an editor does."""
    return YAML(typ="safe", pure=True).load(text)


@pytest.mark.parametrize("file", ["config/rotator.example.yaml", "config/quickstart.yaml"])
def test_examples_are_valid(schema: dict[str, Any], file: str) -> None:
    """For the program and for an editor."""
    jsonschema.validate(parsed((ROOT / file).read_text()), schema)
    settings = load_settings(ROOT / file, {})
    assert all(not broken_clauses(item.policy) for item in settings.key_sets.values())


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA", "HS256"])
def test_template_for_each_kind(schema: dict[str, Any], tmp_path: Path, algorithm: str) -> None:
    """Whatever `init` is asked for, the result is valid, and has no placeholder left."""
    text = render(Answers("15m", "5m", algorithm, "my-keys"))
    assert not re.search(r"@[A-Z_]+@", text)
    assert "\n\n\n\n" not in text
    jsonschema.validate(parsed(text), schema)
    (tmp_path / "rotator.yaml").write_text(text)
    assert (
        load_settings(tmp_path / "rotator.yaml", {}).key_sets["my-keys"].policy.kind.algorithm
        == algorithm
    )


def test_comments_of_the_template_are_true(tmp_path: Path) -> None:
    """What is commented out is valid when it is taken in."""
    text = render(Answers("15m", "5m"))
    text = re.sub(
        r"^( *)# ((?:max_keys|grace|standby|issuer|default|verifiers|group|server|state_dir):)",
        r"\1\2",
        text,
        flags=re.MULTILINE,
    )
    text = re.sub(r"^# (  listen:)", r"\1", text, flags=re.MULTILINE)
    text = re.sub(r"^( *)# (probes:|  - https|- {to: store)", r"\1\2", text, flags=re.MULTILINE)
    text = text.replace("grace: 30m", "grace: 35m")
    (tmp_path / "rotator.yaml").write_text(text)
    settings = load_settings(tmp_path / "rotator.yaml", {})
    key_set = settings.key_sets["web"]
    assert settings.server is not None
    assert key_set.default
    assert key_set.probes
    assert key_set.verifiers == ("aspnet", "envoy")
    assert isinstance(key_set.deliver[0], DeliverSettings)
    assert key_set.deliver[0].group == "issuer"
    assert [target.document for target in key_set.documents] == ["signing", "jwks"]


def test_example_rotates_four_times_a_year() -> None:
    """`rotator plan --until 1y` on it lists four rotations."""
    (key_set,) = load_settings(ROOT / "config" / "rotator.example.yaml", {}).key_sets.values()
    assert timedelta(days=365) // key_set.policy.rotate_every == 4


def test_quickstart_shows_a_whole_life_in_two_minutes() -> None:
    """First key at once, promoted over after one period, gone after its grace."""
    settings = load_settings(ROOT / "config" / "quickstart.yaml", {})
    (key_set,) = settings.key_sets.values()
    policy = key_set.policy
    assert policy.rotate_every + policy.grace_wait + 4 * policy.resync < timedelta(minutes=2)
    assert settings.server is not None
    assert key_set.default
    inside = ROOT / ".quickstart"
    assert not key_set.documents
    targets = (*key_set.deliver, *key_set.publish)
    places = [item.path for item in targets if isinstance(item, (DeliverSettings, PublishSettings))]
    assert places
    assert all(place.is_relative_to(inside) for place in [*places, settings.state_dir])


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": 2, "stores": {"a": {"backend": "file", "path": "s"}}},
        {"stores": {"a": {"backend": "file", "path": "s"}}},
        {"version": 1},
        {"version": 1, "stores": {}},
        {"version": 1, "stores": {"a": {"backend": "file"}}},
        {"version": 1, "stores": {"a": {"backend": "fiel", "path": "s"}}},
        {"version": 1, "stores": {"A": {"backend": "file", "path": "s"}}},
        {"version": 1, "stores": {"a": {"backend": "file", "path": "s"}}, "unknown": 1},
        {"version": 1, "stores": {"a": {"backend": "file", "path": "s"}}, "server": None},
        {
            "version": 1,
            "stores": {"a": {"backend": "file", "path": "s"}},
            "key_sets": {"x": {"policy": {"leeway": 5}}},
        },
        {
            "version": 1,
            "stores": {"a": {"backend": "file", "path": "s"}},
            "key_sets": {"x": {"policy": {"leeway": "5 min"}}},
        },
        {
            "version": 1,
            "stores": {"a": {"backend": "file", "path": "s"}},
            "key_sets": {"x": {"algorithm": "RS1"}},
        },
        {
            "version": 1,
            "stores": {"a": {"backend": "file", "path": "s"}},
            "key_sets": {"x": {"deliver": [{"to": "files"}]}},
        },
        {
            "version": 1,
            "stores": {"a": {"backend": "file", "path": "s"}},
            "key_sets": {"x": {"probes": [1]}},
        },
    ],
)
def test_schema_refuses(schema: dict[str, Any], wrong: dict[str, Any]) -> None:
    """What the program refuses by its shape, an editor marks."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)


def test_schema_says_defaults_as_people_write_them() -> None:
    """`90d`, not ISO 8601; and no `null` anywhere."""
    text = json.dumps(json_schema())
    assert '"default": "90d"' in text
    assert '"null"' not in text
    assert "P90D" not in text


def test_models_and_policy_agree() -> None:
    """Every duration of the policy can be configured, with the policy's own default."""
    known = {field.name: field.default for field in fields(RotationPolicy)}
    for name, field in models.Policy.model_fields.items():
        assert name in known
        if name not in {"token_ttl", "signer_lag"}:
            assert field.default == known[name], name
    elsewhere = {"kind", "allow_mixed_kty", "first_run", "windows", "observed_cache"}
    assert set(models.Policy.model_fields) == set(known) - elsewhere


def test_every_key_is_explained() -> None:
    """A description for each, ending like a sentence."""
    every: tuple[type[BaseModel], ...] = (
        models.Root,
        models.Defaults,
        models.KeySet,
        models.Policy,
        *target_models.DELIVERIES,
        *target_models.PUBLICATIONS,
        models.Probe,
        listeners.Admin,
        listeners.Server,
        models.Store,
    )
    for model in every:
        for name, field in model.model_fields.items():
            assert field.description, (model, name)
            assert field.description.endswith("."), (model, name)
