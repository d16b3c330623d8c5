"""The pages of `docs/`: each stands in the index, and no link of theirs leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"
PAGES: Final = sorted(DOCS.rglob("*.md"))
INDEXES: Final = (DOCS / "README.md", DOCS / "decisions" / "README.md")


def links(page: Path) -> set[tuple[Path, str]]:
    """The files and anchors of this repository that a page leads to; code is no link."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    text = re.sub(r"`[^`\n]*`", "`", text)
    found = re.findall(r"\]\(([^)\s#]*)(?:#([^)\s]*))?\)", text)
    return {
        ((page.parent / target).resolve() if target else page, anchor)
        for target, anchor in found
        if ":" not in target
    }


def anchors(page: Path) -> set[str]:
    """What its headings are called in an address, as the usual renderers make it."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_stands_in_the_index() -> None:
    """A page that is in no list is read by nobody."""
    listed = {target for index in INDEXES for target, _ in links(index)}
    assert len(PAGES) > 50
    missing = set(PAGES) - listed - {INDEXES[0]}
    assert {str(page.relative_to(ROOT)) for page in missing} == set()


def test_every_link_leads_somewhere() -> None:
    """Files that are there, and headings that are still called so."""
    lost = {
        f"{page.relative_to(ROOT)}: {target}#{anchor}"
        for page in (*PAGES, *ROOT.glob("*.md"))
        for target, anchor in links(page)
        if not target.exists()
        or (anchor and target.suffix == ".md" and anchor not in anchors(target))
    }
    assert lost == set()
