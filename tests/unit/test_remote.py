"""Settings that all stores elsewhere share, and the secrets that never stand in a configuration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from rotator.errors import StoreDenied
from rotator.plugin import RemoteSettings, read_secret


def test_durations_have_units() -> None:
    """Seconds inside, units outside."""
    settings = RemoteSettings.model_validate({"connect_timeout": "500ms", "patience": "1m"})
    assert (settings.connect_timeout, settings.read_timeout, settings.patience) == (0.5, 10.0, 60.0)
    for wrong in (3, "3", "11m", "0s", None, -1.0):
        with pytest.raises(ValidationError):
            RemoteSettings.model_validate({"connect_timeout": wrong})
    with pytest.raises(ValidationError):
        RemoteSettings.model_validate({"attempts": 0})


def test_a_secret_from_a_file_is_read_anew(tmp_path: Path) -> None:
    """Platforms replace the file; the line end is no part of it."""
    file = tmp_path / "token"
    for value in ("first", "second"):
        file.write_text(f"{value}\n")
        assert read_secret("the token", file=file, env=None).reveal() == value.encode()


def test_a_secret_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read at each call too."""
    monkeypatch.setenv("SOME_TOKEN", "s3cret ")
    assert read_secret("the token", file=None, env="SOME_TOKEN").reveal() == b"s3cret"


@pytest.mark.parametrize("how", ["missing", "empty", "directory", "fifo", "too long"])
def test_no_secret_is_denied(tmp_path: Path, how: str) -> None:
    """The message names the file and the way out, and never hangs on a pipe."""
    file = tmp_path / "token"
    if how == "empty":
        file.write_text(" \n")
    elif how == "directory":
        file.mkdir()
    elif how == "fifo":
        os.mkfifo(file)
    elif how == "too long":
        file.write_text("x" * ((1 << 20) + 1))
    with pytest.raises(StoreDenied, match="token") as raised:
        read_secret("the token", file=file, env=None)
    assert str(file) in str(raised.value)
    assert how != "missing" or raised.value.hint == "write it, or name another file"
    assert "xxx" not in str(raised.value)


@pytest.mark.parametrize("env", [None, "NOT_SET_HERE"])
def test_no_variable_is_denied(env: str | None) -> None:
    """The variable is named."""
    with pytest.raises(StoreDenied, match=env or "none"):
        read_secret("the token", file=None, env=env)
