"""The commands of docs/stores/vault.md, run as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from rotator.inspection import Role
from rotator_vault.policies import render
from tests.servers.vault import VaultServer, binary, start

PAGE = Path(__file__).resolve().parents[2] / "docs" / "stores" / "vault.md"


def commands(name: str) -> list[str]:
    """The commands of one block."""
    block = re.search(rf"<!-- run: {name} -->\n```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    return [line.removeprefix("$ ") for line in block[1].splitlines() if line.startswith("$ ")]


def run(script: list[str], home: Path, server: VaultServer, **more: str) -> str:
    """Run commands in a shell, each of which must succeed; return what they print."""
    folder = home / "bin"
    folder.mkdir(exist_ok=True)
    if not (folder / "vault").exists():
        (folder / "vault").symlink_to(binary())
        (folder / "pip").write_text("#!/bin/sh\n")
        (folder / "rotator").write_text(f'#!/bin/sh\nexec {sys.executable} -P -m rotator "$@"\n')
        (folder / "pip").chmod(0o755)
        (folder / "rotator").chmod(0o755)
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(script)],
        cwd=home,
        env={
            "PATH": f"{folder}:{os.environ['PATH']}",
            "HOME": str(home),
            "VAULT_ADDR": server.url,
            **more,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_from_nothing_to_a_rotating_key(tmp_path: Path) -> None:
    """At most five commands; then a login of its own, and the token is not needed any more."""
    first = commands("first")
    assert len(first) <= 5
    home = tmp_path / "home"
    home.mkdir()
    server = start()
    try:
        printed = run(first, home, server, VAULT_TOKEN=server.token)
        assert "root token" in printed
        assert "web: current " in printed
        run(commands("approle"), home, server, VAULT_TOKEN=server.token)
        text = (home / "rotator.yaml").read_text()
        changed = text.replace(
            "auth: {method: token, token_env: VAULT_TOKEN}",
            "auth: {method: approle, role_id_file: role-id, secret_id_file: secret-id}",
        )
        assert changed != text
        (home / "rotator.yaml").write_text(changed)
        printed = run(["rotator check", "rotator rotate"], home, server)
        assert "policies default, rotator" in printed
        assert "web: current " in printed
    finally:
        server.stop()
    shutil.rmtree(home)


def test_the_table_of_policies() -> None:
    """Material is created and never updated, as the page says."""
    policy = render(Role.ROTATOR, (), "secret", "rotator")
    assert re.search(
        r'path "secret/data/rotator/\+/material/\*" \{\n  capabilities = \["create", "read"\]',
        policy,
    )
