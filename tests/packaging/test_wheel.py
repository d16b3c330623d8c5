"""What is shipped: the wheel and the sdist, and the command in an environment made from nothing but the wheel."""

from __future__ import annotations

import json
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from tests.packaging.environment import ROOT, Built, Installed

pytestmark = pytest.mark.timeout(900)  # seconds; environments are made, of what is downloaded
PACKAGES = {"rotator"} | {path.parent.name for path in (ROOT / "backends").glob("*/__init__.py")}

# Loaded late or by an extra only: none of them belongs to a `rotate` that has nothing to do.
LATE = {
    *("aiohttp", "apscheduler", "boto3", "botocore", "conjur_api", "granian", "hvac", "joserfc"),
    "prometheus_client",
}
EXTRAS = {"aiohttp", "boto3", "botocore", "conjur_api", "hvac"}

NOTHING_CHANGED, SOMETHING_CHANGED = 0, 3


@pytest.fixture
def settled(installed: Installed, tmp_path: Path) -> Path:
    """A directory with a configuration from `init`, rotated until nothing is due."""
    installed.run("rotator", "init", "--token-ttl", "15m", "--signer-lag", "5m", cwd=tmp_path)
    for _ in range(5):
        done = installed.run(
            *("rotator", "rotate", "--detailed-exitcode"),
            cwd=tmp_path,
            expect=(NOTHING_CHANGED, SOMETHING_CHANGED),
        )
        if done.returncode == NOTHING_CHANGED:
            return tmp_path
    pytest.fail(f"five runs and still something changed\n{done.stdout}\n{done.stderr}")


def wheel_names(built: Built) -> set[PurePosixPath]:
    """The files of the wheel."""
    with zipfile.ZipFile(built.wheel) as archive:
        return {PurePosixPath(name) for name in archive.namelist()}


def test_wheel_brings_its_packages_and_nothing_else(built: Built) -> None:
    """Whatever else lay at the top would lie in everybody's site-packages."""
    names = wheel_names(built)
    version = built.wheel.name.split("-")[1]
    assert {name.parts[0] for name in names} == PACKAGES | {f"jwks_rotator-{version}.dist-info"}
    assert "rotator_file" in PACKAGES
    assert all(len(name.parts) > 1 for name in names), "a file at the top of site-packages"
    assert {str(name.parent) for name in names if name.name == "py.typed"} >= PACKAGES


def test_wheel_carries_every_source_file(built: Built) -> None:
    """Modules, templates and markers of the tree are all in the wheel."""
    sources = [ROOT / "rotator", *(ROOT / "backends" / name for name in PACKAGES - {"rotator"})]
    expected = {
        PurePosixPath(folder.name, *path.relative_to(folder).parts)
        for folder in sources
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    shipped = {name for name in wheel_names(built) if name.parts[0] in PACKAGES}
    assert shipped == expected


def test_wheel_metadata(built: Built) -> None:
    """The command, the backends, the licence and the extras are declared."""
    with zipfile.ZipFile(built.wheel) as archive:
        (info,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        points = archive.read(f"{info}/entry_points.txt").decode()
        metadata = archive.read(f"{info}/METADATA").decode()
        assert f"{info}/licenses/LICENSE" in archive.namelist()
    assert "rotator = rotator.cli:main" in points
    backends = {package.removeprefix("rotator_") for package in PACKAGES - {"rotator"}}
    for name in backends:
        assert f"\n{name} = rotator_{name}:backend\n" in points
    assert "License-Expression: Apache-2.0" in metadata
    for extra in ("all", "aws", "conjur", "vault"):
        assert f"Provides-Extra: {extra}" in metadata


def test_sdist_holds_what_it_takes_to_build_and_test(built: Built) -> None:
    """And nothing that a run leaves behind."""
    with tarfile.open(built.sdist) as archive:
        names = {PurePosixPath(*PurePosixPath(name).parts[1:]) for name in archive.getnames()}
    for needed in (
        "LICENSE",
        "Makefile",
        "backends/rotator_file/__init__.py",
        "pyproject.toml",
        "requirements/runtime.txt",
        "rotator/py.typed",
        "tests/packaging/test_wheel.py",
    ):
        assert PurePosixPath(needed) in names
    tops = {name.parts[0] for name in names if name.parts}
    assert not tops & {".git", ".mypy_cache", ".quickstart", ".venv", "build", "dist"}


def test_environment_is_complete_and_has_no_extra(installed: Installed, tmp_path: Path) -> None:
    """The lock satisfies what the wheel asks for, and no secrets manager's SDK is there."""
    installed.pip("check")
    found = installed.run(
        "python",
        "-c",
        "import importlib.util, json, sys\n"
        "print(json.dumps([name for name in sys.argv[1:] if importlib.util.find_spec(name)]))",
        *sorted(EXTRAS | {"rich", "tests", "backends", "config", "deploy"}),
        cwd=tmp_path,
    )
    assert json.loads(found.stdout) == []


def test_help(installed: Installed, tmp_path: Path) -> None:
    """Help needs no configuration, and fits one screen."""
    shown = installed.run("rotator", "--help", cwd=tmp_path).stdout
    assert "Usage: rotator" in shown
    assert len(shown.splitlines()) <= 50


def test_init_check_rotate_status(installed: Installed, tmp_path: Path) -> None:
    """From nothing to a key in use, with no extra installed."""
    installed.run("rotator", "init", "--token-ttl", "15m", "--signer-lag", "5m", cwd=tmp_path)
    assert (tmp_path / "rotator.yaml").is_file()
    installed.run("rotator", "check", cwd=tmp_path)
    installed.run("rotator", "rotate", cwd=tmp_path)
    assert installed.run("rotator", "status", cwd=tmp_path).stdout.strip()
    shown = json.loads(installed.run("rotator", "status", "--json", cwd=tmp_path).stdout)
    assert shown


def test_rotate_with_nothing_due_loads_only_what_it_needs(
    installed: Installed, settled: Path
) -> None:
    """A CronJob runs this path all day: no scheduler, no server, no JOSE library, no SDK."""
    probe = (
        "import json, pathlib, sys\n"
        "from rotator.cli import execute\n"
        "code = execute(['rotate', '--detailed-exitcode'])\n"
        "loaded = sorted({name.partition('.')[0] for name in sys.modules})\n"
        "pathlib.Path('loaded.json').write_text(json.dumps({'code': code, 'loaded': loaded}))\n"
    )
    installed.run("python", "-P", "-c", probe, cwd=settled)
    seen = json.loads((settled / "loaded.json").read_text(encoding="utf-8"))
    assert seen["code"] in (None, NOTHING_CHANGED)
    assert "rotator" in seen["loaded"]
    assert LATE.isdisjoint(seen["loaded"])


def test_version(installed: Installed, built: Built, tmp_path: Path) -> None:
    """The version is the one of the installed metadata."""
    shown = installed.run(
        "python", "-P", "-c", "import rotator; print(rotator.__version__)", cwd=tmp_path
    )
    assert shown.stdout.strip() == built.wheel.name.split("-")[1]
