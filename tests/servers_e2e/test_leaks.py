"""Every byte that comes out of our processes is searched for every private key, with all SDKs' debug logs on.

The daemon is searched in `tests/servers_e2e/test_signer_verifier.py`, and with every algorithm in
`tests/campaign/test_leaks.py`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.campaign.needles import needles_of, search
from tests.servers import misdeeds, running
from tests.servers.proxy import Proxy
from tests.servers_e2e.faults import DENIED_BY, too_many
from tests.servers_e2e.ground import DUE, GRACE, IMPATIENT, REMOTE, Ground, is_read, is_write
from tests.servers_e2e.warm import Warm

_SECRET_HEADERS = ("x-vault-token", "x-amz-security-token")


class Searched:
    """A key set, every key that it ever had, and everything that was said and written meanwhile."""

    def __init__(self, ground: Ground, warm: Warm) -> None:
        self.ground, self._warm = ground, warm
        self.materials: dict[str, bytes] = {}
        self.places: dict[str, bytes] = {}

    def run(self, *words: str, why: str = "") -> int:
        """Run one command with everything at DEBUG, and keep what it said."""
        ground = self.ground
        words = ("--log-level", "debug", *words)
        ran = self._warm.run(ground.config, *words, shift=ground.shift, leap=True, loud=True)
        name = f"{why} {' '.join(words)} {len(self.places)}"
        self.places[f"stdout of {name}"] = ran.out.encode()
        self.places[f"stderr of {name}"] = ran.err.encode()
        self.look()
        return ran.code

    def look(self) -> None:
        """Learn every key that the ring now has."""
        self.materials |= self.ground.materials()

    def left(self) -> dict[str, bytes]:
        """What was left behind: files but deliveries, and the heads of all requests, which proxies log."""
        places: dict[str, bytes] = {}
        for path in sorted(self.ground.path.rglob("*")):
            inside = path.relative_to(self.ground.path).parts[0]
            if path.is_file() and inside != "signing":
                places[str(path)] = path.read_bytes()
        for request in self.ground.between.seen:
            head = f"{request.method} {request.path} {request.headers}"
            places[f"head of request {request.number}"] = head.encode()
        return places

    def logins(self) -> Iterator[bytes]:
        """Yield what proves who we are to the server: no log may say it either."""
        settings = str(self.ground.settings)
        for path in re.findall(r"_file': '([^']+)'", settings):
            if "ca" not in Path(path).stem:
                yield Path(path).read_bytes().strip()
        for name in re.findall(r"_env': '([^']+)'", settings):
            yield os.environ[name].encode()
        if secret := self.ground.server.environ.get("AWS_SECRET_ACCESS_KEY"):
            yield secret.encode()
        for request in self.ground.between.seen:
            for name, value in request.headers:
                if name.lower() in _SECRET_HEADERS or value.startswith("Token token="):
                    yield value.removeprefix('Token token="').strip('"').encode()


@pytest.mark.slow
@pytest.mark.parametrize("backend", REMOTE)
def test_no_byte_of_a_private_key_leaves(backend: str, tmp_path: Path, warm: Warm) -> None:
    """Through a first run, rotations, a revocation, every command, and each kind of answer."""
    with Proxy(running(backend).url, seed=3) as proxy:
        ground = Ground(backend, tmp_path, proxy, IMPATIENT)
        searched = Searched(ground, warm)
        assert searched.run("rotate") == 0
        for step in (DUE, GRACE):
            ground.shift += step
            assert searched.run("rotate") == 0
        for deed, when in (
            (DENIED_BY[backend], is_write),
            (too_many()[backend], is_read),
            (misdeeds.answering(500, after=True), is_write),
            (misdeeds.garbage, is_read),
            (misdeeds.truncated, is_read),
            (misdeeds.reset_after, is_write),
            (misdeeds.stale(-20), is_read),
        ):
            ground.shift += DUE
            with proxy.misbehaving(deed, when=when):
                searched.run("rotate", why="spoilt")
            ground.shift += timedelta(minutes=2)
            assert searched.run("rotate", why="mended") == 0
        active = ground.kids("active")[0]
        assert searched.run("revoke", active, "--reason", "a search", "--yes") == 0
        for words in (
            ("status", "--live"),
            ("status", "--json"),
            ("check",),
            ("check", "--write"),
            ("history",),
            ("plan",),
            ("jwks",),
            ("config", "show"),
            ("rotate", "--emergency", "--yes"),
        ):
            searched.run(*words)
        keys = needles_of(searched.materials.values())
        logins = {login: "a login" for login in searched.logins() if len(login) >= 16}
        assert len(searched.materials) >= 9
        assert list(search(keys, searched.places | searched.left())) == []
        assert list(search(logins, searched.places)) == []
        # The same search finds what was planted.
        planted = next(iter(keys))
        assert list(search(keys, {"planted": b"x" + planted + b"y"}))
        ground.close()
    sys.stdout.write(
        f"{backend}: {len(searched.materials)} keys, {len(keys)} forms, {len(searched.places)} places, "
        f"{sum(map(len, searched.places.values()))} bytes: none found\n"
    )
