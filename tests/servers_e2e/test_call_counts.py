"""What a key set costs in calls, on each backend, counted on the wire: what docs/cost.md says, and no more."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

import rotator_vault.identity
from tests.servers import running
from tests.servers.counting import Calls, Counted
from tests.servers.vault import VaultServer

ROOT: Final = Path(__file__).resolve().parents[2]
HOUR: Final = timedelta(hours=1)
TARGETS: Final = 2  # signing document and JWKS
FLEET: Final = 1000


@dataclass(frozen=True)
class Said:
    """One row of docs/cost.md: calls for one read, a login, and at most for a key's life, documents in files or in the store."""

    read: int
    login: int
    in_files: int
    in_store: int


def said() -> dict[str, Said]:
    """The table of the page, by backend."""
    page = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|", page, re.MULTILINE)
    return {backend: Said(*map(int, numbers)) for backend, *numbers in rows}


def as_said(life: Calls, most: int) -> bool:
    """True when a key's life costs no more than the page says, and the page is not far above it."""
    return most * 3 // 4 <= life.total <= most


@pytest.fixture(params=["aws", "conjur", "vault"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend of a server elsewhere in turn."""
    return str(request.param)


@contextmanager
def counted(backend: str, path: Path, **more: Any) -> Iterator[Counted]:
    """One key set in an empty place of its server."""
    made = Counted(backend, path, **more)
    try:
        yield made
    finally:
        made.close()


def test_the_page_forgets_none() -> None:
    """Every backend that talks to a server has its row."""
    assert set(said()) == {"aws", "conjur", "vault"}


def test_documents_in_the_store(backend: str, tmp_path: Path) -> None:
    """Nothing due: one read for the ring and one per target. A key's life, and an idle hour of a daemon: as said."""
    row = said()[backend]
    with counted(backend, tmp_path) as one:
        with one.process() as assembly:
            one.first_run(assembly.site("orders"))
        one.calls()
        with one.process() as assembly:
            site = assembly.site("orders")
            outcome = one.rest(site)
            nothing_due = one.calls()
            assert nothing_due.writes == 0
            assert nothing_due.reads == row.read * (1 + TARGETS)
            assert nothing_due.logins == row.login
            outcome = one.rotate_once(site, outcome)
            one.calls()
            one.rotate_once(
                site, outcome
            )  # from one key in use to the next: each date of a life once
            life = one.calls()
            assert life.logins == 0
            assert as_said(life, row.in_store), life
        with one.process() as assembly:
            ticks = one.idle(assembly, HOUR)
            idle = one.calls()
            assert 12 <= ticks <= 16, (
                "each resync of five minutes, jittered downwards, and the start"
            )
            assert (idle.reads, idle.writes) == (ticks * row.read * (1 + TARGETS), 0)
            assert idle.logins == row.login


def test_documents_in_files(backend: str, tmp_path: Path) -> None:
    """What lies elsewhere costs no call: nothing due is one read."""
    row = said()[backend]
    with counted(backend, tmp_path, documents=False) as one:
        with one.process() as assembly:
            one.first_run(assembly.site("orders"))
        one.calls()
        with one.process() as assembly:
            site = assembly.site("orders")
            outcome = one.rest(site)
            nothing_due = one.calls()
            assert (nothing_due.reads, nothing_due.writes) == (row.read, 0)
            assert nothing_due.logins == row.login
            outcome = one.rotate_once(site, outcome)
            one.calls()
            one.rotate_once(site, outcome)
            life = one.calls()
            assert as_said(life, row.in_files), life


def test_a_thousand_key_sets_cost_one_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes first logs in, the others wait for that, and all share its connections."""
    monkeypatch.setattr(rotator_vault.identity, "_GOODBYE", 60.0)  # seconds; it is counted here
    server = running("vault")
    assert isinstance(server, VaultServer)
    names = [f"tenant-{number:04}" for number in range(FLEET)]
    with counted(
        "vault", tmp_path, names=names, options={"auth": approle(server, tmp_path)}
    ) as all_of:
        with all_of.process() as assembly:
            rings = [assembly.site(name).rings for name in names]
            start = threading.Barrier(8)

            def load(worker: int) -> None:
                start.wait()
                for ring in rings[worker::8]:
                    assert ring.load() is None

            with ThreadPoolExecutor(8) as pool:
                list(pool.map(load, range(8)))
        calls = all_of.calls()
        assert (calls.logins, calls.logouts) == (1, 1)
        assert calls.names["GET data"] == FLEET
        assert calls.writes == 0
        assert all_of.proxy.connections <= 8 + 1


def approle(server: VaultServer, path: Path) -> dict[str, str]:
    """Make a role on the server that may do everything, and return how to log in by it."""
    mount = f"approle-{os.urandom(4).hex()}"
    server.do("POST", f"sys/auth/{mount}", {"type": "approle"})
    everything = 'path "*" { capabilities = ["create", "read", "update", "delete", "list"] }'
    server.do("PUT", f"sys/policies/acl/{mount}", {"policy": everything})
    server.do("POST", f"auth/{mount}/role/fleet", {"token_policies": [mount], "token_ttl": "1h"})
    role = server.do("GET", f"auth/{mount}/role/fleet/role-id")["data"]["role_id"]
    secret = server.do("POST", f"auth/{mount}/role/fleet/secret-id")["data"]["secret_id"]
    file = path / "secret-id"
    file.write_text(secret, encoding="ascii")
    file.chmod(0o600)
    return {"method": "approle", "mount": mount, "role_id": role, "secret_id_file": str(file)}
