"""Show 7: a real Chromium shows a rotation, a failing probe and a hold, and asks for nothing but the page."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from rotator.operations.orders import hold
from rotator.reconcile.site import Site
from tests.page.browser import chromium, counting_proxy, shown
from tests.page.stage import MINUTE, Page, Stage, edge

ROOT = Path(__file__).parents[2]
SCREENSHOT = ROOT / "docs" / "status-page.png"
DARK = "--blink-settings=preferredColorScheme=0"
SIZE = "--window-size=1200,1030"


def staged(stage: Stage, found_url: str) -> list[Site]:
    """Three key sets that live for a while: one in order, one held."""
    sites = [stage.key_set("web", found_url), stage.key_set("mobile"), stage.key_set("partners")]
    for site in sites:
        stage.settle(site)
    hold(sites[2], "their release week")
    for _ in range(50):
        stage.clock.advance(5 * MINUTE)
        for site in sites:
            stage.settle(site)
    return sites


def test_chromium_shows_the_page(tmp_path: Path) -> None:
    """All three in one look, in light and dark; hostile names included, one request and no other."""
    chromium()
    stage = Stage(tmp_path)
    with edge(tmp_path / "web.json") as found:
        sites = staged(stage, found.url)
        found.status = 503
        stage.live(sites[0], 5 * MINUTE)
    stage.names['<img src="http://evil.test/x"><link rel=stylesheet href=//evil.test/y>'] = None
    with stage.listening() as url, counting_proxy(url) as proxy:
        light, dark = tmp_path / "light.png", tmp_path / "dark.png"
        source = shown(f"{url}/", tmp_path / "a", proxy, SIZE, f"--screenshot={light}")
        shown(f"{url}/", tmp_path / "b", proxy, SIZE, f"--screenshot={dark}", DARK)
        assert proxy.by_the_page == [f"GET {url}/"] * 2
        assert "google" not in source
    # What the browser made of it, read again: the same elements, nothing mended and nothing run.
    page = Page.read(re.sub(r"<!DOCTYPE html>", "", source, flags=re.IGNORECASE))
    assert "rotator: 3 of 4 want attention" in page.text
    assert "was-retiring" in page.bars() or "was-active" in page.bars()
    assert "comes-retiring" in page.bars()
    assert any("no answer" in said and "503" in said for said in page.texts("span"))
    assert "(their release week); no key is created, promoted or retired" in page.text
    assert len(page.all("section")) == 3
    assert not page.all("img")
    assert page.source.count("evil.test") == 2
    for file in (light, dark):
        assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert light.read_bytes() != dark.read_bytes()


def test_the_screenshot_in_the_docs() -> None:
    """It is there, of a size that a page bears; `python -m tests.page.screenshot` makes it anew."""
    content = SCREENSHOT.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    assert width >= 1000
    assert height >= 900
    assert len(content) <= 200_000
    assert "status-page.png" in (ROOT / "docs" / "status-page.md").read_text(encoding="utf-8")
