"""`check` says each cause once, however many targets it stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cli.bench import Bench, hold_against_schema


def test_a_library_that_is_not_there(tmp_path: Path) -> None:
    """A fault of the cluster; of its targets only that it is why they were not looked at."""
    absent = tmp_path / "absent" / "lightkube"
    absent.mkdir(parents=True)
    (absent / "__init__.py").write_text('raise ImportError("not here", name="lightkube")\n')
    document: dict[str, Any] = {
        "deliver": [
            {"to": "files", "path": "signing/web"},
            {"to": "secret", "namespace": "issuers", "name": "web"},
        ],
        "publish": [{"to": "configmap", "namespace": "issuers", "name": "web-jwks"}],
    }
    bench = Bench(tmp_path, key_set=document)
    ran = bench.run_from_nothing("check", "--json", env={"PYTHONPATH": str(absent.parent)})
    hold_against_schema(ran.json)
    assert ran.code == 78, ran
    faults = [item for item in ran.json["findings"] if item["level"] == "fault"]
    (fault,) = [item for item in faults if "lightkube" in item["text"]]
    assert fault["subject"].startswith("cluster ")
    told = [item["text"] for item in ran.json["findings"] if "fault of" in item["text"]]
    assert told == [f"not looked at in full: see the fault of {fault['subject']} above"]
