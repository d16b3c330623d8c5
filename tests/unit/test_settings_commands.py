"""`rotator init` and `rotator config`, as people run them: real processes, real exit codes."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rotator.settings import DeliverSettings, PublishSettings, load_settings
from rotator.stores import backend_names

GIVEN = ("--token-ttl", "15m", "--signer-lag", "5m")


def rotator(directory: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a directory, with nobody at the terminal."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ROTATOR")}
    return subprocess.run(
        [sys.executable, "-m", "rotator", *words],
        cwd=directory, env=environ | more, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip


def test_init_then_validate(tmp_path: Path) -> None:
    """What is written works at once; its directories are there, those with keys closed to others."""
    run = rotator(tmp_path, "init", *GIVEN)
    assert run.returncode == 0, run.stderr
    assert "wrote rotator.yaml" in run.stdout
    assert "rotator check" in run.stdout
    modes = {
        str(item.relative_to(tmp_path)): stat.S_IMODE(item.stat().st_mode)
        for item in tmp_path.rglob("*")
        if item.is_dir()
    }
    assert modes == {
        ".rotator": 0o755,
        ".rotator/store": 0o700,
        ".rotator/signing": 0o700,
        ".rotator/jwks": 0o755,
        ".rotator/jwks/web": 0o755,
    }
    for directory, mode in modes.items():
        assert f"{directory} ({mode:04o})" in run.stdout
    assert (tmp_path / ".rotator" / ".gitignore").read_text() == "*\n"
    assert rotator(tmp_path, "config", "validate").returncode == 0
    settings = load_settings(tmp_path / "rotator.yaml", {})
    (delivery,), (publication,) = settings.key_sets["web"].deliver, settings.key_sets["web"].publish
    assert isinstance(delivery, DeliverSettings)
    assert delivery.path.parent.is_dir()
    assert isinstance(publication, PublishSettings)
    assert publication.path.parent.is_dir()


@pytest.mark.parametrize("backend", backend_names())
def test_init_for_every_backend(tmp_path: Path, backend: str) -> None:
    """Each backend shows its options such that the configuration is valid as written."""
    run = rotator(tmp_path, "init", *GIVEN, "--backend", backend)
    assert run.returncode == 0, run.stderr
    (store,) = load_settings(tmp_path / "rotator.yaml", {}).stores.values()
    assert store.backend == backend
    assert (tmp_path / ".rotator" / "store").exists() == (backend == "file")


def test_init_for_an_unknown_backend(tmp_path: Path) -> None:
    """Exit 78, the installed ones named, nothing written."""
    run = rotator(tmp_path, "init", *GIVEN, "--backend", "chest")
    assert run.returncode == 78
    assert "file" in run.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--token-ttl and --signer-lag are missing"),
        (("--token-ttl", "15m"), "--signer-lag is missing"),
        (("--token-ttl", "15", "--signer-lag", "5m"), "write `15s`"),
        (("--token-ttl", "0s", "--signer-lag", "5m"), "longer than `0s`"),
        (("--token-ttl", "3000d", "--signer-lag", "5m"), "the smallest safe value"),
        ((*GIVEN, "--key-set", "Web"), "cannot be the name"),
        ((*GIVEN, "--path", "rotator.conf"), "what is written is YAML"),
        ((*GIVEN, "--algorithm", "none"), "none"),
    ],
)
def test_init_refuses(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """Exit 2, one sentence with the way out, nothing written."""
    run = rotator(tmp_path, "init", *words)
    assert run.returncode == 2
    assert said in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_init_never_overwrites(tmp_path: Path) -> None:
    """Only with `--force`; a link is replaced, not what it leads to."""
    (tmp_path / "mine.yaml").write_text("mine")
    (tmp_path / "rotator.yaml").symlink_to("mine.yaml")
    run = rotator(tmp_path, "init", *GIVEN)
    assert run.returncode == 2
    assert "--force" in run.stderr
    assert (tmp_path / "mine.yaml").read_text() == "mine"
    assert not (tmp_path / ".rotator").exists()
    assert rotator(tmp_path, "init", *GIVEN, "--force").returncode == 0
    assert (tmp_path / "mine.yaml").read_text() == "mine"
    assert load_settings(tmp_path / "rotator.yaml", {}).key_sets
    assert not [item for item in tmp_path.iterdir() if item.name.startswith(".rotator.yaml")]


def test_init_elsewhere(tmp_path: Path) -> None:
    """A directory that is not there is named; another path goes into the next commands."""
    run = rotator(tmp_path, "init", *GIVEN, "--path", "a/b.yaml")
    assert run.returncode == 78
    assert "mkdir -p a" in run.stderr
    (tmp_path / "a").mkdir()
    run = rotator(tmp_path, "init", *GIVEN, "--path", "a/b.yaml", "--algorithm", "HS256", "--json")
    assert run.returncode == 0
    document = json.loads(run.stdout)
    assert document["format"] == "rotator.init/1"
    assert document["next"][0] == "rotator check --config a/b.yaml"
    assert (tmp_path / "a" / ".rotator" / "verification").is_dir()


def test_init_writes_what_config_names(tmp_path: Path) -> None:
    run = rotator(tmp_path, "--config", "a.yaml", "init", *GIVEN)
    assert run.returncode == 0, run.stderr
    assert "rotator check --config a.yaml" in run.stdout
    assert sorted(path.name for path in tmp_path.glob("*.yaml")) == ["a.yaml"]
    assert rotator(tmp_path, "init", *GIVEN, "-c", "a.yaml", "--path", "b.yaml").returncode == 0
    assert (tmp_path / "b.yaml").is_file()


def test_init_asks_on_a_terminal(tmp_path: Path) -> None:
    """The two questions, asked again after an answer that is none."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "rotator", "init"],
        cwd=tmp_path,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    os.write(controller, b"soon\n15m\n5m\n")
    heard = b""
    while True:
        try:
            part = os.read(controller, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        heard += part
    assert process.wait(timeout=60) == 0
    os.close(controller)
    assert b"not a duration" in heard
    policy = load_settings(tmp_path / "rotator.yaml", {}).key_sets["web"].policy
    assert (policy.token_ttl.total_seconds(), policy.signer_lag.total_seconds()) == (900, 300)


def test_no_configuration(tmp_path: Path) -> None:
    """Exit 78, with both places and the command that makes one."""
    run = rotator(tmp_path, "config", "validate")
    assert run.returncode == 78
    assert "./rotator.yaml" in run.stderr
    assert "/etc/rotator/rotator.yaml" in run.stderr
    assert "rotator init" in run.stderr


def test_validate_names_every_fault(tmp_path: Path) -> None:
    """Exit 78, for people on stderr, for programs on stdout."""
    assert rotator(tmp_path, "init", *GIVEN).returncode == 0
    path = tmp_path / "rotator.yaml"
    text = (
        path.read_text()
        .replace("propagation: 24h", "propagation: 1m")
        .replace("    issuer", "    isuer")
        .replace("resync: 5m", "resync: 5")
    )
    path.write_text(text)
    line = text.splitlines().index("    propagation: 1m") + 1
    run = rotator(tmp_path, "config", "validate")
    assert run.returncode == 78
    assert run.stdout == ""
    assert "write `5s`" in run.stderr
    run = rotator(tmp_path, "config", "validate", "--json")
    assert run.returncode == 78
    document = json.loads(run.stdout)
    assert document["valid"] is False
    assert [fault["path"] for fault in document["faults"]] == ["defaults.policy.resync"]
    path.write_text(text.replace("resync: 5\n", "resync: 5m\n"))
    run = rotator(tmp_path, "config", "validate")
    assert (
        f"rotator.yaml:{line}: key_sets.web.policy.propagation: propagation 1m is unsafe"
        in run.stderr
    )
    assert (
        "jwks_max_age 5m + jwks_stale 6h + verifier_cache 1h + clock_skew 5m + resync 5m = 7h15m"
        in run.stderr
    )


def test_show(tmp_path: Path) -> None:
    """Every value with its origin, for people and for programs."""
    assert rotator(tmp_path, "init", *GIVEN).returncode == 0
    run = rotator(tmp_path, "config", "show", ROTATOR__DEFAULTS__POLICY__LEEWAY="6m")
    lines = [line.split(maxsplit=2) for line in run.stdout.splitlines()[1:]]
    shown = {line[0]: tuple(line[1:]) for line in lines}
    assert shown["key_sets.web.policy.leeway"] == (
        "6m",
        "# environment ROTATOR__DEFAULTS__POLICY__LEEWAY",
    )
    assert shown["key_sets.web.policy.max_keys"] == ("10", "# default")
    assert shown["key_sets.web.policy.token_ttl"][1].startswith("# rotator.yaml:")
    document = json.loads(rotator(tmp_path, "config", "show", "--json", "web").stdout)
    assert document["format"] == "rotator.config/1"
    assert {"path": "key_sets.web.default", "value": False, "origin": "default"} in document[
        "values"
    ]
    run = rotator(tmp_path, "config", "show", "wbe")
    assert run.returncode == 2
    assert "did you mean `web`?" in run.stderr


def test_show_options_of_targets(tmp_path: Path) -> None:
    """Those of a bucket and of an API server stand by their own keys, as people write them, in both formats."""
    (tmp_path / "rotator.yaml").write_text(
        """\
version: 1
stores: {local: {backend: file, path: store}}
key_sets:
  web:
    policy: {token_ttl: 15m, signer_lag: 5m}
    deliver:
      - {to: secret, name: web, kubeconfig: kube, labels: {app: issuer}}
    publish:
      - to: s3
        bucket: jwks-example
        region: eu-central-1
        read_timeout: 3s
        cloudfront: {distribution: E2EXAMPLE}
"""
    )
    text = rotator(tmp_path, "config", "show").stdout
    # The column of values is as wide as the longest, which is a path of this test.
    assert max(map(len, text.splitlines())) < 100 + len(str(tmp_path))
    run = rotator(tmp_path, "config", "show", "--json")
    values = {item["path"]: item for item in json.loads(run.stdout)["values"]}
    publish, deliver = "key_sets.web.publish[0]", "key_sets.web.deliver[0]"
    assert values[f"{publish}.bucket"]["value"] == "jwks-example"
    assert values[f"{publish}.bucket"]["origin"] == "rotator.yaml:10"
    assert values[f"{publish}.read_timeout"]["value"] == "3s"
    assert values[f"{publish}.connect_timeout"]["origin"] == "default"
    assert values[f"{publish}.cloudfront.distribution"]["value"] == "E2EXAMPLE"
    assert values[f"{deliver}.kubeconfig"]["value"] == str(tmp_path / "kube")
    assert values[f"{deliver}.labels"]["value"] == {"app": "issuer"}
    assert values[f"{deliver}.read_timeout"]["value"] == "10s"
    assert not any(".options" in path or ".cluster" in path for path in values)


def test_schema(tmp_path: Path) -> None:
    """One JSON document, without a configuration being there."""
    run = rotator(tmp_path, "config", "schema")
    assert run.returncode == 0
    assert json.loads(run.stdout)["$schema"].endswith("2020-12/schema")


@pytest.mark.parametrize(
    "words",
    [("init",), ("config",), ("config", "show"), ("config", "validate"), ("config", "schema")],
)
def test_help_fits_a_screen(tmp_path: Path, words: tuple[str, ...]) -> None:
    """24 lines of 80 characters."""
    lines = rotator(tmp_path, *words, "--help").stdout.splitlines()
    assert 3 < len(lines) <= 24
    assert max(map(len, lines)) <= 80
