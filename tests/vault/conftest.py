"""The real Vault, one per test process, and a place of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.servers import running
from tests.servers.vault import VaultServer
from tests.vault.bench import Bench


@pytest.fixture
def vault() -> VaultServer:
    """The server, started once."""
    return cast("VaultServer", running("vault"))


@pytest.fixture
def bench(vault: VaultServer, tmp_path: Path) -> Iterator[Bench]:
    """A place in which nothing is stored yet."""
    bench = Bench(vault, tmp_path)
    yield bench
    for store in bench.opened:
        store.close()
