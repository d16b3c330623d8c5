"""docs/running/systemd.md on a real systemd: its commands as they stand there, and what the page says of them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.campaign.processes import until
from tests.systemd.machine import Machine, booted
from tests.systemd.units import CONFIGURED, ROOT

PAGES = ROOT / "docs" / "running"
PAGE = (PAGES / "systemd.md").read_text()
GET = "/opt/python/bin/python3 -c 'import urllib.request as r; r.urlopen(\"http://127.0.0.1:8080/%s\", timeout=30).read()'"


def block(name: str, page: str = PAGE) -> list[str]:
    """The commands of one block of a page."""
    found = re.search(rf"<!-- run: {name} -->\n```console\n(.*?)```", page, re.DOTALL)
    assert found is not None
    return [line.removeprefix("# ") for line in found[1].splitlines()]


def shown(machine: Machine, *properties: str) -> dict[str, str]:
    """Properties of rotator.service."""
    wanted = ",".join(properties)
    said = machine.do(f"systemctl show --property={wanted} rotator.service")
    return dict(line.split("=", 1) for line in said.splitlines())


def test_the_page_as_typed(tmp_path: Path) -> None:
    """Installed, rotating in its sandbox, reloaded, killed, misconfigured, by timer and by socket."""
    configuration = re.search(r"<!-- configuration: local -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert configuration is not None
    with booted(tmp_path / "machine") as machine:
        machine.write(CONFIGURED, configuration[1])
        machine.do(*block("local"))
        # A system call that the unit refuses ends the process: there must be none.
        machine.write(
            "etc/systemd/system/rotator.service.d/strict.conf",
            "[Service]\nSystemCallErrorNumber=kill\n",
        )
        assert "active (running)" in machine.do(*block("service"))
        until((machine.root / "srv/rotator/web/signing.json").exists)
        machine.do(GET % "web/jwks.json")
        mode = machine.do("stat -L -c '%a %U %G' /srv/rotator/web/signing.json")
        assert mode == "640 rotator issuer\n"
        assert "held since" in machine.do(*block("orders")[:2])
        machine.do(*block("orders")[2:])

        machine.do("systemctl reload rotator.service")
        machine.write(CONFIGURED, "{")
        assert machine.run("systemctl reload rotator.service").returncode != 0
        assert shown(machine, "ActiveState", "NRestarts") == {
            "ActiveState": "active",
            "NRestarts": "0",
        }
        machine.do("systemctl stop rotator.service")
        assert shown(machine, "ActiveState", "Result") == {
            "ActiveState": "inactive",
            "Result": "success",
        }
        assert machine.run("systemctl start rotator.service").returncode != 0
        failed = {"ActiveState": "failed", "ExecMainStatus": "78", "NRestarts": "0"}
        assert shown(machine, *failed) == failed
        machine.write(CONFIGURED, configuration[1])

        assert "rotator-rotate.timer" in machine.do(*block("timer"))
        log = machine.do("journalctl --no-pager -o cat -u rotator.service")
        assert "server.died" not in log
        # The daemon looks at its file by itself, too, and may have met the broken one.
        errors = [line for line in log.splitlines() if '"level": "error"' in line]
        assert not [line for line in errors if '"config.refused"' not in line], errors
        assert "server.started" in log
        machine.do("systemctl start rotator.socket || true", *block("socket"))
        machine.do(GET % ".well-known/jwks.json")


def test_a_dynamic_user_and_its_credential(tmp_path: Path) -> None:
    """Read by the service's user alone, at the path that the drop-in's variable has."""
    with booted(tmp_path / "machine") as machine:
        machine.write(
            "etc/systemd/system/credential.service",
            (ROOT / "deploy/systemd/rotator-rotate.service")
            .read_text()
            .replace(
                "ExecStart=",
                "ExecStart=/bin/sh -c 'cat $$ROTATOR__STORES__MAIN__AUTH__SECRET_ID_FILE; id -un; touch $$STATE_DIRECTORY/x'\n#",
            )
            .replace("StandardOutput=null", "StandardOutput=file:/run/said"),
        )
        machine.write("etc/rotator/secret-id", "the-secret\n")
        machine.do(
            "chmod 600 /etc/rotator/secret-id",
            "install -D deploy/systemd/drop-ins/credentials.conf /etc/systemd/system/credential.service.d/c.conf",
            "systemctl daemon-reload",
            "systemctl start credential.service",
        )
        assert machine.do("cat /run/said") == "the-secret\nrotator\n"
        assert machine.do("stat -c %a /var/lib/private/rotator") == "750\n"


def test_the_page_of_cron_as_typed(tmp_path: Path) -> None:
    """A user that owns its store, and the table where cron reads it."""
    files = "deliver: [{to: files, path: /var/lib/rotator/signing}]"
    policy = "policy: {token_ttl: 15m, signer_lag: 5m}"
    configuration = f"""
version: 1
stores: {{local: {{backend: file, path: /var/lib/rotator/keys}}}}
key_sets:
  web: {{algorithm: ES256, {policy}, {files}, publish: [{{to: file, path: /var/lib/rotator/jwks.json}}]}}
"""
    with booted(tmp_path / "machine") as machine:
        (machine.root / "etc/cron.d").mkdir(exist_ok=True)
        machine.write(CONFIGURED, configuration)
        machine.do(*block("cron", (PAGES / "cron.md").read_text()))
        assert machine.do("stat -c '%a %U' /etc/cron.d/rotator") == "644 root\n"
