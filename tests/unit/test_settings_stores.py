"""Documents in stores and nested options of backends, as configured: faults, overrides, `config show`, schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from rotator.settings import DocumentSettings, InvalidSettings, load_settings
from rotator.settings.faults import dotted
from rotator.settings.reference import tables
from rotator.settings.schema import json_schema
from rotator.settings.show import HIDDEN, Resolved
from rotator.stores import DocumentKind

HEAD = """\
version: 1
defaults: {policy: {token_ttl: 15m, signer_lag: 5m}}
stores:
  local: {backend: file, path: store}
  east: {backend: file, path: east}
"""
VAULT = """\
  v:
    backend: vault
    address: https://vault.example:8200
    patience: 7s
    auth:
      method: approle
      role_id_file: ids/role
      secret_id_file: ids/secret
"""
CONJUR = "backend: conjur, url: https://c, account: a,"
WEB = """\
key_sets:
  web:
    store: local
    deliver: [{to: store, store: east}, {to: files, path: signing}]
    publish: [{to: store, store: local}]
"""


def written(tmp_path: Path, text: str) -> Path:
    """Write a configuration; return its path."""
    path = tmp_path / "rotator.yaml"
    path.write_text(text)
    return path


def faults(tmp_path: Path, text: str, **environ: str) -> dict[str, str]:
    """Return the faults of a configuration: their texts by their paths."""
    with pytest.raises(InvalidSettings) as caught:
        load_settings(written(tmp_path, text), environ)
    return {dotted(fault.path): fault.text for fault in caught.value.faults}


def test_documents_in_stores(tmp_path: Path) -> None:
    """The ring's own store, or another; beside files."""
    web = load_settings(written(tmp_path, HEAD + WEB), {}).key_sets["web"]
    assert web.documents == (
        DocumentSettings("store", "east", DocumentKind.SIGNING),
        DocumentSettings("store", "local", DocumentKind.JWKS),
    )
    assert (web.deliver[0], web.publish[0]) == web.documents


@pytest.mark.parametrize(
    ("old", "new", "at", "said"),
    [
        ("store: east}", "store: eats}", "key_sets.web.deliver[0].store", "did you mean `east`?"),
        ("store: east}", "path: s}", "key_sets.web.deliver[0].store", "is missing; the store"),
        ("store: east}", "store: east, path: s}", "key_sets.web.deliver[0].path", "unknown key"),
        ("store: east}", "store: east, mode: '0640'}", "key_sets.web.deliver[0].mode", "known are"),
        ("to: store, store: east", "to: shop", "key_sets.web.deliver[0].to", "'files' or 'store'"),
        ("to: store, store: east", "to: stores", "key_sets.web.deliver[0].to", "mean `store`?"),
        ("to: store, store: east", "store: east", "key_sets.web.deliver[0].to", "is missing"),
        ("to: files, path: signing", "to: store, store: east", "key_sets.web.deliver[1].store",
         "kept in the store `east` at key_sets.web.deliver[0] already"),
        ("store: local}]", "store: lokal}]", "key_sets.web.publish[0].store", "mean `local`?"),
        ("store: local}]", "store: local, document: jwks}]", "key_sets.web.publish[0].document",
         "unknown key"),
        ("  web:", "  rotator-check:", "key_sets.rotator-check", "choose another name"),
        ("store: east}", "store: east, document: verification}", "key_sets.web.deliver[0].document",
         "is for HMAC"),
    ],
)  # fmt: skip
def test_faults(tmp_path: Path, old: str, new: str, at: str, said: str) -> None:
    """Each at its own key, with the way out; the file's line is that of the key."""
    found = faults(tmp_path, HEAD + WEB.replace(old, new))
    assert said in found[at], found


@pytest.mark.parametrize(
    ("old", "new", "at", "said"),
    [
        ("role_id_file", "rold_id_file", "stores.v.auth.rold_id_file", "did you mean `role_id_file`?"),
        ("method: approle", "method: pl4nted", "stores.v.auth.method", "'approle'"),
        ("      method: approle\n", "", "stores.v.auth.method", "is missing"),
        ("method: approle", "method: aprole", "stores.v.auth.method", "did you mean `approle`?"),
        ("ids/secret", "~nobody-here/x", "stores.v.auth.secret_id_file", "home directory"),
        ("7s", "pl4nted", "stores.v.patience", "must be a duration with its unit"),
        ("7s", "7", "stores.v.patience", "write `7s`"),
        ("https://vault.example:8200", "pl4nted:x", "stores.v.address", ""),
    ],
)  # fmt: skip
def test_faults_of_nested_options(tmp_path: Path, old: str, new: str, at: str, said: str) -> None:
    """No part of a path that only pydantic knows, and no value, for it may be a credential."""
    found = faults(tmp_path, HEAD + VAULT.replace(old, new) + WEB)
    assert said in found[at], found
    assert "pl4nted" not in str(found)
    assert ".approle" not in str(list(found))


@pytest.mark.parametrize(
    ("auth", "at", "said"),
    [
        ("method: token, token: hvs.pl4nted", "token", "a file (`token_file`) or an environment variable (`token_env`)"),
        ("method: token, token: pl4nted, token_env: T", "token", "treat this one as leaked"),
        ("method: approle, role_id: r, secret_id: pl4nted", "secret_id", "a file (`secret_id_file`)"),
        ("method: token, password: pl4nted, token_env: T", "password", "a file or an environment variable,"),
        ("method: userpass, username: u, password: pl4nted", "password", "never stands in the conf"),
        ("method: token, token_env: hvs.pl4nted", "token_env", "the name of an environment variable"),
        ("method: approle, role_id: r, secret_id_env: a-pl4nted", "secret_id_env", "the name of an env"),
        ("method: token, token_file: hvs.pl4nted", "token_file", "looks like the secret itself"),
        ("method: token, token_file: s.pl4ntedpl4ntedpl4nted", "token_file", "looks like the secret"),
        ("method: token, token_file: AKIAIOSFODNN7EXAMPLE", "token_file", "looks like the secret"),
        ("method: token, token_file: 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", "token_file", "looks like"),
    ],
)  # fmt: skip
def test_secrets_in_the_configuration(tmp_path: Path, auth: str, at: str, said: str) -> None:
    """One fault, which says where they belong and does not quote them."""
    vault = VAULT[: VAULT.index("    auth:")] + f"    auth: {{{auth}}}\n"
    found = faults(tmp_path, HEAD + vault + WEB)
    assert list(found) == [f"stores.v.auth.{at}"], found
    assert said in found[f"stores.v.auth.{at}"]
    assert "pl4nted" not in str(found)
    assert "AKIA" not in str(found)


@pytest.mark.parametrize("file", ["s.token", "/run/secrets/Vault1/abcdefghij/klmnopq/token", "b.t"])
def test_paths_that_are_no_secrets(tmp_path: Path, file: str) -> None:
    """A file may be called much."""
    vault = VAULT[: VAULT.index("    auth:")] + f"    auth: {{method: token, token_file: {file}}}\n"
    assert load_settings(written(tmp_path, HEAD + vault + WEB), {}).stores["v"].backend == "vault"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("backend: aws, region: eu-central-1, secret_access_key: pl4nted", "never stands"),
        (CONJUR + " auth: {method: api-key, login: host/r, api_key: pl4nted}", "`api_key_env`"),
        (CONJUR + " auth: {method: api-key, login: host/r, api_key_env: 1-pl4nted}", "the name of an env"),
    ],
)  # fmt: skip
def test_secrets_of_other_backends(tmp_path: Path, options: str, said: str) -> None:
    """The rule is the same for each of them; tags may be called anything."""
    (text,) = faults(tmp_path, f"{HEAD}  v: {{{options}}}\n{WEB}").values()
    assert said in text
    assert "pl4nted" not in text
    tagged = f"{HEAD}  v: {{backend: aws, region: eu-central-1, tags: {{token: web}}}}\n{WEB}"
    assert load_settings(written(tmp_path, tagged), {}).stores["v"].backend == "aws"


def test_nested_options_are_overridden(tmp_path: Path) -> None:
    """`…_FILE` of a nested option that is called so is a path, and relative ones are the configuration's."""
    path = written(tmp_path, HEAD + VAULT + WEB)
    environ = {
        "ROTATOR__STORES__V__AUTH__SECRET_ID_FILE": "other/secret",
        "ROTATOR__STORES__V__AUTH__MOUNT": "apps",
        "ROTATOR__STORES__V__READ_TIMEOUT": "2s",
    }
    options = load_settings(path, environ).stores["v"].options
    assert options.auth.secret_id_file == tmp_path / "other" / "secret"
    assert options.auth.role_id_file == tmp_path / "ids" / "role"
    assert (options.auth.mount, options.read_timeout) == ("apps", 2.0)
    found = faults(tmp_path, HEAD + VAULT + WEB, ROTATOR__STORES__V__AUTH__SECRET_ID_FIEL="x")
    assert "did you mean `secret_id_file`?" in found["stores.v.auth.secret_id_fiel"]


def test_a_nested_value_from_a_file(tmp_path: Path) -> None:
    """An option that is not called `…_file` is read from the file that `…_FILE` names."""
    (tmp_path / "role").write_text("r-1\n")
    text = HEAD + VAULT.replace("      role_id_file: ids/role\n", "") + WEB
    environ = {
        "ROTATOR__STORES__V__AUTH__ROLE_ID_FILE": str(tmp_path / "role"),
        "ROTATOR__STORES__V__AUTH__MOUNT_FILE": str(tmp_path / "role"),
    }
    options = load_settings(written(tmp_path, text), environ).stores["v"].options
    assert options.auth.mount == "r-1"
    assert options.auth.role_id_file == tmp_path / "role"


def test_config_show(tmp_path: Path) -> None:
    """Nested options by their paths; where a secret is, is none; durations with their unit."""
    path = written(tmp_path, HEAD + VAULT + WEB)
    environ = {"ROTATOR__STORES__V__AUTH__SECRET_ID_FILE": "/run/secret-id"}
    shown: dict[str, tuple[Any, str]] = {
        dotted(at): (value, origin) for at, value, origin in Resolved(path, environ).values()
    }
    assert shown["stores.v.auth.method"] == ("approle", f"{path}:11")
    assert shown["stores.v.auth.secret_id_file"][0] == "/run/secret-id"
    assert shown["stores.v.auth.role_id_file"][0] == str(tmp_path / "ids/role")
    assert shown["stores.v.patience"] == ("7s", f"{path}:9")
    assert shown["stores.v.connect_timeout"] == ("3s", "default")
    assert shown["stores.local.lock_timeout"][0] == "10s"
    assert HIDDEN not in str(shown)
    assert shown["key_sets.web.deliver[0].store"][0] == "east"
    assert shown["key_sets.web.deliver[0].document"] == ("signing", "default")
    assert shown["key_sets.web.publish[0].to"][0] == "store"


def test_schema() -> None:
    """Takes what the program takes, nested options too; defaults are as people write them."""
    schema = json_schema()
    store = {"backend": "vault", "address": "https://v:8200"}
    login = {"method": "approle", "role_id": "r", "secret_id_file": "s"}
    document = {"version": 1, "stores": {"v": {**store, "auth": login}}}
    jsonschema.validate(document, schema)
    for wrong in ({**login, "method": "magic"}, {**login, "more": 1}):
        document["stores"] = {"v": {**store, "auth": wrong}}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document, schema)
    assert schema["$defs"]["Store_vault"]["properties"]["patience"]["default"] == "20s"
    key_set = {
        "deliver": [{"to": "store", "store": "v"}],
        "publish": [{"to": "store", "store": "v"}],
    }
    document = {"version": 1, "stores": {"f": {"backend": "file", "path": "s"}}, "key_sets": {}}
    document["key_sets"] = {"web": key_set}
    jsonschema.validate(document, schema)
    document["key_sets"] = {"web": {"deliver": [{"to": "store", "path": "v"}]}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


def test_tables() -> None:
    """Every option of every backend, and which kind of login it belongs to."""
    text = tables()
    assert "| `stores.NAME.auth.secret_id_file` | – | (`method` `approle`) " in text
    assert "| `stores.NAME.patience` | `20s` |" in text
    assert "| `deliver[].store` | required |" in text
