"""`admin:` of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotator.settings import AdminSettings, InvalidSettings, Settings, load_settings
from rotator.settings.show import Resolved

BASE = """\
version: 1
stores: {local: {backend: file, path: store}}
key_sets:
  web:
    policy: {token_ttl: 15m, signer_lag: 5m}
    deliver: [{to: files, path: signing}]
    publish: [{to: file, path: jwks/jwks.json}]
"""


def load(path: Path, more: str, **environ: str) -> Settings:
    """Load the configuration with more lines at its end."""
    file = path / "rotator.yaml"
    file.write_text(BASE + more)
    return load_settings(file, environ)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", None),
        ("admin: {}", AdminSettings("127.0.0.1", 8081, 1000)),
        ('admin: {listen: "0.0.0.0:9100"}', AdminSettings("0.0.0.0", 9100, 1000)),
        ('admin: {listen: "[::1]:0", metrics_key_sets: 0}', AdminSettings("::1", 0, 0)),
    ],
)
def test_where_it_listens(tmp_path: Path, more: str, expected: AdminSettings | None) -> None:
    """Nowhere unless told to; then on the loopback unless told otherwise."""
    assert load(tmp_path, more).admin == expected


def test_from_the_environment(tmp_path: Path) -> None:
    """As every other key; `config show` says so."""
    environ = {"ROTATOR__ADMIN__LISTEN": "[::]:9100"}
    assert load(tmp_path, "", **environ).admin == AdminSettings("::", 9100)
    shown = {
        path: (value, origin)
        for path, value, origin in Resolved(tmp_path / "rotator.yaml", environ).values()
    }
    assert shown["admin", "listen"][0] == "[::]:9100"
    assert "ROTATOR__ADMIN__LISTEN" in shown["admin", "listen"][1]
    assert shown["admin", "metrics_key_sets"] == (1000, "default")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("admin: {listen: 8081}", "must be HOST:PORT"),
        ("admin: {listen: ':8081'}", "must be HOST:PORT"),
        ("admin: {port: 1}", "unknown key"),
        ("admin: {metrics_key_sets: -1}", "greater than or equal to 0"),
        ("admin:", "has no value"),
        ('admin: {}\nserver: {listen: "0.0.0.0:8081"}', "port 8081 is that of `server.listen`"),
        (
            'admin: {listen: "[::]:1"}\nserver: {listen: "127.0.0.1:1"}',
            "give the admin listener another",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, more: str, said: str) -> None:
    """With the place and the way out."""
    with pytest.raises(InvalidSettings, match=said):
        load(tmp_path, more)


def test_two_listeners_on_one_host(tmp_path: Path) -> None:
    """Another port, another address, or a free port each time."""
    for admin, server in (("a:1", "a:2"), ("10.0.0.1:1", "10.0.0.2:1"), ("a:0", "a:0")):
        more = f'admin: {{listen: "{admin}"}}\nserver: {{listen: "{server}"}}'
        assert load(tmp_path, more).admin is not None
