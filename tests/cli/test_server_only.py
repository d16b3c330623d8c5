"""A key set that only the built-in server of a daemon publishes: what one-shots may do with it."""

from __future__ import annotations

import json
from pathlib import Path

from rotator.documents import jwks_document
from rotator.publication.file import FilePublication
from rotator.publication.server import public_file
from rotator.ring_document import read_ring
from rotator.settings import load_settings
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


def test_what_a_daemon_of_this_host_serves_follows_an_order_at_once(tmp_path: Path) -> None:
    """Its server reads the public directory: a revoked key is not served until the daemon's next resync."""
    bench = Bench(tmp_path)
    current = behind_a_server(bench)
    settings = load_settings(bench.config, {})
    served = public_file(settings.public_dir, "web")
    served.parent.mkdir(parents=True)
    publication = FilePublication(served, "web")
    document = jwks_document(
        read_ring(bench.ring.read_bytes(), key_set="web"), settings.key_sets["web"].policy
    )
    publication.write(document, replacing=None)
    assert current in served.read_text()
    assert bench.run("revoke", current, "--reason", "leaked", "--yes").code == 0
    assert current not in served.read_text()
    assert json.loads(served.read_text())["keys"]
