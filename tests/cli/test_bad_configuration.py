"""Bad configurations: each refused with 78, at its place, by every command; nothing is touched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.bench import Bench
from tests.cli.forge import Forge, ready, refused


@dataclass(frozen=True)
class Case:
    """One bad configuration: its text, and what the refusal must say."""

    name: str
    text: str | bytes
    said: tuple[str, ...]


GOOD = """\
version: 1
stores: {local: {backend: file, path: store}}
key_sets:
  web:
    algorithm: ES256
    policy: {token_ttl: 15m, signer_lag: 5m}
    deliver: [{to: files, path: signing/web}]
    publish: [{to: file, path: jwks/web/jwks.json}]
"""
SECOND = """\
  api:
    algorithm: ES256
    policy: {token_ttl: 15m, signer_lag: 5m}
    deliver: [{to: files, path: signing/api}]
    publish: [{to: file, path: jwks/web/jwks.json}]
"""

CONFIGURATIONS = (
    Case("empty", "", ("empty",)),
    Case("truncated", GOOD[:-20], ("bad.yaml",)),
    Case("binary", bytes(range(256)), ("bad.yaml",)),
    Case("10 MB", GOOD + "# " + "x" * 10_000_000, ("bad.yaml",)),
    Case("deeply nested", "a: " + "[" * 5000, ("bad.yaml",)),
    Case("unknown key", GOOD.replace("algorithm", "algorithmus"), ("bad.yaml:5", "algorithm`?")),
    Case("unknown section", "servre: {}\n" + GOOD, ("bad.yaml:1", "server`?")),
    Case("no unit", GOOD.replace("15m", "15"), ("bad.yaml:6", "token_ttl")),
    Case("wrong unit", GOOD.replace("15m", "15 parsecs"), ("bad.yaml:6", "token_ttl")),
    Case("a time of day", GOOD.replace("15m", "12:30"), ("bad.yaml:6", "token_ttl")),
    Case("negative", GOOD.replace("15m", "-15m"), ("bad.yaml:6", "token_ttl")),
    Case("absurd", GOOD.replace("15m", "99999999d"), ("bad.yaml:6", "token_ttl")),
    Case("unsafe", GOOD.replace("5m}", "5m, propagation: 1m}"), ("bad.yaml:6", "7h15m")),
    Case("one address twice", GOOD + SECOND, ("bad.yaml", "jwks/web/jwks.json")),
    Case("unknown algorithm", GOOD.replace("ES256", "RS257"), ("bad.yaml:5", "RS256")),
    Case("unknown store", GOOD.replace("backend: file", "backend: flie"), ("bad.yaml:2",)),
    Case("a key twice", GOOD + GOOD.partition("\n")[2], ("bad.yaml",)),
)


@pytest.mark.parametrize("case", CONFIGURATIONS, ids=lambda case: case.name)
def test_configurations(tmp_path: Path, forge: Forge, case: Case) -> None:
    """Each is refused with 78, by every command, at its place; nothing is touched."""
    bench = ready(forge, tmp_path)
    bad = tmp_path / "bad.yaml"
    bad.write_bytes(case.text if isinstance(case.text, bytes) else case.text.encode())
    before = bench.tree()
    for command in (("rotate",), ("status",), ("config", "validate")):
        refused(forge.run(bench, *command, "-c", str(bad)), 78, *case.said)
    assert bench.tree() == before


def test_all_faults_at_once(tmp_path: Path, forge: Forge) -> None:
    """A configuration with three faults is refused once, with all three."""
    text = GOOD.replace("ES256", "RS257").replace("15m", "15").replace("to: file,", "to: flie,")
    bad = tmp_path / "bad.yaml"
    bad.write_text(text)
    ran = forge.run(Bench(tmp_path), "config", "validate", "-c", str(bad))
    refused(ran, 78, "bad.yaml:5", "bad.yaml:6", "bad.yaml:8")
