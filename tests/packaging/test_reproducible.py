"""A wheel is its sources and nothing else: built elsewhere, later, by another user's habits, it is the same bytes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.environment import ROOT, Built

pytestmark = pytest.mark.timeout(900)  # seconds; environments are made, of what is downloaded
SOURCES = ("rotator", "backends")
FILES = ("pyproject.toml", "README.md", "LICENSE")


def test_a_wheel_built_twice_is_bit_identical(built: Built, tmp_path: Path) -> None:
    """Once by way of the sdist, once from a copy with other dates and modes, in another time zone and order of hashes."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in SOURCES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copyfile(ROOT / name, copy / name)
    for path in copy.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o700 if path.is_dir() else 0o600)
    environ = {name: text for name, text in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path],
        cwd=copy,
        env={**environ, "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "4", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        umask=0o077,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    (again,) = tmp_path.glob("*.whl")
    assert again.name == built.wheel.name
    assert _sha256(again) == _sha256(built.wheel)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
