"""The status page: what it says through a rotation, a failing probe and a hold, and what nobody can make it say."""

from __future__ import annotations

import json
import re
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rotator import transitions
from rotator.admin.page import DRAWN, LISTED
from rotator.admin.page_known import KEPT
from rotator.admin.page_markup import element
from rotator.admin.page_style import CSS, POLICY
from rotator.errors import StoreUnavailable
from rotator.observed import DocumentKind, Observed, Sighting
from rotator.operations.orders import hold
from rotator.reconcile.tick import tick
from tests.page.stage import HOUR, MINUTE, Stage, edge

HOSTILE = """"><script src="http://evil.test/x.js"></script><img src=http://evil.test/y onerror=alert(1)>'&\u202e\x00"""


def at_work(stage: Stage, name: str = "web") -> Any:
    """A key set that has just made its first keys."""
    site = stage.key_set(name)
    stage.settle(site)
    return site


def test_a_rotation_is_seen(tmp_path: Path) -> None:
    """Before it as what comes, after it as what was; and the table says the same as the picture."""
    stage = Stage(tmp_path)
    site = at_work(stage)
    page = stage.look()
    assert "rotator: all in order" in page.text
    assert page.bars().count("comes-retiring") == 1
    assert "was-retiring" not in page.bars()
    stage.live(site, 2 * HOUR)
    page = stage.look()
    assert "was-retiring" in page.bars()
    assert "retiring (previous)" in page.text
    current = json.loads((tmp_path / "web.json").read_bytes())["keys"][0]
    assert f"{current['kid']} active (current)" in page.text


def test_a_failing_probe_is_told(tmp_path: Path) -> None:
    """In the summary, in words, and as its last answer; gone once it answers."""
    stage = Stage(tmp_path)
    with edge(tmp_path / "web.json") as found:
        site = stage.key_set("web", found.url)
        stage.settle(site)
        found.status = 503
        stage.live(site, 10 * MINUTE)
        page = stage.look()
        assert "rotator: 1 of 1 want attention" in page.text
        assert "a target fails" in page.texts("span")
        assert any("no answer" in said and "503" in said for said in page.texts("span"))
        found.status = 200
        stage.live(site, 10 * MINUTE)
        assert "all in order" in stage.look().text


def test_a_hold_is_told(tmp_path: Path) -> None:
    """With its reason; nothing is foretold that it holds up, and once that was due it is said."""
    stage = Stage(tmp_path)
    site = at_work(stage)
    hold(site, "release week")
    stage.live(site, 5 * MINUTE)
    page = stage.look()
    assert "held" in page.texts("span")
    assert (
        "(release week); no key is created, promoted or retired until `rotator release`"
        in page.text
    )
    assert not [bar for bar in page.bars() if bar == "comes-retiring"]
    stage.live(site, 3 * HOUR)
    assert re.search(r"Next: go on with \S+ once released due \S+ \(1h5m ago\)", stage.look().text)


def test_a_key_set_that_cannot_be_ticked(tmp_path: Path) -> None:
    """What was known of it stays; why it stands, and what to do, is said."""
    stage = Stage(tmp_path)
    site = at_work(stage)
    stage.observer.failed(site, StoreUnavailable("store local does not answer", hint="start it"))
    text = stage.look().text
    assert "cannot be looked after" in text
    assert "It cannot be looked after: store local does not answer; start it" in text
    stage.observer.failed(site, ValueError("secret-in-an-error"))
    assert "secret-in-an-error" not in stage.look().source
    assert "unexpected ValueError" in stage.look().text
    stage.names["new"] = None
    assert "not looked at yet" in stage.look().text
    del stage.names["web"]
    stage.observer.dropped("web")
    assert "EdDSA" not in stage.look().text


def test_nothing_that_others_say_becomes_markup(tmp_path: Path) -> None:
    """Names, notes, reasons, answers, errors: all text; what is invisible is shown by its code."""
    stage = Stage(tmp_path)
    site = at_work(stage)
    ring = transitions.hold(stage.known.read()[1]["web"].ring, stage.clock.now(), HOSTILE)
    ring = replace(ring, key_set=HOSTILE)
    seen = Sighting(
        DocumentKind.JWKS,
        True,
        True,
        True,
        strangers=(HOSTILE,),
        note=HOSTILE,
        at=stage.clock.now(),
    )
    silent = Sighting(DocumentKind.JWKS, False, error=HOSTILE)
    portrait = replace(
        stage.known.read()[1]["web"],
        ring=ring,
        place=HOSTILE,
        observed=Observed({f"probe:{HOSTILE}": seen, HOSTILE: silent}, suspicious=HOSTILE),
        left=(HOSTILE,),
    )
    stage.known._portraits[HOSTILE] = portrait
    stage.names[HOSTILE] = None
    stage.observer.failed(replace(site, key_set=HOSTILE), StoreUnavailable(HOSTILE, hint=HOSTILE))
    stage.state.reload = replace(stage.state.reload, error=HOSTILE)
    page = stage.look()
    assert page.text.count("evil.test") > 20
    assert {name for name, _ in page.tags} <= {*OURS}
    assert not [found for _, found in page.tags if any(name.startswith("on") for name in found)]
    assert not [found["src"] for _, found in page.tags if "src" in found]
    assert all(found["href"][0] in "#/d" for _, found in page.tags if "href" in found)
    assert "\u202e" not in page.source
    assert "\x00" not in page.source
    assert "\\u202e\\u0000" in page.source


OURS = [
    "a",
    "body",
    "caption",
    "circle",
    "defs",
    "desc",
    "div",
    "footer",
    "h1",
    "h2",
    "head",
    "header",
    "html",
    "legend",
    "li",
    "line",
    "link",
    "main",
    "meta",
    "p",
    "path",
    "pattern",
    "rect",
    "section",
    "span",
    "style",
    "svg",
    "table",
    "tbody",
    "td",
    "text",
    "th",
    "thead",
    "time",
    "title",
    "tr",
    "ul",
]


def test_texts_are_bounded() -> None:
    """A server that answers with a novel does not make the page one."""
    assert len(element("p", "x" * 100_000)) < 1000
    assert element("p", "a\ud800b") == "<p>a\\ud800b</p>"
    assert element("a", "é", href="/?a=1&b=\"'") == '<a href="/?a=1&amp;b=&quot;&#x27;">é</a>'


def test_for_keyboard_and_screen_reader(tmp_path: Path) -> None:
    """Language, landmarks, headings in order, named regions that scroll, tables with headers, pictures in words."""
    stage = Stage(tmp_path)
    at_work(stage)
    page = stage.look()
    names = [name for name, _ in page.tags]
    assert page.all("html")[0]["lang"] == "en"
    assert [names.count(name) for name in ("header", "main", "footer", "h1")] == [1, 1, 1, 1]
    assert page.all("section")[0]["aria-labelledby"] == page.all("h2")[0]["id"]
    assert (
        page.all("a")[0]["href"] == f"#{page.all('main')[0]['id']}"
    )  # first: past everything else
    ids = {found["id"] for _, found in page.tags if "id" in found}
    assert {found["href"][1:] for found in page.all("a") if found["href"][:1] == "#"} <= ids
    pictures = [found for found in page.all("svg") if "aria-hidden" not in found]
    assert [found["role"] for found in pictures] == ["img"]
    assert set(pictures[0]["aria-labelledby"].split()) <= ids
    assert "to be active, retiring" in "".join(page.texts("desc"))
    assert all(found["scope"] in {"row", "col"} for found in page.all("th"))
    assert names.count("caption") == names.count("table") == 3
    scrolled = [found for found in page.all("div") if found["class"] == "wide"]
    assert all(found["tabindex"] == "0" and found["aria-label"] for found in scrolled)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_contrast(theme: int) -> None:
    """WCAG 2.2: 4.5 : 1 for text (1.4.3), 3 : 1 for what is drawn (1.4.11)."""
    blocks = re.findall(r":root\{([^}]*)\}", CSS)
    colors = dict(re.findall(r"--([a-z]+):(#[0-9a-f]+)", blocks[theme]))
    for name in ("text", "quiet", "link", "bad", "warn", "good"):
        assert contrast(colors[name], colors["ground"]) >= 4.5, name
    for name in ("pending", "active", "retiring", "creating", "line"):
        assert contrast(colors[name], colors["ground"]) >= 3, name


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(color: str) -> float:
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_over_http(tmp_path: Path) -> None:
    """One file, a policy that lets nothing in or out, no script; and it holds no key material."""
    stage = Stage(tmp_path)
    at_work(stage)
    with stage.listening() as url, urllib.request.urlopen(url) as answer:
        headers, body = answer.headers, answer.read().decode()
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Security-Policy"] == POLICY
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY
    assert headers["Cache-Control"] == "no-store"
    assert not re.search(r"<script|javascript:|<form|http-equiv|@import|style=", body)
    signing = json.loads((tmp_path / "web-signing" / "signing.json").read_bytes())
    assert signing["kid"] in body
    assert signing["jwk"]["d"] not in body
    assert str(tmp_path) in body


def test_a_fleet(tmp_path: Path) -> None:
    """Thousands: the troubled first, a bounded page, and no ring kept for each of them."""
    stage = Stage(tmp_path)
    site = at_work(stage, "k0000")
    last = tick(site)
    stage.observer.ticked(site, last)
    for number in range(1, 2000):
        name = f"k{number:04}"
        stage.names[name] = None
        copy = replace(last, ring=replace(last.ring, key_set=name))
        stage.observer.ticked(replace(site, key_set=name), copy)
    ill = replace(last, failures={"probe:x": StoreUnavailable("no answer from x")})
    for name in ("k1500", "k1900"):
        stage.observer.ticked(
            replace(site, key_set=name), replace(ill, ring=replace(last.ring, key_set=name))
        )
    page = stage.look()
    assert "rotator: 2 of 2000 want attention" in page.text
    assert len(stage.known.read()[1]) == KEPT
    assert page.texts("h2")[:2] == ["k1500", "k1900"]
    assert len(page.all("section")) == DRAWN
    assert len(page.all("tr")) < LISTED + DRAWN * 12
    assert f"{2000 - DRAWN} more key sets are not drawn" in page.text
    assert len(page.source) < 1_000_000
