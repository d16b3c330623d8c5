"""Short stories, each of which goes well with the program as it is and ill with some defect in it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType

from tests.model import (
    stories_of_keys,
    stories_of_signers,
    stories_of_stores,
    stories_of_time,
    stories_of_writers,
)

Story = Callable[[], None]


def _told_in(module: ModuleType) -> dict[str, Story]:
    return {
        name: story
        for name, story in vars(module).items()
        if inspect.isfunction(story)
        and story.__module__ == module.__name__
        and not name.startswith("_")
    }


STORIES: dict[str, Story] = {
    **_told_in(stories_of_time),
    **_told_in(stories_of_writers),
    **_told_in(stories_of_keys),
    **_told_in(stories_of_stores),
    **_told_in(stories_of_signers),
}
"""Every story by its name."""
