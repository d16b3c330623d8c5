"""deploy/cron/rotator as cron runs it: /bin/sh, next to no environment, and whatever is printed is a mail."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.campaign.processes import configure, key_set
from tests.systemd import units

TABLE = units.ROOT / "deploy" / "cron" / "rotator"


@dataclass(frozen=True, slots=True)
class Job:
    """The one job of the table, and the variables that it sets (crontab(5))."""

    when: str
    user: str
    command: str
    variables: dict[str, str]


def job() -> Job:
    """Read the table as cron does: a bare `%` would be a line break, `\\%` is one."""
    lines = [line for line in TABLE.read_text().splitlines() if line and line[0] != "#"]
    variables = dict(line.split("=", 1) for line in lines[:-1])
    *when, user, command = lines[-1].split(None, 6)
    assert re.search(r"(?<!\\)%", command) is None
    return Job(" ".join(when), user, command.replace("\\%", "%"), variables)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration of one key set, and `rotator` on the job's PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "rotator").write_text(f'#!/bin/sh\nexec {sys.executable} -P -m rotator "$@"\n')
    (folder / "rotator").chmod(0o755)
    made = key_set(tmp_path, "web", "EdDSA")
    made["policy"] = {"token_ttl": "15m", "signer_lag": "5m"}
    return configure(tmp_path, {"web": made})


def run(config: Path) -> tuple[int, str]:
    """Run the job once; return its exit code and the mail's text."""
    found = job()
    assert found.command.count(units.CONFIGURED) == 1
    ran = subprocess.run(
        ["/bin/sh", "-c", found.command.replace(units.CONFIGURED, str(config))],
        env={
            **found.variables,
            "PATH": found.variables["PATH"].replace("/usr/local/bin", str(config.parent / "bin")),
            "HOME": "/",
            "LOGNAME": found.user,
        },
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout


def test_when_it_runs() -> None:
    """At the interval that `resync` promises, by /bin/sh, as nobody who may do more."""
    found = job()
    assert (found.when, found.user) == ("*/5 * * * *", "rotator")
    assert found.variables["SHELL"] == "/bin/sh"
    page = (units.ROOT / "docs" / "running" / "cron.md").read_text()
    assert f"```cron\n{TABLE.read_text().splitlines()[-1]}\n```" in page
    assert TABLE.name.isalnum()  # run-parts(8) names; cron reads no other


def test_a_mail_on_failure_only(config: Path) -> None:
    """Silent when keys are made and when nothing is due; else what, the hint, and the code, which is the job's own."""
    home = config.parent
    assert run(config) == (0, "")
    assert run(config) == (0, "")
    ring, store = home / "store" / "web" / "ring.json", home / "store" / "web"

    good = ring.read_bytes()
    ring.write_text("torn")
    _mailed(run(config), 65, "cannot be trusted")
    ring.write_bytes(good)

    store.chmod(0o755)
    _mailed(run(config), 77, "others than its owner may use it")
    store.chmod(0o700)

    (home / "signing").rename(home / "away")
    _mailed(run(config), 75, "files:")
    (home / "away").rename(home / "signing")

    text = config.read_text()
    config.write_text("{")
    _mailed(run(config), 78, "rotator.json")
    config.write_text(text.replace('"backend": "file"', '"backend": "file", "create": false'))
    (home / "store").rename(home / "unmounted")
    _mailed(run(config), 69, str(home / "store"))


def test_no_program_is_a_mail_too(config: Path) -> None:
    """An upgrade that went wrong."""
    (config.parent / "bin" / "rotator").unlink()
    code, mail = run(config)
    assert code == 127
    assert "not found" in mail
    assert "exit code 127" in mail


def _mailed(ran: tuple[int, str], code: int, words: str) -> None:
    assert ran[0] == code, ran
    lines = ran[1].splitlines()
    assert words in ran[1]
    assert sum(line.startswith("rotator: error: ") for line in lines) == 1, ran
    assert sum(line.startswith("rotator: hint: ") for line in lines) <= 1, ran
    assert lines[-1] == f"rotator rotate ended with exit code {code} (docs/exit-codes.md)"
    assert "Traceback" not in ran[1]
