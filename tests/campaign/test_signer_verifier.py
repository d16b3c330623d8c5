"""A PyJWT signer and a stale verifier beside a real daemon: a thousand tokens, five rotations, none rejected."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.campaign.processes import (
    HTTP_CACHE,
    Daemon,
    Pair,
    configure,
    ended,
    free_port,
    key_set,
    until,
)

ROTATIONS = 5
TOKENS = 1000
RATE = 28.0  # tokens a second, for each key set


@pytest.mark.slow
def test_no_token_is_rejected(tmp_path: Path) -> None:
    """RS256, ES256 and EdDSA through server and file, HS256 through the verification document."""
    port = free_port()
    sets = {
        "rs": key_set(tmp_path, "rs", "RS256", size=2048),
        "es": key_set(tmp_path, "es", "ES256"),
        "ed": key_set(tmp_path, "ed", "EdDSA"),
        "hs": key_set(tmp_path, "hs", "HS256"),
    }
    sources = {
        "rs": (f"http://127.0.0.1:{port}/rs/jwks.json", HTTP_CACHE),
        "es": (f"http://127.0.0.1:{port}/es/jwks.json", HTTP_CACHE),
        "ed": (str(tmp_path / "public" / "ed.json"), HTTP_CACHE),
        "hs": (str(tmp_path / "verification" / "hs" / "verification.json"), 0),
    }
    daemon = Daemon(configure(tmp_path, sets, port=port))
    pairs: dict[str, Pair] = {}
    with ended(daemon):
        for name in sets:
            daemon.wait_for("key.delivered", key_set=name)
        try:
            for name, (source, cache) in sources.items():
                document = tmp_path / "signing" / name / "signing.json"
                pairs[name] = Pair(document, source, http_cache=cache, rate=RATE)
            for name in sets:
                daemon.wait_for("key.promoted", 1 + ROTATIONS, key_set=name)
            until(lambda: all(pair.tokens >= TOKENS for pair in pairs.values()))
            until(lambda: all(len(pair.kids) > ROTATIONS for pair in pairs.values()))
            found = {name: pair.finish() for name, pair in pairs.items()}
        finally:
            for pair in pairs.values():
                pair.kill()
        assert daemon.end() == 143
    for name, result in found.items():
        sys.stdout.write(
            f"{name}: {pairs[name].tokens} tokens, {result['checks']} checks ({result['late']} late), "
            f"{len(result['kids'])} keys, {len(result['rejected'])} rejected\n"
        )
        assert result["rejected"] == [], name
        # A machine that stands still for some seconds misses the checks of those seconds, all at once.
        assert result["late"] <= result["checks"] / 2, name
        assert result["checks"] >= 2 * TOKENS
        assert len(result["kids"]) > ROTATIONS
    assert not daemon.count("key_set.failing")
    # Nobody is to blame for a machine that stood still for as long as an answer is waited for.
    failing = daemon.err.named("target.failing")
    assert not [event for event in failing if "TimeoutError" not in event["reason"]], failing
