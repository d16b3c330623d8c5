"""What the repository promises about itself: its locks, its import lists, its pure modules."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("runtime", "all", "build", "dev")

# In two halves, so that this file does not find itself.
INDEX_HOSTS = tuple(
    name + domain
    for name, domain in (
        ("py", "pi.org"),
        ("py", "pi.python.org"),
        ("python", "hosted.org"),
        ("registry.npm", "js.org"),
        ("registry.yarn", "pkg.com"),
        ("crates", ".io"),
        ("ruby", "gems.org"),
        ("proxy.go", "lang.org"),
        ("maven", ".apache.org"),
        ("repo1.", "maven.org"),
        ("deb.", "debian.org"),
    )
)

PURE = (
    "algorithms",
    "clock",
    "errors",
    "evidence",
    "jwks",
    "keys",
    "observed",
    "plan",
    "policy",
    "ring",
    "ring_document",
    "ring_moved",
    "ring_reader",
    "transitions",
    "situation",
    "window_contract",
    "windows",
)
INPUT_OUTPUT_CLOCK = frozenset(
    {
        *("asyncio", "click", "http", "io", "logging", "os", "pathlib", "shutil", "socket"),
        *("structlog", "subprocess", "tempfile", "threading", "time", "urllib", "urllib3"),
    }
)
RANDOMNESS = frozenset({"random", "secrets"})
IMPURE_CALLS = frozenset({"input", "now", "open", "print", "today", "utcnow"})


def tracked_files() -> list[Path]:
    """Every file that git tracks and that still exists in the work tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def backend_packages() -> list[str]:
    """The import packages that lie in backends/."""
    return sorted(path.parent.name for path in (ROOT / "backends").glob("*/__init__.py"))


def pyproject() -> dict[str, Any]:
    """The project file, parsed."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def lock(name: str) -> str:
    """The text of one lock."""
    return (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")


def pins(name: str) -> dict[str, str]:
    """The distributions that one lock installs, with their versions."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock(name), flags=re.MULTILINE))


def test_no_tracked_file_names_a_package_index() -> None:
    """Whoever installs decides where packages come from."""
    needles = [host.encode() for host in INDEX_HOSTS]
    found = {
        f"{path.relative_to(ROOT)}: {needle.decode()}"
        for path in tracked_files()
        for content in (path.read_bytes().lower(),)
        for needle in needles
        if needle in content
    }
    assert found == set()


def test_the_names_of_package_indexes_are_host_names() -> None:
    """Each is a whole name once its halves are put together."""
    assert len(set(INDEX_HOSTS)) == len(INDEX_HOSTS)
    assert all(re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", host) for host in INDEX_HOSTS)


def test_import_linter_knows_every_backend() -> None:
    """A backend that is forgotten in a list would be checked by nobody."""
    backends = backend_packages()
    linter = pyproject()["tool"]["importlinter"]
    contracts = {contract["name"]: contract for contract in linter["contracts"]}

    assert linter["root_packages"] == ["rotator", *backends]
    assert contracts["The program knows no backend"]["forbidden_modules"] == backends
    only_plugin = contracts["A backend imports only rotator.plugin"]
    assert only_plugin["source_modules"] == backends
    assert only_plugin["ignore_imports"] == [
        f"{source} -> rotator.plugin" for name in backends for source in (name, f"{name}.**")
    ]


def test_every_backend_is_an_entry_point_and_typed() -> None:
    """Built-in backends register as anybody else's do, and checkers see into them."""
    points = pyproject()["project"]["entry-points"]["rotator.backends"]
    assert sorted(points.values()) == [f"{name}:backend" for name in backend_packages()]
    for name in backend_packages():
        assert (ROOT / "backends" / name / "py.typed").is_file()


@pytest.mark.parametrize("folder", ["backends", "config"])
def test_folder_is_no_package(folder: str) -> None:
    """A package of so common a name would overwrite somebody else's."""
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("name", LOCKS)
def test_lock_is_hashed_and_names_no_index(name: str) -> None:
    """Each distribution is pinned to one version with its hashes, and no option says where to look."""
    text = lock(name)
    assert not re.search(
        r"^\s*(-i|-f|--\w*index|--find-links|--trusted-host)\b", text, re.MULTILINE
    )
    for requirement in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]:
        assert re.match(r"[a-z0-9-]+==\S+", requirement), requirement.splitlines()[0]
        assert "--hash=sha256:" in requirement, requirement.splitlines()[0]


@pytest.mark.parametrize("name", LOCKS)
def test_lock_has_no_rich(name: str) -> None:
    """Structlog imports rich at every start when it is installed."""
    assert pins(name)
    assert "rich" not in pins(name)


def test_locks_agree() -> None:
    """What is tested is what is shipped."""
    runtime, everything, build, dev = (pins(name).items() for name in LOCKS)
    assert runtime <= everything <= dev
    assert build <= dev


@pytest.mark.parametrize("name", PURE)
def test_pure_module_stays_pure(name: str) -> None:
    """What decides sees the ring, the policy, the time and what was observed, and nothing else."""
    banned = INPUT_OUTPUT_CLOCK if name == "keys" else INPUT_OUTPUT_CLOCK | RANDOMNESS
    source = (ROOT / "rotator" / f"{name}.py").read_text(encoding="utf-8")
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found |= {alias.name.partition(".")[0] for alias in names} & banned
            case ast.ImportFrom(module=str(module)):
                found |= {module.partition(".")[0]} & banned
            case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called)):
                found |= {called} & IMPURE_CALLS
            case _:
                pass
    assert found == set()
