"""What a valid configuration becomes: defaults, paths, fleets, the environment, origins."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.policy import Standby
from rotator.settings import (
    DeliverSettings,
    InvalidSettings,
    ProbeSettings,
    PublishSettings,
    ServerSettings,
    Settings,
    load_settings,
)
from rotator.settings.show import HIDDEN, Resolved
from rotator.stores import DocumentKind

CONFIG = """\
version: 1
state_dir: state
stores:
  local: {backend: file, path: store}
defaults:
  algorithm: PS256
  key_size: 2048
  policy:
    token_ttl: 15m
    signer_lag: 5m
    leeway: 1m
key_sets:
  web-1:
    default: true
    issuer: https://issuer.example
    policy: {leeway: 2m, standby: just-in-time, rotate_every: 30d}
    deliver:
      - {to: files, path: /srv/signing, mode: 0640, group: issuer}
    publish:
      - {to: file, path: ../jwks.json, mode: '0644'}
    probes:
      - https://issuer.example/jwks.json
      - {url: "https://edge.example/jwks.json", all_addresses: true}
  ec:
    algorithm: ES256
    verifiers: [aspnet]
    deliver: [{to: files, path: signing/ec}]
  mac:
    algorithm: HS512
    policy: {propagation: 1h10m}
    deliver:
      - {to: files, path: signing/mac}
      - {to: files, path: verification/mac, document: verification}
server: {listen: "[::1]:0"}
combine:
  /all/jwks.json: [ec]
"""


def delivered(settings: Settings, key_set: str) -> Path:
    """Return the directory of a key set's first delivery."""
    first = settings.key_sets[key_set].deliver[0]
    assert isinstance(first, DeliverSettings)
    return first.path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the configuration above, in a directory of its own."""
    path = tmp_path / "etc" / "rotator.yaml"
    path.parent.mkdir()
    path.write_text(CONFIG)
    return path


def test_everything_arrives(path: Path, tmp_path: Path) -> None:
    """Each value of the file, below defaults and with absolute paths."""
    settings = load_settings(path, {})
    here = path.parent
    assert settings.source == path
    assert settings.state_dir == here / "state"
    assert settings.public_dir == here / "state" / "public"
    assert settings.stores["local"].options.path == here / "store"
    assert settings.server == ServerSettings("::1", 0)
    assert settings.combine == {"/all/jwks.json": ("ec",)}
    web, ec, mac = settings.key_sets.values()
    assert (web.name, web.store, web.default, web.issuer) == (
        "web-1",
        "local",
        True,
        "https://issuer.example",
    )
    assert (web.policy.kind.algorithm, web.policy.kind.size) == ("PS256", 2048)
    assert (web.policy.token_ttl, web.policy.leeway) == (
        timedelta(minutes=15),
        timedelta(minutes=2),
    )
    assert web.policy.standby is Standby.JUST_IN_TIME
    assert web.deliver == (
        DeliverSettings("files", Path("/srv/signing"), DocumentKind.SIGNING, 0o640, "issuer"),
    )
    assert web.publish == (PublishSettings("file", tmp_path / "jwks.json", 0o644),)
    assert web.probes == (
        ProbeSettings("https://issuer.example/jwks.json"),
        ProbeSettings("https://edge.example/jwks.json", all_addresses=True),
    )
    assert (ec.policy.kind.size, ec.policy.leeway) == (256, timedelta(minutes=5))
    assert ec.policy.verifier_cache == timedelta(hours=12, minutes=36)
    assert ec.verifiers == ("aspnet",)
    assert [item.document for item in mac.deliver] == [
        DocumentKind.SIGNING,
        DocumentKind.VERIFICATION,
    ]
    assert mac.policy.kind.symmetric


def test_frozen(path: Path) -> None:
    """Nothing changes a configuration after it was checked."""
    settings = load_settings(path, {})
    with pytest.raises(FrozenInstanceError):
        settings.key_sets["ec"].name = "x"  # type: ignore[misc]


def test_json_and_toml_mean_the_same(path: Path) -> None:
    """The three formats give the same settings."""
    wanted = load_settings(path, {})
    data = {
        "version": 1,
        "state_dir": "state",
        "stores": {"local": {"backend": "file", "path": "store"}},
        "defaults": {"policy": {"token_ttl": "15m", "signer_lag": "5m", "leeway": "1m"}},
        "key_sets": {
            "ec": {
                "algorithm": "ES256",
                "verifiers": ["aspnet"],
                "deliver": [{"to": "files", "path": "signing/ec"}],
            }
        },
        "server": {"listen": "[::1]:0"},
    }
    path.with_suffix(".json").write_text(json.dumps(data))
    path.with_suffix(".toml").write_text(
        'version = 1\nstate_dir = "state"\n[stores.local]\nbackend = "file"\npath = "store"\n'
        '[defaults.policy]\ntoken_ttl = "15m"\nsigner_lag = "5m"\nleeway = "1m"\n'
        '[key_sets.ec]\nalgorithm = "ES256"\nverifiers = ["aspnet"]\n'
        '[[key_sets.ec.deliver]]\nto = "files"\npath = "signing/ec"\n[server]\nlisten = "[::1]:0"\n'
    )
    for suffix in (".json", ".toml"):
        assert load_settings(path.with_suffix(suffix), {}).key_sets["ec"] == wanted.key_sets["ec"]


def test_where_state_goes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the file; and a relative name of the file makes no difference."""
    path.write_text(CONFIG.replace("state_dir: state\n", ""))
    assert load_settings(path, {}).state_dir == path.parent / ".rotator"
    monkeypatch.chdir(path.parent)
    settings = load_settings(None, {})
    assert settings.state_dir == path.parent / ".rotator"
    assert settings.source == path


def test_state_of_a_configuration_below_etc() -> None:
    """`/etc` holds no state."""
    from rotator.settings.load import Loader
    from rotator.settings.models import Root

    loader = Loader.__new__(Loader)
    loader.directory = Path("/etc/rotator")
    assert loader._state_dir(Root()) == Path("/var/lib/rotator")


def test_links_are_kept(path: Path, tmp_path: Path) -> None:
    """A ConfigMap is a link into a directory that changes; paths are relative to where the link is."""
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    (mounted / "rotator.yaml").symlink_to(path)
    assert load_settings(mounted / "rotator.yaml", {}).state_dir == mounted / "state"


def test_home_is_expanded(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` works in every path."""
    monkeypatch.setenv("HOME", str(tmp_path))
    path.write_text(
        CONFIG.replace("path: store", "path: ~/store")
        .replace("/srv/signing", "~/s")
        .replace("dir: state", "dir: ~/st")
    )
    settings = load_settings(path, {})
    assert settings.stores["local"].options.path == tmp_path / "store"
    assert delivered(settings, "web-1") == tmp_path / "s"
    assert settings.state_dir == tmp_path / "st"


def test_digest(path: Path) -> None:
    """Stable between processes, different for every difference of the policy, blind to all else."""
    digest = load_settings(path, {}).key_sets["ec"].digest
    path.write_text(CONFIG.replace("signing/ec", "elsewhere"))
    assert load_settings(path, {}).key_sets["ec"].digest == digest
    for old, new in (
        ("token_ttl: 15m", "token_ttl: 16m"),
        ("ES256", "ES384"),
        ("[aspnet]", "[pyjwt]"),
    ):
        path.write_text(CONFIG.replace(old, new))
        assert load_settings(path, {}).key_sets["ec"].digest != digest
    code = "import sys, pathlib; from rotator.settings import load_settings; print(load_settings(pathlib.Path(sys.argv[1]), {}).key_sets['ec'].digest)"
    path.write_text(CONFIG)
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == digest


def fleet(directory: Path, files: dict[str, str]) -> Path:
    """Write a configuration with a directory of key sets; return its path."""
    sets = directory / "sets"
    sets.mkdir()
    for name, text in files.items():
        (sets / name).write_text(text)
    path = directory / "rotator.yaml"
    path.write_text(
        "version: 1\nstores: {local: {backend: file, path: store}}\n"
        "defaults: {policy: {token_ttl: 15m, signer_lag: 5m}}\nkey_sets_dir: sets\n"
    )
    return path


def one(name: str) -> str:
    """Return the file of a key set."""
    return f"deliver:\n- {{to: files, path: s/{name}}}\npublish:\n- {{to: file, path: j/{name}}}\n"


def test_key_sets_in_files(tmp_path: Path) -> None:
    """Named after their files, in any format; what is hidden or called otherwise is left alone."""
    files = {
        "b.yml": one("b"),
        "a.yaml": one("a"),
        ".c.yaml": "[",
        "..data.yaml": "[",
        "README": "[",
        "d.yaml.bak": "[",
    }
    files["e.json"] = json.dumps(
        {"deliver": [{"to": "files", "path": "s/e"}], "publish": [{"to": "file", "path": "j/e"}]}
    )
    settings = load_settings(fleet(tmp_path, files), {})
    assert list(settings.key_sets) == ["a", "b", "e"]
    assert delivered(settings, "a") == tmp_path / "s" / "a"
    # Equal policies are one object: ten thousand key sets are light.
    assert settings.key_sets["a"].policy is settings.key_sets["b"].policy


def test_faults_of_files(tmp_path: Path) -> None:
    """One broken file hides no other; each fault has its file, its line and its full path."""
    files = {
        "a.yaml": one("a") + "policy: {propagation: 1m}\n",
        "b.yaml": "",
        "c.yaml": "x: [\n",
        "d.yaml": one("a"),
        "e.json": '{"deliver": [\n {"to": "files", "path": "s/e", "moed": 1}]}',
        "f.yaml": one("f"),
        "f.json": "{}",
        "Gross.yaml": one("g"),
        "big.yaml": "#" * (1 << 20) + "\na: 1\n",
    }
    with pytest.raises(InvalidSettings) as caught:
        load_settings(fleet(tmp_path, files), {})
    said = {str(fault).removeprefix(f"{tmp_path}/sets/") for fault in caught.value.faults}
    for start, words in {
        "a.yaml:5: key_sets.a.policy.propagation: ": "smallest safe value",
        "b.yaml: key_sets.b: ": "is empty",
        "c.yaml:2: key_sets.c: ": "is not YAML",
        "d.yaml:2: key_sets.d.deliver[0].path: ": "one address belongs to one key set",
        "e.json:2: key_sets.e.deliver[0].moed: ": "did you mean `mode`?",
        "f.yaml: key_sets.f: ": "remove one of the two",
        "Gross.yaml:1: key_sets.Gross: ": "cannot be the name",
        "big.yaml: key_sets.big: ": "larger than 1 MiB",
    }.items():
        assert any(line.startswith(start) and words in line for line in said), (start, said)


def test_directory_of_key_sets_gone(tmp_path: Path) -> None:
    """Not an empty fleet."""
    path = fleet(tmp_path, {})
    (tmp_path / "sets").rmdir()
    with pytest.raises(InvalidSettings) as caught:
        load_settings(path, {})
    assert "cannot be listed" in str(caught.value)


def test_environment(path: Path) -> None:
    """Overrides of every kind of value; names in any case, `_` for `-`."""
    settings = load_settings(
        path,
        {
            "ROTATOR__KEY_SETS__WEB_1__POLICY__TOKEN_TTL": "30m",
            "ROTATOR__KEY_SETS__EC__POLICY__MAX_KEYS": "7",
            "ROTATOR__KEY_SETS__EC__VERIFIERS": '["envoy"]',
            "ROTATOR__DEFAULTS__POLICY__CLOCK_SKEW": "1m",
            "ROTATOR__KEY_SETS__WEB_1__DEFAULT": "false",
            "ROTATOR__SERVER__LISTEN": "0.0.0.0:80",
            "rotator__state_dir": "elsewhere",
            "ROTATOR__COMBINE": "{}",
            "ROTATOR_CONFIG": "/nowhere",
            "HOME": "/",
        },
    )
    assert settings.key_sets["web-1"].policy.token_ttl == timedelta(minutes=30)
    assert settings.key_sets["ec"].policy.max_keys == 7
    assert settings.key_sets["ec"].policy.clock_skew == timedelta(minutes=1)
    assert settings.key_sets["ec"].verifiers == ("envoy",)
    assert not settings.key_sets["web-1"].default
    assert settings.server == ServerSettings("0.0.0.0", 80)
    assert settings.state_dir == path.parent / "elsewhere"
    assert settings.combine == {}


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ROTATOR__SERVR__LISTEN", "x:1", "unknown key; did you mean `server`?"),
        ("ROTATOR__KEY_SETS__EC__POLICY__TOKN_TTL", "1m", "unknown key; did you mean `token_ttl`?"),
        ("ROTATOR__KEY_SETS__WEB_2__DEFAULT", "true", "adds no key set; did you mean `web-1`?"),
        ("ROTATOR__STORES__OTHER__PATH", "x", "adds no store; known are local"),
        ("ROTATOR__KEY_SETS__EC__POLICY__TOKEN_TTL", "30", "write `30s`"),
        ("ROTATOR__KEY_SETS__EC__VERIFIERS", "[envoy]", "not JSON"),
        ("ROTATOR__STATE_DIR__X", "1", "needs a mapping"),
        ("ROTATOR__", "1", "is no path"),
        ("ROTATOR__NOTIFY", "x", "must be a mapping of keys to values"),
        (
            "ROTATOR__STORES__LOCAL__PATH_FILE",
            "/nowhere/at/all",
            "cannot read the file that it names: No such file",
        ),
    ],
)
def test_faults_of_the_environment(path: Path, variable: str, value: str, said: str) -> None:
    """They are like those of the file, and name the variable."""
    with pytest.raises(InvalidSettings) as caught:
        load_settings(path, {variable: value})
    (fault,) = caught.value.faults
    assert str(fault).startswith(f"environment {variable}")
    assert said in fault.text


def test_values_from_files(path: Path, tmp_path: Path) -> None:
    """`_FILE` reads a value, without the newline that editors add; never shown, neither good nor bad."""
    secret = tmp_path / "value"
    secret.write_text("from-a-file\n")
    variable = "ROTATOR__STORES__LOCAL__PATH_FILE"
    resolved = Resolved(path, {variable: str(secret)})
    assert resolved.settings.stores["local"].options.path == path.parent / "from-a-file"
    shown = {
        ".".join(str(part) for part in at): (value, origin)
        for at, value, origin in resolved.values()
    }
    assert shown["stores.local.path"] == (HIDDEN, f"environment {variable}")
    secret.write_text("pl4nted")
    with pytest.raises(InvalidSettings) as caught:
        load_settings(path, {"ROTATOR__STORES__LOCAL__CREATE_FILE": str(secret)})
    assert "pl4nted" not in str(caught.value)
    secret.write_bytes(b"x" * 70_000)
    with pytest.raises(InvalidSettings, match="larger than 64 KiB"):
        load_settings(path, {variable: str(secret)})
    secret.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidSettings, match="not text"):
        load_settings(path, {variable: str(secret)})


def test_environment_reaches_files(tmp_path: Path) -> None:
    """A key set of `key_sets_dir` is overridden like any other."""
    path = fleet(tmp_path, {"a.yaml": one("a"), "b-c.yaml": one("b")})
    settings = load_settings(path, {"ROTATOR__KEY_SETS__B_C__POLICY__TOKEN_TTL": "1h"})
    assert settings.key_sets["b-c"].policy.token_ttl == timedelta(hours=1)
    assert settings.key_sets["a"].policy.token_ttl == timedelta(minutes=15)


def test_origins(path: Path) -> None:
    """Every value says where it comes from."""
    environ = {"ROTATOR__KEY_SETS__EC__POLICY__RESYNC": "1m"}
    found = {
        ".".join(str(part) for part in at): (value, origin)
        for at, value, origin in Resolved(path, environ).values()
    }
    for at, value, origin in [
        ("state_dir", str(path.parent / "state"), f"{path}:2"),
        ("stores.local.backend", "file", f"{path}:4"),
        ("stores.local.create", True, "default"),
        ("key_sets.web-1.algorithm", "PS256", f"{path}:6"),
        ("key_sets.web-1.policy.leeway", "2m", f"{path}:16"),
        ("key_sets.web-1.policy.token_ttl", "15m", f"{path}:9"),
        ("key_sets.web-1.policy.clock_skew", "5m", "default"),
        ("key_sets.web-1.policy.grace", "32m", "computed"),
        ("key_sets.web-1.deliver.0.mode", "0640", f"{path}:18"),
        ("key_sets.web-1.probes.0.url", "https://issuer.example/jwks.json", f"{path}:22"),
        ("key_sets.ec.policy.verifier_cache", "12h36m", "profile aspnet"),
        ("key_sets.ec.policy.leeway", "5m", "profile aspnet"),
        ("key_sets.ec.policy.resync", "1m", "environment ROTATOR__KEY_SETS__EC__POLICY__RESYNC"),
        ("server.listen", "[::1]:0", f"{path}:34"),
    ]:
        assert found[at] == (value, origin), at


def test_ten_thousand_key_sets_are_light(tmp_path: Path) -> None:
    """Two thousand here; the documents are let go of, and only plain classes stay."""
    text = json.dumps
    files = {
        f"k{n}.json": text(
            {
                "deliver": [{"to": "files", "path": f"s/{n}"}],
                "publish": [{"to": "file", "path": f"j/{n}"}],
            }
        )
        for n in range(2000)
    }
    path = fleet(tmp_path, files)
    code = (
        "import sys, pathlib\nfrom rotator.settings import load_settings\n"
        "print(len(load_settings(pathlib.Path(sys.argv[1]), {}).key_sets))\n"
        # The kernel's own figure: ru_maxrss would begin with that of the process that forked this one.
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print(next(int(row.split()[1]) // 1024 for row in status.splitlines() if 'VmHWM' in row))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    count, megabytes = map(int, run.stdout.split())
    assert count == 2000
    assert megabytes < 100


def test_what_is_imported(path: Path) -> None:
    """The face costs nothing; loading takes pydantic and ruamel.yaml, and nothing that a no-op does not need."""
    code = (
        "import sys, pathlib\nimport rotator.settings\n"
        "assert not {'pydantic', 'ruamel', 'ruamel.yaml'} & set(sys.modules)\n"
        "rotator.settings.load_settings(pathlib.Path(sys.argv[1]), {})\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    heavy = {
        "cryptography",
        "joserfc",
        "apscheduler",
        "granian",
        "urllib3",
        "click",
        "structlog",
        "asyncio",
        "pydantic_settings",
    }
    assert not heavy & set(run.stdout.split())


def test_plain_types(path: Path) -> None:
    """No pydantic model but the backend's own gets out."""
    settings = load_settings(path, {})
    assert isinstance(settings, Settings)
    assert all(
        type(item).__module__ == "rotator.settings.result" for item in settings.key_sets.values()
    )
    assert "token" not in repr(settings.stores)
    assert str(path.parent / "store") not in repr(settings.stores)
