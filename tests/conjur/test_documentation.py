"""The commands of docs/stores/conjur.md, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conjur.places import Ground
from tests.servers import free_port

PAGE = Path(__file__).resolve().parents[2] / "docs" / "stores" / "conjur.md"

CONJUR = f"""#!/bin/sh
# Conjur's own command is not here; loading policy is all that is asked of it.
exec {sys.executable} -P -c '
import asyncio, os, sys
from conjur_api import Client
from conjur_api.models import ConjurConnectionInfo, CredentialsData
from conjur_api.providers import AuthnAuthenticationStrategy, SimpleCredentialsProvider
assert sys.argv[1:-1] == ["policy", "load", "-b", "root", "-f"], sys.argv
url = os.environ["ROTATOR__STORES__CONJUR__URL"]
provider = SimpleCredentialsProvider()
provider.save(CredentialsData(machine=url, username="admin", api_key=os.environ["ADMIN_KEY"]))
account = os.environ["ROTATOR__STORES__CONJUR__ACCOUNT"]
client = Client(
    ConjurConnectionInfo(conjur_url=url, account=account),
    authn_strategy=AuthnAuthenticationStrategy(provider),
)
asyncio.run(client.load_policy_file("root", sys.argv[-1]))
' "$@"
"""


def commands(name: str) -> list[str]:
    """The commands of one block."""
    block = re.search(rf"<!-- run: {name} -->\n```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    lines = [line.removeprefix("$ ") for line in block[1].splitlines() if line.startswith("$ ")]
    return [
        re.sub("^(rotator init .*)", r"\1 --algorithm ES256", line) for line in lines
    ]  # quicker


def run(script: list[str], home: Path, **environment: str) -> str:
    """Run commands in a shell, each of which must succeed; return what they print."""
    folder = home / "bin"
    folder.mkdir()
    programs = {
        "pip": "#!/bin/sh\n",
        "rotator": f'#!/bin/sh\nexec {sys.executable} -P -m rotator "$@"\n',
        "python": f'#!/bin/sh\nexec {sys.executable} -P "$@"\n',
        "conjur": CONJUR,
    }
    for name, text in programs.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(script)],
        cwd=home,
        env={"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_from_nothing_to_a_rotating_key(conjur: Ground, tmp_path: Path) -> None:
    """At most five commands, on a server that knows nothing but the host."""
    home = tmp_path / "home"
    home.mkdir()
    script = commands("first")
    assert len(script) <= 5
    conjur.server.load_policy("- !delete {record: !policy rotator}\n")
    printed = run(
        script,
        home,
        CONJUR_AUTHN_API_KEY=(tmp_path / "rotator.key").read_text(encoding="ascii"),
        ROTATOR__STORES__CONJUR__URL=conjur.server.url,
        ROTATOR__STORES__CONJUR__ACCOUNT="dev",
        ADMIN_KEY=conjur.server.admin_key,
    )
    assert "logs in as host/rotator by api-key" in printed
    assert "web: current " in printed


def test_trying_it_without_a_conjur(tmp_path: Path) -> None:
    """With the server of the tests in place of one's own."""
    home = tmp_path / "home"
    home.mkdir()
    port = str(free_port())
    first = commands("first")
    trial = [line.replace("8080", port) for line in commands("trial")]
    # Its output goes where the shell's does: without this the run would wait for the server's end.
    trial[2] = trial[2].replace(" &", " > log 2>&1 &")
    wait = f"until (echo > /dev/tcp/127.0.0.1/{port}) 2> /dev/null; do :; done"
    printed = run([trial[0], first[1], *trial[1:], wait, *first[3:], "kill $!"], home)
    assert "web: current " in printed
