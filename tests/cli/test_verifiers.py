"""A verification document for each HMAC verifier, separately addressed: its life, its scope, its refusals."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from rotator.cli import execute
from rotator.inspection import Role, Scope
from rotator.settings import InvalidSettings, load_settings
from rotator.settings.faults import dotted
from rotator.settings.scopes import scopes_of, trial_scope
from rotator.stores import Backend, find_backend
from tests.cli.bench import Bench
from tests.cli.forge import Forge
from tests.cli.test_policy import Told

STORES: Final = {
    "local": {"backend": "file", "path": "store"},
    "east": {"backend": "file", "path": "east"},
}
SIGNING: Final = {"to": "files", "path": "signing/web"}


def verification(**more: str) -> dict[str, str]:
    """Return a delivery to verifiers in the store `east`."""
    return {"to": "store", "store": "east", "document": "verification", **more}


BILLING: Final = verification(verifier="billing")
SHOP: Final = verification(verifier="shop")


def configured(path: Path, *deliver: Mapping[str, str], names: tuple[str, ...] = ("web",)) -> Bench:
    """Return an HMAC key set, its ring in one store, documents for verifiers in another."""
    key_set = {"store": "local", "deliver": [SIGNING, *deliver]}
    return Bench(path, algorithm="HS256", names=names, key_set=key_set, more={"stores": STORES})


def read(path: Path, name: str) -> Any:
    """Return a document of the store `east`, None where there is none."""
    backend = find_backend("file")
    documents = backend.open(backend.settings()(path=path / "east")).documents()
    assert documents is not None
    found = documents.read(f"web/{name}")
    return None if found is None else json.loads(found.body)


def test_each_verifier_has_its_own_until_it_is_removed(tmp_path: Path, forge: Forge) -> None:
    """Both are announced to; one that left is written no more, named as left behind, cleaned and forgotten."""
    bench = configured(tmp_path, BILLING, SHOP)

    def run(*words: str, code: int = 0, travel: timedelta = timedelta()) -> str:
        at = (datetime.now(UTC) + travel).isoformat()
        ran = forge.run(bench, *words, travel=at)
        assert ran.code == code, (words, ran)
        return ran.out

    run("rotate")
    before = read(tmp_path, "verification.shop")
    assert before == read(tmp_path, "verification.billing")
    assert before["format"] == "rotator.verification/1"
    assert read(tmp_path, "verification") is None
    shop = "store:east/web/verification.shop"
    live = json.loads(run("--json", "status", "--live"))["key_sets"][0]["targets"]
    assert {"store:east/web/verification.billing", shop} <= {item["target"] for item in live}
    run("check")

    bench = configured(tmp_path, BILLING)
    run("rotate")
    (left,) = json.loads(run("--json", "status"))["key_sets"][0]["left_behind"]
    document = tmp_path / "east" / "web" / "documents" / "verification.shop.json"
    assert (left["target"], left["command"]) == (shop, f"rm -- {shlex.quote(str(document))}")
    run("rotate", travel=timedelta(days=91))
    assert read(tmp_path, "verification.shop") == before
    kids = {key["kid"] for key in read(tmp_path, "verification.billing")["keys"]}
    assert kids > {key["kid"] for key in before["keys"]}


def test_scopes(tmp_path: Path) -> None:
    """Each document by its name; a trial stands for all of them."""
    settings = load_settings(configured(tmp_path, verification(), BILLING, SHOP).config, {})
    (scope,) = scopes_of(settings, "east")
    names = ("web/verification", "web/verification.billing", "web/verification.shop")
    assert scope.documents == scope.documents_of("verification") == names
    assert scope.documents_of("signing") == ()
    assert trial_scope([scope]).documents == ("rotator-check/verification",)


def printed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[int, tuple[Scope, ...]]:
    """Print the policy of verifiers; return the exit code, and the scopes that the backend was told."""
    told, real = Told(bench.path), find_backend("file")
    backend = Backend("file", real.settings, lambda _settings: told)
    monkeypatch.setattr("rotator.assemble.find_backend", lambda _name: backend)
    code = execute(["-c", str(bench.config), "policy", "east", "--role", "verifier", *words])
    if not told.asked:
        return code, ()
    ((role, scopes),) = told.asked
    assert role is Role.VERIFIER
    return code, scopes


@pytest.mark.parametrize(
    ("deliver", "words", "documents"),
    [
        ((verification(), BILLING, SHOP), (), ["web/verification"]),
        ((verification(), BILLING, SHOP), ("--verifier", "shop"), ["web/verification.shop"]),
        ((BILLING, SHOP), ("web", "--verifier", "billing"), ["web/verification.billing"]),
    ],
)
def test_a_policy_is_for_one_document(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    deliver: tuple[dict[str, str], ...],
    words: tuple[str, ...],
    documents: list[str],
) -> None:
    """The verifier's own, or the one that all share; never two."""
    code, scopes = printed(configured(tmp_path, *deliver), monkeypatch, *words)
    assert code == 0
    assert [name for scope in scopes for name in scope.documents] == documents


def test_key_sets_without_the_verifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Left out, and where nobody asked for one verifier that is said; refused when they were named."""
    bench = configured(tmp_path, BILLING, names=("web", "api"))
    document = json.loads(bench.config.read_text())
    for name, more in (("web", [BILLING]), ("api", [verification()])):
        signing = {**SIGNING, "path": f"signing/{name}"}
        document["key_sets"][name]["deliver"] = [signing, *more]
    bench.config.write_text(json.dumps(document))
    _, scopes = printed(bench, monkeypatch, "--verifier", "billing")
    assert [scope.documents for scope in scopes] == [("web/verification.billing",)]
    _, scopes = printed(bench, monkeypatch)
    assert [scope.documents for scope in scopes] == [("api/verification",)]
    assert "left out: key set web in the store east" in capsys.readouterr().err
    assert printed(bench, monkeypatch, "web", "api", "--verifier", "billing")[0] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("east", "--role", "verifier"), "`--verifier billing` or `--verifier shop`"),
        (("east", "--role", "verifier", "--verifier", "s"), "is for the verifier 's'"),
        (("east", "--role", "signer", "--verifier", "shop"), "only the role verifier"),
        (("kubernetes", "--role", "verifier", "--verifier", "shop"), "only the role verifier"),
    ],
)
def test_refused(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """Exit 2, with the way out."""
    ran = configured(tmp_path, BILLING, SHOP).run("policy", *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.words
    assert "hint" in ran.err


@pytest.mark.parametrize(
    ("deliver", "at", "said"),
    [
        ((BILLING, BILLING), "deliver[2].store", "of the verifier `billing` is kept in the store"),
        ((verification(), SHOP, {**SHOP, "document": "signing"}), "deliver[3].verifier",
         "is for `document: verification` only"),
        ((verification(verifier="a.b"),), "deliver[1].verifier", ""),
        ((verification(verifier="Shop"),), "deliver[1].verifier", ""),
        ((verification(verifier="shop-"),), "deliver[1].verifier", ""),
        ((verification(verifier="../x"),), "deliver[1].verifier", ""),
        ((verification(verifier="x" * 64),), "deliver[1].verifier", ""),
    ],
)  # fmt: skip
def test_faults(tmp_path: Path, deliver: tuple[dict[str, str], ...], at: str, said: str) -> None:
    """At their own key: an address given twice, a signer's document, a name that some store could not hold."""
    with pytest.raises(InvalidSettings) as caught:
        load_settings(configured(tmp_path, *deliver).config, {})
    found = {dotted(fault.path): fault.text for fault in caught.value.faults}
    assert said in found[f"key_sets.web.{at}"], found
