"""The dashboard and the rules in a real Prometheus that scrapes what a real daemon told."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from rotator.notify.post import ReceiverFigures
from rotator.signers.command import CommandCheck
from tests.prometheus.capture import Run, answering
from tests.prometheus.programs import program
from tests.prometheus.test_alerts import FILES, promtool
from tests.servers import free_port, launch, left_out
from tests.unit.daemon_world import HOUR

ROOT: Final = Path(__file__).parents[2]
DASHBOARD: Final = json.loads((ROOT / "deploy" / "grafana" / "rotator.json").read_bytes())
PANELS: Final = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SDK: Final = ROOT / ".servers" / "grafana"
BOUND: Final = 60  # seconds; only a test that fails waits so long

CONFIGURATION: Final = """
global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}
scrape_configs: [{job_name: rotator, static_configs: [{targets: ["%s"]}]}]
rule_files: %s
"""


def everything(path: Path) -> str:
    """The metrics of one life in which everything that is measured happens."""
    run = Run(path)
    site = run.start()
    run.daemon.state.server = lambda: (True, 1)
    run.meter.told = lambda: (ReceiverFigures("ops", "command true", {"sent": 3}, pending=1),)
    run.minutes(2)
    site.signers = (CommandCheck(("false",), every=HOUR),)
    run.minutes(40)
    run.published.write_bytes(run.published.read_bytes().replace(b'"kid":"', b'"kid":"x', 1))
    run.minutes(6)
    run.published.unlink()
    run.published.mkdir()
    run.clock.wall += timedelta(minutes=1)
    run.minutes(6)
    store = path / "store" / "web"
    store.rename(path / "aside")
    store.write_bytes(b"")
    run.minutes(6)
    run.close()
    return run.text(process=True)


class Prometheus:
    """A server, asked over HTTP."""

    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str, **fields: str) -> Any:
        """Ask its API; what it complains of is the failure."""
        asked = f"http://{self.address}{path}?{urllib.parse.urlencode(fields)}"
        with urllib.request.urlopen(asked, timeout=BOUND) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[Any]:
        """The series of an expression now."""
        found: list[Any] = self.get("/api/v1/query", query=expression)["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """The rules of every group."""
        return [rule for group in self.get("/api/v1/rules")["groups"] for rule in group["rules"]]

    def wait_for(self, expression: str) -> None:
        """Wait until an expression has series."""
        for _ in range(BOUND * 10):
            if self.query(expression):
                return
            threading.Event().wait(0.1)
        pytest.fail(f"{expression} came to nothing")


@contextmanager
def scraping(path: Path, text: str) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes a text."""
    binary, address = program("prometheus"), f"127.0.0.1:{free_port()}"

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://{address}/-/ready", timeout=BOUND):
                return True
        except OSError:
            return False

    with answering(lambda: (200, text.encode())) as url:
        rules = json.dumps([str(file) for file in FILES])
        (path / "prometheus.yaml").write_text(
            CONFIGURATION % (url.removeprefix("http://"), rules), encoding="utf-8"
        )
        command: list[str | Path] = [
            binary,
            f"--config.file={path / 'prometheus.yaml'}",
            f"--storage.tsdb.path={path / 'tsdb'}",
            f"--web.listen-address={address}",
        ]
        process = launch(command, path / "prometheus.log", ready, env=os.environ)
        try:
            yield Prometheus(address)
        finally:
            process.terminate()
            process.wait(BOUND)


def expressions() -> Iterator[tuple[str, str]]:
    """Each query with the title of its panel, with its variables as Grafana puts them in."""
    for panel in PANELS:
        for target in panel["targets"]:
            text = target["expr"].replace("$key_set", ".*").replace("$__rate_interval", "1m")
            assert "$" not in text, f"{panel['title']}: a variable that the dashboard does not have"
            yield panel["title"], text


def test_queries_and_rules_have_answers(tmp_path: Path) -> None:
    """Every query of every panel has series, and no rule fails on real ones."""
    program("prometheus")
    with scraping(tmp_path, everything(tmp_path)) as prometheus:
        prometheus.wait_for("count_over_time(rotator_build_info[1m]) > 3")
        for _, expression in expressions():  # a scrape that came too late is a gap, not an answer
            prometheus.wait_for(expression)
        prometheus.wait_for('ALERTS{alertname="RotatorOverdue"}')
        for _ in range(BOUND * 10):  # each group is evaluated in its own time
            rules = prometheus.rules()
            bad = {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"}
            if not bad:
                break
            threading.Event().wait(0.1)
        assert bad == {}
        for rule in rules:
            if rule["type"] == "recording":
                prometheus.wait_for(rule["name"])


def test_what_it_tells_lints() -> None:
    """The rule files hold before any server loads them."""
    promtool("check", "rules", *FILES)


def test_the_dashboard_is_put_together_well() -> None:
    """Ids are unique, panels lie beside one another, and each asks the data source that was chosen."""
    assert {item["name"] for item in DASHBOARD["templating"]["list"]} == {"datasource", "key_set"}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, f"{one} and {other} overlap"
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in PANELS:
        assert panel["datasource"] == chosen
        assert all(target["datasource"] == chosen for target in panel["targets"])
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references)) > 0


def test_the_chart_carries_the_same() -> None:
    """Helm reads no file outside of its chart."""
    chart = ROOT / "deploy" / "helm" / "rotator" / "files"
    originals = {file.name: file for file in FILES}
    originals["dashboard.json"] = ROOT / "deploy" / "grafana" / "rotator.json"
    for name, file in originals.items():
        assert (chart / name).read_bytes() == file.read_bytes(), f"copy {file} to {chart / name}"


THROUGH_THE_SDK: Final = """
import json, sys
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

register_default_plugins()
print(JSONEncoder().encode(Dashboard.from_json(json.load(sys.stdin))))
"""


def lost(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """What of a document is not the same, or gone, in another."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            yield from lost(value, after.get(name, "nothing"), f"{place}.{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{place}[{number}]")
    elif before != after:
        yield f"{place}: {before!r} became {after!r}"


def test_the_dashboard_is_one_to_grafana() -> None:
    """Through the types that Grafana makes from its schema, panels and queries included, nothing is lost."""
    if not SDK.is_dir():
        left_out("Grafana's SDK")
    done = subprocess.run(
        [sys.executable, "-c", THROUGH_THE_SDK],
        input=json.dumps(DASHBOARD),
        env={**os.environ, "PYTHONPATH": str(SDK)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(lost(DASHBOARD, json.loads(done.stdout))) == []
