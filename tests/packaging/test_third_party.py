"""A backend of somebody else's: the example of docs/writing-a-backend.md, built, installed, held to the contract, used."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.packaging.environment import (
    ROOT,
    Built,
    Installed,
    environment,
    locked,
    must,
)

pytestmark = pytest.mark.timeout(900)  # seconds; environments are made, of what is downloaded
EXAMPLE = ROOT / "docs" / "example-backend"
DOCUMENT = ROOT / "docs" / "writing-a-backend.md"
CONFIGURATION = """\
version: 1
stores:
  keys: {backend: sqlite, path: keys.db}
key_sets:
  orders:
    algorithm: ES256
    store: keys
    policy: {token_ttl: 15m, signer_lag: 5m}
    deliver: [{to: files, path: signing}, {to: store, store: keys}]
    publish: [{to: file, path: jwks.json}]
"""


def sources() -> dict[str, str]:
    """The files of the example by their path."""
    return {
        path.relative_to(EXAMPLE).as_posix(): path.read_text(encoding="utf-8")
        for path in EXAMPLE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def third_party(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An environment with both wheels, and pytest for the contract."""
    scratch = tmp_path_factory.mktemp("third-party")
    source = shutil.copytree(EXAMPLE, scratch / "source")
    must(sys.executable, "-P", "-m", "build", "--no-isolation", "--wheel", source)
    (wheel,) = (source / "dist").glob("*.whl")
    made = environment(scratch / "venv", built)
    pins = scratch / "pytest.txt"
    pins.write_text(locked("pytest", "iniconfig", "packaging", "pluggy", "pygments"))
    made.pip("install", "--require-hashes", "-r", pins)
    made.pip("install", "--no-index", "--no-deps", wheel)
    made.pip("check")
    return made


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a configuration that keeps its keys in an empty SQLite file."""
    (tmp_path / "rotator.yaml").write_text(CONFIGURATION)
    (tmp_path / "keys.db").touch(mode=0o600)
    return tmp_path


def test_the_document_shows_what_is_tested() -> None:
    """Code in the page and code in the package are the same text, and short."""
    page = DOCUMENT.read_text(encoding="utf-8")
    shown = dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))
    assert shown == sources()
    assert sum(len(text.splitlines()) for text in shown.values()) < 150


def test_the_example_imports_nothing_but_the_plug() -> None:
    """Nobody outside should ever need more of `rotator` than `rotator.plugin`."""
    module = ast.parse(sources()["rotator_sqlite/__init__.py"])
    imported: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            imported |= below if node.module == "rotator" else {node.module}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    assert {name for name in imported if name.startswith("rotator")} == {"rotator.plugin"}


def test_it_passes_the_shipped_contract(third_party: Installed, tmp_path: Path) -> None:
    """Run as its author would: pytest, in the environment in which it is installed."""
    tests = shutil.copytree(EXAMPLE / "tests", tmp_path / "tests")
    done = third_party.run("python", "-P", "-m", "pytest", "-q", "-rs", tests, cwd=tmp_path)
    found = re.search(r"^(\d+) passed in", done.stdout, re.MULTILINE)
    assert found, done.stdout
    assert int(found[1]) > 40


def test_it_rotates(third_party: Installed, place: Path) -> None:
    """Check, policy, first run, status, and a rotation that the operator asked for, with the real command."""
    checked = third_party.run("rotator", "check", cwd=place).stdout
    assert "store keys: it answers; rings found: none" in checked
    policy = third_party.run("rotator", "policy", "keys", "--role", "rotator", cwd=place).stdout
    assert "install -m 0600 -o rotator" in policy
    third_party.run("rotator", "rotate", cwd=place)
    first = json.loads((place / "signing" / "signing.json").read_text())["kid"]
    third_party.run("rotator", "rotate", "--emergency", "--yes", cwd=place)
    second = json.loads((place / "signing" / "signing.json").read_text())["kid"]
    published = {key["kid"] for key in json.loads((place / "jwks.json").read_text())["keys"]}
    assert second != first
    assert second in published
    assert first not in published
    third_party.run("rotator", "status", "--live", cwd=place)
    with sqlite3.connect(place / "keys.db") as base:
        names = {name.split(":")[0] for (name,) in base.execute("SELECT name FROM kept")}
        (document,) = base.execute("SELECT body FROM kept WHERE name = 'orders/signing'").fetchone()
        owners = [kid for (kid,) in base.execute("SELECT owner FROM kept WHERE name LIKE 'mat%'")]
    assert names == {"ring", "material", "orders/signing"}
    assert json.loads(document)["kid"] == second
    assert first not in owners, "its material is destroyed"
    assert second in owners


def test_a_file_that_vanished_is_no_first_run(third_party: Installed, place: Path) -> None:
    """No answer is never "nothing": nothing is minted, and the exit code is that of a store that is down."""
    third_party.run("rotator", "rotate", cwd=place)
    before = (place / "jwks.json").read_bytes()
    (place / "keys.db").unlink()
    done = third_party.run("rotator", "rotate", cwd=place, expect=(69,))
    assert "mount it, or make an empty file" in done.stderr
    assert not (place / "keys.db").exists()
    (place / "keys.db").touch()
    third_party.run("rotator", "rotate", cwd=place, expect=(65,))
    assert (place / "jwks.json").read_bytes() == before
