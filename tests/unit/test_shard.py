"""One part of many of the key sets: every process agrees on it, for ever."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from rotator.errors import UsageError
from rotator.settings import load_settings
from rotator.shard import Shard, only
from tests.cli.bench import SLOW, Bench

NAMES = [f"tenant-{number}" for number in range(10_000)]


@pytest.mark.parametrize("count", [1, 2, 3, 16, 100])
def test_ten_thousand_names_are_spread_evenly(count: int) -> None:
    """Each name is in one part, and no part is a fifth (of few names: more) larger than its share."""
    parts = [Shard(index, count).of(NAMES) for index in range(count)]
    assert sorted(name for part in parts for name in part) == sorted(NAMES)
    share = len(NAMES) / count
    largest = max(len(part) for part in parts)
    assert largest <= share + 4 * share**0.5
    assert min(len(part) for part in parts) >= share - 4 * share**0.5


def test_the_hash_never_changes() -> None:
    """Pinned: two versions of the program that disagreed would leave key sets to nobody."""
    names = ("web", "api", "tenant-0", "größe")
    where = {name: next(i for i in range(16) if Shard(i, 16).has(name)) for name in names}
    assert where == {"web": 9, "api": 13, "tenant-0": 0, "größe": 15}


@pytest.mark.parametrize(
    "text", ["", "3", "16/16", "-1/4", "1/0", "a/b", "1/2/3", "0/99999", "٣/١٦"]
)
def test_what_is_no_part_is_refused(text: str) -> None:
    """With how it is written, and who said it."""
    with pytest.raises(UsageError, match="ROTATOR_SHARD") as caught:
        Shard.parse(text, "ROTATOR_SHARD")
    assert "counts from 0" in caught.value.hint


def test_a_configuration_is_cut_down_to_a_part(tmp_path: Path) -> None:
    """A combined document that no part can make alone is left out; the stores stay."""
    names = tuple(NAMES[:12])
    combine = {"/all/jwks.json": list(names), "/one/jwks.json": [names[0]]}
    more = {"server": {"listen": "127.0.0.1:0"}, "combine": combine}
    settings = load_settings(Bench(tmp_path, names=names, more=more).config, {})
    parts = [only(settings, Shard(index, 3)) for index in range(3)]
    assert Counter(name for part in parts for name in part.key_sets) == Counter(names)
    assert all(part.stores == settings.stores for part in parts)
    assert [path for part in parts for path in part.combine] == ["/one/jwks.json"]
    assert only(settings, None) is settings


def test_commands_take_the_option_or_the_variable(tmp_path: Path) -> None:
    """A key set that is named counts whatever the shard; a wrong one is a fault of the words."""
    names = tuple(NAMES[:4])
    bench = Bench(tmp_path, names=names, policy=SLOW)
    mine = Shard(0, 2).of(names)
    ran = bench.run("rotate", "--shard", "0/2", "--json")
    assert [item["key_set"] for item in json.loads(ran.out)["key_sets"]] == mine
    assert sorted(path.name for path in (tmp_path / "store").iterdir() if path.is_dir()) == mine
    ran = bench.run("plan", "--json", env={"ROTATOR_SHARD": "1/2"})
    others = [item["key_set"] for item in json.loads(ran.out)["key_sets"]]
    assert others == [name for name in names if name not in mine]
    ran = bench.run("status", mine[0], "--json", env={"ROTATOR_SHARD": "1/2"})
    assert [item["key_set"] for item in json.loads(ran.out)["key_sets"]] == [mine[0]]
    ran = bench.run("due", env={"ROTATOR_SHARD": "2/2"})
    assert ran.code == 255
    assert "ROTATOR_SHARD" in ran.err
