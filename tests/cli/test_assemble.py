"""From settings to key sets: stores once, the right targets, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from rotator.assemble import Assembly, served
from rotator.errors import ConfigError
from rotator.observed import Sighting
from rotator.reconcile.look import Seen
from rotator.settings import Settings, load_settings
from rotator.stores import DocumentKind, Target
from tests.cli.bench import Bench


def silent(level: str, event: str, **fields: Any) -> None:
    """Take an event and say nothing."""


def settings_of(path: Path, **more: Any) -> Settings:
    """Return the settings of a bench."""
    return load_settings(Bench(path, **more).config, {})


def test_a_store_is_opened_once(tmp_path: Path) -> None:
    """All key sets of a store share it, whoever asks first."""
    with Assembly(settings_of(tmp_path, names=("web", "api")), silent) as assembly:
        found = []

        def ask() -> None:
            found.append(assembly.store("local"))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(store) for store in found}) == 1
        assert [site.key_set for site in assembly.sites()] == ["web", "api"]


def test_nothing_is_touched(tmp_path: Path) -> None:
    """Making key sets reads and writes nothing."""
    bench = Bench(tmp_path)
    before = bench.tree()
    with Assembly(load_settings(bench.config, {}), silent) as assembly:
        (site,) = assembly.sites()
    assert bench.tree() == before
    assert site.place == str(bench.ring)
    assert site.clock.now().tzinfo is UTC


def test_targets(tmp_path: Path) -> None:
    """Deliveries, files, probes; the built-in server only for the process that runs it."""
    probes = ["http://127.0.0.1:1/jwks.json", {"url": "http://[::1]:1/", "all_addresses": True}]
    settings = settings_of(
        tmp_path, key_set={"probes": probes}, more={"server": {"listen": "127.0.0.1:0"}}
    )
    with Assembly(settings, silent) as assembly:
        (alone,) = assembly.sites()
        (serving,) = assembly.sites("http://127.0.0.1:8080")
    kinds = [target.kind for target in alone.targets]
    assert kinds == [DocumentKind.SIGNING, *[DocumentKind.JWKS] * 3]
    extra = {target.name for target in serving.targets} - {target.name for target in alone.targets}
    assert extra == {"server"}


def test_hmac_is_never_served(tmp_path: Path) -> None:
    """Neither as a target nor as a path of the server."""
    settings = settings_of(tmp_path, algorithm="HS256", more={"server": {"listen": "127.0.0.1:0"}})
    with Assembly(settings, silent) as assembly:
        (site,) = assembly.sites("http://127.0.0.1:8080")
    assert {target.kind for target in site.targets} == {
        DocumentKind.SIGNING,
        DocumentKind.VERIFICATION,
    }
    assert served(settings).key_sets == ()


def test_the_default_is_served_at_the_well_known_path(tmp_path: Path) -> None:
    """So is every key set at its own."""
    settings = settings_of(tmp_path, names=("web",), key_set={"default": True})
    assert dict(served(settings).paths()) == {
        "/web/jwks.json": "web",
        "/.well-known/jwks.json": "web",
    }


@pytest.mark.parametrize(
    ("missing", "said"), [("publish", "built-in server"), ("deliver", "signing delivery")]
)
def test_a_blind_or_mute_key_set_is_refused(tmp_path: Path, missing: str, said: str) -> None:
    """Unless only its ring is read."""
    settings = settings_of(tmp_path)
    one: Any = {missing: ()}
    key_sets = {"web": replace(settings.key_sets["web"], **one)}
    with Assembly(replace(settings, key_sets=key_sets), silent) as assembly:
        with pytest.raises(ConfigError, match=said) as caught:
            assembly.site("web")
        assert caught.value.hint
        assert assembly.site("web", reading=True).key_set == "web"


def test_looks_go_on_at_the_same_time(tmp_path: Path) -> None:
    """One slow probe does not hold up another: all of them meet before any goes on."""
    settings = settings_of(tmp_path, key_set={"probes": ["http://127.0.0.1:1/jwks.json"]})
    with Assembly(settings, silent) as assembly:
        (site,) = assembly.sites()
        together = threading.Barrier(len(site.targets))

        def look(target: Target) -> Seen:
            together.wait(30)
            return Seen(target, Sighting(target.kind, answered=True))

        seen: Iterable[Seen] = site.spread(look, site.targets)
        assert [item.target for item in seen] == list(site.targets)
