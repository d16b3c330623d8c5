"""`docs/timings.md`: its configurations load, and its table and sums are those of their policies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from rotator.durations import parse_duration
from rotator.policy import ZERO, RotationPolicy
from rotator.settings import load_settings

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs" / "timings.md").read_text("utf-8")
CHOICES: Final = re.findall(r"```yaml\n(.*?)```\n(.*?)\n##", PAGE, re.DOTALL)
NAMES: Final = ("services", "accounts", "webhooks", "batch")
ROWS: Final = {
    re.sub(r"[`*]", "", row[0]): row[1:]
    for line in re.findall(r"^\| (.*) \|$", PAGE.partition("\n### ")[0], re.MULTILINE)
    if len(row := line.split(" | ")) == 5
}


def policy_of(number: int, directory: Path) -> RotationPolicy:
    """The policy of one of the page's configurations, loaded as `rotator` loads it."""
    path = directory / "rotator.yaml"
    path.write_text(CHOICES[number][0], "utf-8")
    [key_set] = load_settings(path, environ={}).key_sets.values()
    assert key_set.name == NAMES[number]
    return key_set.policy


@pytest.mark.parametrize("number", range(4), ids=NAMES)
def test_the_table_is_what_the_configuration_comes_to(number: int, tmp_path: Path) -> None:
    """Every row; `load_settings` has held the policy against the timing contract."""
    policy = policy_of(number, tmp_path)
    column = {name: cells[number] for name, cells in ROWS.items() if name}
    assert column.pop("keys at most, of max_keys 10") == str(policy.overlap)
    assert policy.max_keys == 10
    if policy.kind.symmetric:
        assert (column.pop("jwks_max_age"), column.pop("jwks_stale")) == ("–", "–")
    computed = {
        "floor of propagation": policy.propagation_floor,
        "grace, computed": policy.grace_wait,
        "floor of rotate_every": policy.rotate_every_floor,
    }
    for name, cell in column.items():
        wanted = computed[name] if name in computed else getattr(policy, name)
        assert parse_duration(cell) == wanted, name
    assert len(column) >= 11


@pytest.mark.parametrize("number", range(4), ids=NAMES)
def test_the_sums_are_done_right(number: int, tmp_path: Path) -> None:
    """Term by term, in the order of the contract."""
    policy = policy_of(number, tmp_path)
    terms = [policy.verifier_cache, policy.clock_skew, policy.resync]
    if not policy.kind.symmetric:
        terms = [policy.jwks_max_age, policy.jwks_stale, *terms]
    said = re.search(r"`propagation` ≥ (.*?) = (\w+)", CHOICES[number][1])
    assert said is not None
    assert [parse_duration(term) for term in said[1].split(" + ")] == terms
    assert parse_duration(said[2]) == sum(terms, ZERO) == policy.propagation_floor

    said = re.search(r"`grace` = (.*?) \+ 2 × (\w+) = (\w+)", CHOICES[number][1])
    assert said is not None
    terms = [policy.token_ttl, policy.leeway, policy.signer_lag]
    assert [parse_duration(term) for term in said[1].split(" + ")] == terms
    assert parse_duration(said[2]) == policy.clock_skew
    assert parse_duration(said[3]) == policy.grace_wait
