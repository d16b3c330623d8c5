"""A key set that only the built-in server of a daemon publishes: what one-shots may do with it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.bench import Bench


def behind_a_server(bench: Bench) -> str:
    """Give a bench a first key, then leave its publication to a server; return the current kid."""
    assert bench.run("rotate").code == 0
    configured = json.loads(bench.config.read_bytes())
    del configured["key_sets"]["web"]["publish"]
    configured["server"] = {"listen": "127.0.0.1:0"}
    bench.config.write_text(json.dumps(configured))
    return str(next(key["kid"] for key in bench.read_ring()["keys"] if key["phase"] == "active"))


def test_it_is_not_rotated_blindly(tmp_path: Path) -> None:
    """Exit 78 with the way out; nothing is changed."""
    bench = Bench(tmp_path)
    behind_a_server(bench)
    before = bench.ring.read_bytes()
    ran = bench.run("rotate")
    assert ran.code == 78
    assert "probes" in ran.err
    assert bench.ring.read_bytes() == before


def test_nothing_delays_a_revocation(tmp_path: Path) -> None:
    """Rule 6: the key is out of the ring and signers have its successor; the daemon does the rest."""
    bench = Bench(tmp_path)
    current = behind_a_server(bench)
    ran = bench.run("revoke", current, "--reason", "leaked", "--yes")
    assert ran.code == 0, ran.err
    assert "rotator run" in ran.out
    phases = {key["kid"]: key["phase"] for key in bench.read_ring()["keys"]}
    assert phases[current] == "revoked"
    assert sorted(phases.values()).count("active") == 1
    assert bench.run("rotate", "--emergency", "--yes").code == 0
