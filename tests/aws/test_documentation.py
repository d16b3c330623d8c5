"""The commands of docs/stores/aws.md, run as they stand there against the test server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.servers.moto import AwsServer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "stores" / "aws.md"


def commands(name: str) -> list[str]:
    """Return the commands of one block."""
    block = re.search(rf"<!-- run: {name} -->\n```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    return [line.removeprefix("$ ") for line in block[1].splitlines() if line.startswith("$ ")]


def run(script: list[str], home: Path) -> str:
    """Run commands in a shell, each of which must succeed; return what they print."""
    programs = {
        "pip": "",
        "aws": "",  # the AWS CLI is no dependency of the tests
        "rotator": f'exec {sys.executable} -P -m rotator "$@"',
    }
    folder = home / "bin"
    folder.mkdir(exist_ok=True)
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(script)],
        cwd=home,
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_from_nothing_to_a_rotating_key(server: AwsServer, tmp_path: Path) -> None:
    """At most five commands from nothing to a key; then the policy of an identity of its own."""
    first = commands("first")
    assert len(first) <= 5
    printed = run(first, tmp_path)
    assert "no fault found" in printed
    assert "web: current " in printed
    assert ("CreateSecret", "rotator/web/ring") in server.calls()
    run(commands("policy"), tmp_path)
    statements = json.loads((tmp_path / "policy.json").read_text())["Statement"]
    assert statements[0]["Sid"] == "Ring"
