"""The README's first screen, and its commands for each secrets manager: those that a test of that store runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rotator.stores import backend_names

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("backend", sorted(set(backend_names()) - {"file"}))
def test_the_commands_are_those_of_the_page(backend: str) -> None:
    """At most five; the page's own are run by the tests of that store."""
    page = (ROOT / "docs" / "stores" / f"{backend}.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- run: first -->\n```console\n(.*?)```", page, re.DOTALL)
    assert found is not None
    assert 1 < len(found[1].splitlines()) <= 5
    assert f"```console\n{found[1]}```" in README


def test_every_link_leads_somewhere() -> None:
    """A page that was moved is missed."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README)
    assert len(links) > 15
    assert [link for link in links if not (ROOT / link).exists()] == []
