"""`rotator policy`, and the scopes that it and `check` are for."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from rotator import lazy_log
from rotator.cli import execute
from rotator.inspection import Report, Role, Scope
from rotator.settings import Settings, load_settings
from rotator.settings.scopes import scopes_of, stores_of, trial_scope
from rotator.stores import Backend, find_backend
from tests.cli.bench import Bench

STORES = {
    "local": {"backend": "file", "path": "store"},
    "east": {"backend": "file", "path": "east"},
    "spare": {"backend": "file", "path": "spare"},
}
TARGETS = {
    "store": "local",
    "deliver": [{"to": "store", "store": "east"}, {"to": "store", "store": "local"}],
    "publish": [{"to": "store", "store": "east"}],
}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return two key sets with documents in two stores; a third store is not used yet."""
    return Bench(tmp_path, names=("web", "api"), key_set=TARGETS, more={"stores": STORES})


@pytest.fixture
def settings(bench: Bench) -> Settings:
    """Return its settings."""
    return load_settings(bench.config, {})


def test_scopes(settings: Settings) -> None:
    """Ring and material where they are, documents where they are, nothing anywhere else."""
    web = Scope("web", 10, ring=True, documents=("web/signing",))
    east = ("signing", "jwks")
    assert scopes_of(settings, "local")[0] == web
    assert [scope.key_set for scope in scopes_of(settings, "local")] == ["web", "api"]
    assert scopes_of(settings, "east", ["api"]) == (
        Scope("api", 10, ring=False, documents=tuple(f"api/{kind}" for kind in east)),
    )
    assert scopes_of(settings, "spare") == ()
    assert stores_of(settings, ["web"]) == ("local", "east")


def test_the_scope_of_a_trial(settings: Settings) -> None:
    """What key sets have there and no more, so that a least-privilege policy allows it."""
    trial = Scope("rotator-check", ring=False)
    names = ("rotator-check/jwks", "rotator-check/signing")
    assert trial_scope(scopes_of(settings, "east")) == replace(trial, documents=names)
    local = trial_scope(scopes_of(settings, "local"))
    assert (local.ring, local.documents) == (True, ("rotator-check/signing",))
    assert trial_scope(()).ring


def test_each_role(bench: Bench) -> None:
    """Printed as the backend has it; nothing is touched."""
    before = bench.tree()
    for role in Role:
        ran = bench.good("policy", "east", "--role", role.value)
        assert str(bench.path / "east") in ran.out
        said = bench.answer("policy", "east", "web", "--role", role.value)
        assert (said["role"], said["key_sets"]) == (role.value, ["web"])
        assert said["policy"].startswith("#")
    assert bench.tree() == before


def test_a_role_with_nothing_to_read(bench: Bench) -> None:
    """The policy is printed, and what is missing is said beside it."""
    ran = bench.good("policy", "local", "--role", "jwks-reader")
    assert "no key set has its jwks document in the store local" in ran.err
    assert "no key set" not in bench.good("policy", "east", "--role", "jwks-reader").err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("loca", "--role", "signer"), "did you mean `local`?"),
        (("local", "wep", "--role", "signer"), "did you mean `web`?"),
        (("spare", "web", "--role", "signer"), "key set web has nothing in the store spare"),
        (("local", "--role", "king"), "is not one of 'rotator'"),
        (("local",), "--role"),
        (("--role", "signer"), "STORE"),
    ],
)
def test_refused(bench: Bench, words: tuple[str, ...], said: str) -> None:
    """Exit 2, with the way out."""
    ran = bench.run("policy", *words)
    assert ran.code == 2
    assert said in ran.err
    assert "hint" in ran.err
    assert ran.out == ""


@pytest.fixture
def _logs_as_before() -> Iterator[None]:
    """Leave the process's logging as it was found: a command that runs in this process sets it up."""
    root, state = logging.getLogger(), lazy_log._State
    handlers, level = list(root.handlers), root.level
    kept = (state.threshold, state.pending)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    state.threshold, state.pending = kept
    structlog.reset_defaults()


class Mute:
    """A store that says nothing of itself."""

    def __init__(self, path: Path) -> None:
        backend = find_backend("file")
        real = backend.open(backend.settings()(path=path / "store"))
        self.rings, self.material, self.documents = real.rings, real.material, real.documents

    def close(self) -> None:
        """Let go of nothing."""


class Told(Mute):
    """A store that keeps what it is asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked: list[Any] = []

    def inspect(self, scopes: tuple[Scope, ...] = ()) -> Report:
        """Keep the scopes."""
        self.asked.append(tuple(scopes))
        return Report("told", ())

    def policy(self, role: Role, scopes: tuple[Scope, ...] = ()) -> str:
        """Keep role and scopes."""
        self.asked.append((role, tuple(scopes)))
        return "allow"


@pytest.mark.usefixtures("_logs_as_before")
def test_the_backend_is_told_the_scopes(
    bench: Bench,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Those of the key sets named, in `policy` and in `check`."""
    told = Told(bench.path)
    _open_as(monkeypatch, told)
    assert execute(["-c", str(bench.config), "policy", "east", "api", "--role", "rotator"]) == 0
    assert capsys.readouterr().out == "allow\n"
    assert told.asked.pop() == (Role.ROTATOR, scopes_of(settings, "east", ["api"]))
    assert execute(["-c", str(bench.config), "check", "api"]) == 0
    wanted = [scopes_of(settings, store, ["api"]) for store in ("east", "local")]
    assert told.asked == wanted
    told.asked.clear()
    assert execute(["-c", str(bench.config), "check"]) == 0
    assert told.asked == [scopes_of(settings, store) for store in ("east", "local", "spare")]


@pytest.mark.usefixtures("_logs_as_before")
def test_a_backend_without_policies(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said which backend, exit 2; `check` says what it could not ask."""

    _open_as(monkeypatch, Mute(bench.path))
    assert execute(["-c", str(bench.config), "policy", "east", "--role", "rotator"]) == 2
    assert "the backend file of the store east prints no policies" in capsys.readouterr().err
    assert execute(["-c", str(bench.config), "--json", "check"]) == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    assert "its backend has no inspection" in str(
        [f for f in found if f["subject"] == "store east"]
    )


def _open_as(monkeypatch: pytest.MonkeyPatch, store: Any) -> None:
    real = find_backend("file")
    backend = Backend("file", real.settings, lambda _settings: store)
    monkeypatch.setattr("rotator.assemble.find_backend", lambda _name: backend)
