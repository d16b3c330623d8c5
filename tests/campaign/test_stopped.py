"""A daemon that stands still for longer than a rotation, while a signer and a stale verifier go on."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.campaign.processes import (
    HTTP_CACHE,
    ROTATE_EVERY,
    Daemon,
    Pair,
    configure,
    ended,
    key_set,
    pause,
    ring_of,
    until,
)


def test_stopped_for_longer_than_a_rotation(tmp_path: Path) -> None:
    """SIGSTOP, then SIGCONT: the overdue rotation is done once, in the safe order; no token is rejected."""
    daemon = Daemon(configure(tmp_path, {"web": key_set(tmp_path, "web", "EdDSA")}))
    document = tmp_path / "signing" / "web" / "signing.json"
    with ended(daemon):
        until(document.exists)
        pair = Pair(
            document, str(tmp_path / "public" / "web.json"), http_cache=HTTP_CACHE, rate=20.0
        )
        try:
            daemon.wait_for("key.announced", 2)
            daemon.stand_still()
            before = ring_of(tmp_path, "web")
            pause(ROTATE_EVERY + 3)
            assert ring_of(tmp_path, "web") == before
            promoted = daemon.count("key.promoted")
            daemon.send(signal.SIGCONT)
            daemon.wait_for("key.promoted", promoted + 1)
            daemon.wait_for("key.superseded", promoted)
            daemon.wait_for("key.retired", promoted)
            until(lambda: len(pair.kids) >= 2)
            found = pair.finish()
        finally:
            pair.kill()
        assert daemon.end() == 143
    assert found["rejected"] == []
    assert len(found["kids"]) >= 2
    history = [entry["event"] for entry in ring_of(tmp_path, "web")["history"]]
    last = history.index("key.promoted", history.index("key.promoted") + 1)
    assert history.index("key.announced") < last
    assert history.index("key.superseded") > last
    assert history.index("key.retired") > history.index("key.superseded")
    assert not daemon.count("key_set.failing")
    assert not daemon.count("clock.suspicious")
