"""A PyJWT signer and a stale verifier through accelerated rotations on each server, while the network misbehaves.

Every SDK logs at DEBUG meanwhile, and no byte of a key is in what the daemon says.

The seed is printed, and `ROTATOR_CAMPAIGN_SEED` repeats what the proxies do, as far as the machine allows.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.campaign.needles import needles_of, search
from tests.campaign.processes import (
    HTTP_CACHE,
    POLICY,
    Daemon,
    Pair,
    ended,
    free_port,
    until,
)
from tests.servers import misdeeds, running
from tests.servers.proxy import Action, Proxy
from tests.servers_e2e.faults import too_many
from tests.servers_e2e.ground import REMOTE, Ground
from tests.servers_e2e.loud import loud_environment

ROTATIONS = 2
TOKENS = 500
RATE = 28.0  # tokens a second, for each key set
SHARE = 0.1  # of all requests

KEY_SETS = {"aws": "billing", "conjur": "orders", "vault": "payments"}
OPTIONS = {"connect_timeout": "1s", "read_timeout": "300ms", "attempts": 4, "patience": "1500ms"}


def deeds(backend: str) -> list[Action]:
    """What goes wrong, each as often as the others."""
    return [
        misdeeds.reset_before,
        misdeeds.reset_after,
        misdeeds.hang,
        misdeeds.hang_after,
        misdeeds.garbage,
        misdeeds.truncated,
        misdeeds.stale(-20),
        misdeeds.answering(500, after=True),
        misdeeds.answering(503),
        too_many()[backend],
    ]


def together(home: Path, grounds: Mapping[str, Ground], port: int) -> Path:
    """Write the configuration of one daemon for all of them."""
    merged: dict[str, dict[str, object]] = {"stores": {}, "key_sets": {}}
    for ground in grounds.values():
        one = json.loads(ground.config.read_text())
        for part in merged:
            merged[part] |= one[part]
    rest = {"version": 1, "state_dir": "state", "server": {"listen": f"127.0.0.1:{port}"}}
    path = home / "rotator.json"
    path.write_text(json.dumps(rest | merged, indent=1))
    return path


@pytest.mark.slow
def test_no_token_is_rejected(tmp_path: Path) -> None:
    """One daemon, three stores; every tenth request of each fails in one of ten ways."""
    seed = int(os.environ.get("ROTATOR_CAMPAIGN_SEED") or random.randrange(1_000_000))
    sys.stdout.write(f"ROTATOR_CAMPAIGN_SEED={seed}\n")
    with contextlib.ExitStack() as stack:
        grounds: dict[str, Ground] = {}
        for name in REMOTE:
            proxy = stack.enter_context(Proxy(running(name).url, seed=seed))
            grounds[name] = Ground(
                name, tmp_path / name, proxy, OPTIONS, POLICY, name=KEY_SETS[name]
            )
            stack.callback(grounds[name].close)
            misbehaving = proxy.misbehaving(proxy.any_of(deeds(name)), share=SHARE)
            stack.enter_context(misbehaving)
        port = free_port()
        loud = loud_environment(tmp_path / "loud")
        daemon = Daemon(together(tmp_path, grounds, port), level="debug", **loud)
        stack.enter_context(ended(daemon))
        materials: dict[str, bytes] = {}
        for name in REMOTE:
            daemon.wait_for("key.delivered", key_set=KEY_SETS[name])
        pairs = {
            name: Pair(
                grounds[name].signing,
                f"http://127.0.0.1:{port}/{KEY_SETS[name]}/jwks.json",
                http_cache=HTTP_CACHE,
                rate=RATE,
            )
            for name in REMOTE
        }

        def all_done() -> bool:
            for ground in grounds.values():
                materials.update(ground.materials())
            return len(materials) >= len(REMOTE) * (ROTATIONS + 1) and all(
                pairs[name].tokens >= TOKENS
                and len(pairs[name].kids) > ROTATIONS
                and daemon.count("key.promoted", key_set=KEY_SETS[name]) > ROTATIONS
                for name in REMOTE
            )

        try:
            until(all_done, every=0.5)
            found = {name: pair.finish() for name, pair in pairs.items()}
        finally:
            for pair in pairs.values():
                pair.kill()
            (tmp_path / "daemon.log").write_bytes(b"".join(daemon.err.lines))
        assert daemon.end() == 143
    said = {"stdout": b"".join(daemon.out.lines), "stderr": b"".join(daemon.err.lines)}
    for library in (b"botocore", b"urllib3", b"conjur_api"):
        assert b"DEBUG " + library in said["stderr"], "it was not loud"
    assert list(search(needles_of(materials.values()), said)) == []
    for name, result in found.items():
        proxy = grounds[name].between
        sys.stdout.write(
            f"{name}: {pairs[name].tokens} tokens, {result['checks']} checks ({result['late']} late), "
            f"{len(result['kids'])} keys, {len(result['rejected'])} rejected; "
            f"{proxy.treated} of {len(proxy.seen)} requests spoilt\n"
        )
        assert result["rejected"] == [], name
        # A machine that stands still for some seconds misses the checks of those seconds, all at once.
        assert result["late"] <= result["checks"] / 2, name
        assert len(result["kids"]) > ROTATIONS, name
