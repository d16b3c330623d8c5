"""`make sbom` against what is really in the image, and `make audit` against advisory services that fail."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.container.images import ROOT, Image

CLEAN, BROKEN = 200, 500


def installed(image: Image) -> dict[str, str]:
    """Return what lies in the image's environment, name and version."""
    (site,) = (image.root / "opt" / "rotator" / "lib").glob("python3*/site-packages")
    found = (path.stem.rsplit("-", 1) for path in site.glob("*.dist-info"))
    return {canonicalize_name(name): version for name, version in found}


def test_the_sbom_lists_what_is_in_the_image(image: Image) -> None:
    """No more, no less, in these versions; and that is what the lock says for this Python."""
    (python,) = (path.name for path in (image.root / "opt" / "rotator" / "lib").iterdir())
    subprocess.run(["make", "sbom", f"PYTHON={python}"], cwd=ROOT, check=True, capture_output=True)
    sbom = json.loads((ROOT / "dist" / "sbom.cdx.json").read_text(encoding="utf-8"))
    assert sbom["bomFormat"] == "CycloneDX"
    listed = {canonicalize_name(part["name"]): part["version"] for part in sbom["components"]}
    ours = sbom["metadata"]["component"]
    assert ours["name"] == "jwks-rotator"
    assert listed | {ours["name"]: ours["version"]} == installed(image)
    assert all(part["purl"].startswith("pkg:pypi/") for part in sbom["components"])
    environment = {
        "python_version": python.removeprefix("python"),
        "python_full_version": python.removeprefix("python") + ".0",
        "extra": "",
    }
    lines = (ROOT / "requirements" / "all.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line.rstrip(" \\")) for line in lines if line[:1].isalnum()]
    assert listed == {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate(environment)
    }


@dataclass
class Advisories:
    """An advisory service that speaks OSV's API on loopback.

    Attributes:
        vulnerable: the packages that it knows something about.
        broken: the packages about which it has only an error to give.
        asked: whom it was asked about.
    """

    url: str = ""
    vulnerable: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)


@pytest.fixture
def advisories() -> Iterator[Advisories]:
    """A service that knows of nothing bad."""
    known = Advisories()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = question["package"]["name"]
            known.asked.add(name)
            found = {"id": "OSV-0", "modified": "2026-01-01T00:00:00Z", "affected": []}
            body = json.dumps({"vulns": [found]} if name in known.vulnerable else {}).encode()
            self.send_response(BROKEN if name in known.broken else CLEAN)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        known.url = f"http://127.0.0.1:{server.server_port}/"
        yield known
        server.shutdown()


def audit(words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the verb."""
    done = subprocess.run(
        ["make", "audit", f"AUDIT={words}"],
        cwd=ROOT,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent", **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    print(f"{words}: {done.returncode}")  # noqa: T201 - what the verb is to show
    return done


class TestAudit:
    """It may pass only when every package was looked up."""

    def test_nothing_is_known(self, advisories: Advisories) -> None:
        """Then, and only then, it passes; every package of the image was asked about."""
        done = audit(f"-s osv --osv-url {advisories.url}")
        assert done.returncode == 0, done.stderr
        assert {"cryptography", "botocore", "hvac", "hatchling"} <= advisories.asked

    def test_something_is_known(self, advisories: Advisories) -> None:
        """The advisory is named."""
        advisories.vulnerable = {"hvac"}
        done = audit(f"-s osv --osv-url {advisories.url}")
        assert done.returncode != 0
        assert "OSV-0" in done.stdout

    def test_one_package_cannot_be_looked_up(self, advisories: Advisories) -> None:
        """All others are clean, and still it fails."""
        advisories.broken = {"yarl"}
        assert audit(f"-s osv --osv-url {advisories.url}").returncode != 0

    def test_the_service_is_down(self) -> None:
        """Nothing listens."""
        assert audit("-s osv --osv-url http://127.0.0.1:9/").returncode != 0

    def test_the_default_service_cannot_be_reached(self) -> None:
        """A proxy that is not there stands for a network that is not there; nothing is asked outside this machine."""
        proxy = "http://127.0.0.1:9"
        assert audit("", HTTPS_PROXY=proxy, https_proxy=proxy).returncode != 0

    def test_a_package_that_the_service_does_not_know_is_a_failure(self) -> None:
        """pip-audit alone would leave it out and pass; this word makes it fail."""
        recipe = subprocess.run(
            ["make", "--dry-run", "audit"], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout
        assert " --strict " in recipe
