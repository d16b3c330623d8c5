"""The beginning of a kid in place of the whole, as logs print it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rotator.cli.kids import whole_kid
from rotator.errors import UsageError
from rotator.ring import Entry, KeyRing
from tests.cli.bench import Bench
from tests.cli.forge import Forge, ready, refused


def ring_of(*kids: str) -> KeyRing:
    """Return a ring whose history names these kids."""
    at = datetime(2030, 1, 1, tzinfo=UTC)
    return KeyRing("web", history=tuple(Entry(at, "key.retired", kid) for kid in kids))


def test_what_is_meant() -> None:
    """All of a kid always is; a beginning when there is only one, with the `…` of logs or without."""
    ring = ring_of("abcdefgh1", "abcdefgh12", "ODbe_Dvx77", "k1", "")
    assert whole_kid(ring, "abcdefgh1") == "abcdefgh1"
    assert whole_kid(ring, "k1") == "k1"
    assert whole_kid(ring, "ODbe_D") == "ODbe_Dvx77"
    assert whole_kid(ring, "ODbe_Dvx…") == "ODbe_Dvx77"
    assert whole_kid(ring, "of-another") == "of-another"
    assert whole_kid(ring, "…") == "…"
    with pytest.raises(UsageError, match="beginning of 2 keys") as ambiguous:
        whole_kid(ring, "abcdefgh…")
    assert "abcdefgh1, abcdefgh12" in ambiguous.value.hint
    with pytest.raises(UsageError, match="too little") as short:
        whole_kid(ring, "ODbe_")
    assert "ODbe_Dvx77" in short.value.hint


def kids_in(bench: Bench) -> dict[str, str]:
    """Return the kids of a ring by phase."""
    return {key["phase"]: key["kid"] for key in bench.read_ring()["keys"]}


def test_commands_take_a_beginning(tmp_path: Path, forge: Forge) -> None:
    """And write, show and report the whole kid."""
    bench = ready(forge, tmp_path)
    kids = kids_in(bench)
    current, standby = kids["active"], kids["pending"]
    ran = forge.run(bench, "pin", "--", current[:8])
    assert (ran.code, f"{current} stays published" in ran.words) == (0, True), ran
    assert list(bench.read_ring()["pins"]) == [current]
    assert forge.run(bench, "unpin", f"{current[:8]}…").code == 0
    assert not bench.read_ring().get("pins")
    ran = forge.run(bench, "rotate", f"--now={current[:6]}")
    assert (ran.code, f"{current} is replaced" in ran.words) == (0, True), ran
    ran = forge.run(bench, "history", f"--kid={standby[:7]}")
    assert (ran.code, standby in ran.out, current not in ran.out) == (0, True, True), ran
    refused(forge.run(bench, "history", "--kid=nothing"), 2, "no key 'nothing' in the history")
    refused(forge.run(bench, "pin", "nothing"), 2, "is not known", current, standby)
    refused(forge.run(bench, "pin", "-xyzxyz"), 2, "-xyzxyz is no option", "`-- -xyzxyz`")
    refused(forge.run(bench, "revoke", "--reason=x", "--", current[:3]), 2, "too little", current)
    # The current key by its beginning is the current key: it is asked for.
    ran = forge.run(bench, "revoke", "--reason=leaked", "--", current[:8])
    assert ran.code == 2, ran
    ran = forge.run(bench, "revoke", "--reason=leaked", "--yes", "--json", "--", current[:8])
    assert ran.code == 0, ran
    (revoked,) = ran.json["key_sets"][0]["report"]["revoked"]
    assert revoked["kid"] == current
    assert json.loads(bench.signing.read_bytes())["kid"] != current
