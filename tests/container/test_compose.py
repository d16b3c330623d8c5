"""deploy/compose.yaml: every service's command run as a process, through a rotation, with no token rejected."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.container.compose import Composition
from tests.container.images import ROOT, Image
from tests.container.sandbox import need_namespaces

DEPLOY = ROOT / "deploy"
# The shortest that the contract allows, in place of what a person can follow.
_SHORT = {"PROPAGATION": "5s", "VERIFIER_CACHE": "1s", "CLOCK_SKEW": "1s", "RESYNC": "1s"}
_POLICY = {f"ROTATOR__DEFAULTS__POLICY__{name}": text for name, text in _SHORT.items()}
ENVIRON = {"rotator": _POLICY, "verifier": {"CACHE": "1"}}


@pytest.fixture
def composition(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Composition]:
    """The services, none of them started; in the built image where there is one."""
    need_namespaces()
    heavy = bool(os.environ.get("ROTATOR_CONTAINER"))
    image: Image | None = request.getfixturevalue("image") if heavy else None
    made = Composition(tmp_path, image, ENVIRON)
    try:
        yield made
    finally:
        made.close()


def until(reached: Callable[[], bool], told: Callable[[], str]) -> None:
    """Wait for a condition, for two minutes at most."""
    deadline = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < deadline, told()
        threading.Event().wait(0.1)


@pytest.mark.timeout(900)
def test_every_service_through_a_rotation(composition: Composition) -> None:
    """Started in their order; the first key signs, `rotate --now` brings another, and the verifier rejects nothing."""
    assert list(composition.services) == [
        *("vault", "vault-setup", "rotator", "nginx", "issuer", "verifier")
    ]
    composition.start("vault")
    healthy = composition.services["vault"]["healthcheck"]["test"][1:]
    until(
        lambda: composition.run("vault", *healthy).returncode == 0,
        lambda: composition.log("vault"),
    )
    done = composition.run("vault-setup")
    assert done.returncode == 0, done.stderr
    for name in ("rotator", "nginx", "issuer", "verifier"):
        composition.start(name)

    def lines() -> list[dict[str, object]]:
        text = composition.log("verifier")
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def kids() -> list[object]:
        return [line["kid"] for line in lines() if line["event"] == "verified"]

    def told() -> str:
        return "\n".join(composition.log(name)[-3000:] for name in ("rotator", "nginx", "verifier"))

    until(lambda: bool(kids()), told)
    first = kids()[0]
    assert composition.run("rotator", "rotator", "healthcheck").returncode == 0
    ordered = composition.run("rotator", "rotator", "rotate", "--now")
    assert ordered.returncode == 0, ordered.stderr
    until(lambda: kids()[-1] != first, told)
    assert not [line for line in lines() if line["event"] == "rejected"], told()
    for name in ("vault", "nginx", "issuer"):
        composition.log(name)
    status = composition.run("rotator", "rotator", "status", "--live")
    assert status.returncode == 0, status.stderr
    assert str(kids()[-1]) in status.stdout


def test_the_web_servers_part_is_what_the_configuration_makes() -> None:
    """`rotator edge-config nginx` would print the file that lies there."""
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "rotator"),
            *("--config", DEPLOY / "compose" / "rotator.yaml", "edge-config", "nginx"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (DEPLOY / "compose" / "rotator-jwks.conf").read_text(encoding="utf-8")
