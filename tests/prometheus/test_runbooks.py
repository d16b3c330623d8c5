"""Each alert has a runbook, and what a runbook names is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from rotator.cli.root import cli
from tests.prometheus.test_alerts import ALERTS, ROOT

FOLDER: Final = ROOT / "docs" / "runbooks"
RUNBOOKS: Final = sorted(FOLDER.glob("*.md"))
OF_NO_ALERT: Final = {FOLDER / "compromise.md"}  # somebody tells you; no metric can
HEADINGS: Final = (
    "Is anybody failing to log in now?",
    "Look first",
    "Do",
    "Do not",
    "It is over when",
)
EVENTS: Final = re.compile(
    r"`((?:clock|config|key_set|metrics|notification|server|signer|target)\.\w+)`"
)


def test_each_alert_has_its_runbook_and_each_runbook_its_alert() -> None:
    """One to one, by the annotation; what an alert says is a sentence, and its severity is one of two."""
    named = {rule["annotations"]["runbook"]: alert for alert, rule in ALERTS.items()}
    assert len(named) == len(ALERTS)
    alerted = [path for path in RUNBOOKS if path not in OF_NO_ALERT]
    assert {f"docs/runbooks/{path.name}" for path in alerted} == set(named)
    for path in alerted:
        alert = named[f"docs/runbooks/{path.name}"]
        severity = ALERTS[alert]["labels"]["severity"]
        assert severity in {"critical", "warning"}
        begin = f"# {alert}\n\nSeverity: {severity}. "
        assert path.read_text(encoding="utf-8").startswith(begin)


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_a_runbook_can_be_followed(path: Path) -> None:
    """Its sections are the same in the same order; its links lead somewhere; its commands and events exist."""
    text = path.read_text(encoding="utf-8")
    assert tuple(re.findall(r"^## (.*)$", text, re.MULTILINE)) == HEADINGS
    assert len(text.splitlines()) <= 70, "it is read at 3 a.m."
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert (FOLDER / link).is_file(), link
    events = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    for event in EVENTS.findall(text):
        assert f"`{event}`" in events
    metrics = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for metric in re.findall(r"`(rotator_[a-z_]+)`", text):
        assert f"`{metric}`" in metrics
    known = set(cli.list_commands(cli.make_context("rotator", [], resilient_parsing=True)))
    for command in re.findall(r"(?:`|^\$ )rotator ([a-z-]+)", text, re.MULTILINE):
        assert command in known, command
