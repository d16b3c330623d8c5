"""Any shape of configuration is accepted or refused with a `ConfigError`; nothing else ever gets out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rotator.errors import ConfigError
from rotator.settings import load_settings
from rotator.settings.listeners import Server
from rotator.settings.models import KeySet, Policy, Probe, Root
from rotator.settings.target_models import DELIVERIES, PUBLICATIONS

if TYPE_CHECKING:
    from pydantic import BaseModel

MODELS: tuple[type[BaseModel], ...] = (
    Root,
    KeySet,
    Policy,
    *DELIVERIES,
    *PUBLICATIONS,
    Probe,
    Server,
)

KEYS = sorted(
    {name for model in MODELS for name in model.model_fields}
    | {"backend", "lock_timeout", "windows", "web", "a.b", "Web", "/all/jwks.json", "unknown"}
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-10, 5000), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([
        "15m", "0s", "90d", "1", "", "file", "files", "RS256", "HS256", "ES256", "web", "a.b", "x/y", "/", ".", "~", "\x00",
        "signing", "verification", "0640", "https://x/y", "https://[::1", "127.0.0.1:0", "[::1]:1", "envoy", "aspnet", "operator",
    ]),
)  # fmt: skip
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=25,
)
TARGET = st.fixed_dictionaries(
    {"to": st.sampled_from(["files", "file", "store"])},
    optional={"path": LEAVES, "store": LEAVES, "mode": LEAVES, "document": LEAVES},
)
POLICY = st.dictionaries(st.sampled_from(list(Policy.model_fields)), LEAVES, max_size=6)
KEY_SETS = st.fixed_dictionaries(
    {
        "deliver": st.one_of(st.just([{"to": "files", "path": "s"}]), st.lists(TARGET, max_size=3)),
        "publish": st.one_of(st.just([{"to": "file", "path": "j"}]), st.lists(TARGET, max_size=3)),
        "policy": st.one_of(POLICY, TREES),
    },
    optional={
        name: st.one_of(LEAVES, TREES)
        for name in KeySet.model_fields
        if name not in {"deliver", "publish", "policy"}
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {
        "version": st.one_of(st.just(1), LEAVES),
        "stores": st.one_of(st.just({"a": {"backend": "file", "path": "x"}}), TREES),
        "key_sets": st.one_of(
            st.dictionaries(st.sampled_from(["web", "a.b", "Web"]), st.one_of(KEY_SETS, TREES)),
            TREES,
        ),
    },
    optional=dict.fromkeys(
        ("defaults", "combine", "server", "state_dir", "notify", "key_sets_dir"), TREES
    ),
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    DOCUMENTS,
    st.dictionaries(
        st.sampled_from(
            [
                f"ROTATOR__{a}__{b}"
                for a in ("SERVER", "DEFAULTS", "KEY_SETS__WEB", "STORES__A")
                for b in ("LISTEN", "POLICY__LEEWAY", "STORE", "PATH", "PATH_FILE")
            ]
        ),
        st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8),
        max_size=3,
    ),
)
def test_any_shape(tmp_path: Path, document: dict[str, Any], environ: dict[str, str]) -> None:
    """Whatever stands where, there is one sentence for it."""
    path = tmp_path / "c.json"
    path.write_text(json.dumps(document))
    said = ("valid", "")
    try:
        load_settings(path, environ)
    except ConfigError as error:
        said = (error.message, error.hint)
    assert said[0]
