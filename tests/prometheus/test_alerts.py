"""Every alert fires and clears: metrics of daemons that really failed, judged by promtool."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

from tests.prometheus import scenarios, scenarios_itself
from tests.prometheus.capture import Run
from tests.prometheus.programs import program
from tests.prometheus.scenarios import Firing, Labels, Scenario

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "deploy" / "prometheus"
SCENARIOS: Final = (*scenarios.SCENARIOS, *scenarios_itself.SCENARIOS)
FILES: Final = (FOLDER / "alerts.yaml", FOLDER / "rules.yaml")


def rules(path: Path) -> list[dict[str, Any]]:
    """The rules of a file."""
    groups = YAML(typ="safe", pure=True).load(path)["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS: Final = {rule["alert"]: rule for rule in rules(FILES[0])}


def promtool(*arguments: str | Path) -> None:
    """Run promtool; what it complains of is the failure."""
    done = subprocess.run(
        [program("promtool"), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def shown(text: str, labels: Labels) -> str:
    """An annotation as somebody on call reads it."""
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels.get(found[1], ""), text)


def expected(name: str, labels: Labels) -> dict[str, Any]:
    """One alert, as promtool wants to be told of it."""
    rule = ALERTS[name]
    known = {label: value for label, value in {"job": "rotator", **labels}.items() if value}
    notes = {note: shown(text, known) for note, text in rule["annotations"].items()}
    return {"exp_labels": {**known, **rule["labels"]}, "exp_annotations": notes}


def moments(run: Run, scenario: Scenario) -> list[tuple[str, Firing]]:
    """Live through a scenario; what is to fire, by when. It begins and ends with nothing."""
    found = [(f"{run.elapsed.total_seconds():.0f}s", firing) for firing in scenario(run)]
    assert found[0][1] == found[-1][1] == {}
    return found


def test_each_alert_has_its_scenario() -> None:
    """One that was never seen to fire is none."""
    files = Path(__file__).parent.glob("scenarios*.py")
    source = "".join(path.read_text(encoding="utf-8") for path in files)
    assert set(re.findall(r'"(Rotator\w+)"', source)) == set(ALERTS)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda item: item.__name__)
def test_what_fires_and_clears(scenario: Scenario, tmp_path: Path) -> None:
    """Those that a scenario names fire with every word of theirs, all others keep silent."""
    program("promtool")
    run = Run(tmp_path)
    try:
        told = moments(run, scenario)
    finally:
        run.close()
    asked = []
    for at, firing in told:
        for name in ALERTS:
            found = firing.get(name, ())
            every = (found,) if isinstance(found, dict) else found
            alerts = [expected(name, labels) for labels in every]
            asked.append({"eval_time": at, "alertname": name, "exp_alerts": alerts})
    test = {
        "rule_files": [str(path) for path in FILES],
        "evaluation_interval": "1m",
        "tests": [
            {"interval": "1m", "input_series": run.series.as_input(), "alert_rule_test": asked}
        ],
    }
    file = tmp_path / "promtool.yaml"
    file.write_text(json.dumps(test))  # JSON is YAML
    promtool("test", "rules", file)
