"""The model can fail: every seeded defect is caught, and the program as it is breaks nothing.

A row of `DEFECTS` names a fault, what it stands for, and the story in which its harm shows.
"""

from __future__ import annotations

import os

import pytest

from rotator.rehearsal.promise import Broken
from rotator.rehearsal.walls import KINDS
from tests.model.defects import DEFECTS
from tests.model.patches import Defect
from tests.model.stage import over
from tests.model.stories import STORIES, Story

TOLD = list(dict.fromkeys((defect.scenario, defect.kind) for defect in DEFECTS))
"""Every story, over each kind of secrets manager over which it catches something."""

if os.environ.get("ROTATOR_MODEL_STEPS"):  # whoever asks for more hears each story over every kind
    TOLD = [(story, kind) for story in STORIES.values() for kind in KINDS]


@pytest.mark.parametrize(("story", "kind"), TOLD, ids=lambda part: getattr(part, "__name__", part))
def test_without_a_defect_the_story_goes_well(story: Story, kind: str) -> None:
    """The stories themselves break nothing."""
    with over(kind):
        story()


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_the_model_catches(defect: Defect) -> None:
    """With the defect in, the same story breaks the promise."""
    with over(defect.kind), defect.patch(), pytest.raises(Broken):
        defect.scenario()


def test_there_is_a_defect_for_everything_that_is_promised() -> None:
    """At least thirty; one for each rule, each clause of the contract, each incident."""
    broken = " | ".join(defect.breaks for defect in DEFECTS)
    for number in range(1, 11):
        assert any(defect.breaks == f"rule {number}" for defect in DEFECTS), f"rule {number}"
    incidents = (
        "Azure",
        "Logto",
        "EKS",
        "GitLab",
        "Nomad",
        "Istio",
        "dex",
        "AKP",
        "SPIRE",
        "Storm",
    )
    for incident in incidents:
        assert incident in broken, incident
    for clause in ("propagation", "grace", "rotate_every", "max_keys"):
        assert f"contract: {clause}" in broken, clause
    assert len(DEFECTS) >= 30
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS)


def test_every_story_is_told() -> None:
    """No story without a defect that needs it."""
    assert set(STORIES) == {defect.scenario.__name__ for defect in DEFECTS}
