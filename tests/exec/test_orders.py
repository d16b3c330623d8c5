"""What is refused before anything is started: words that do not fit together, and a contract without time."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from click.testing import CliRunner

from rotator.cli.exec import exec as command
from rotator.cli.options import Options
from rotator.errors import ConfigError, RotatorError, StoreCorrupt, UsageError
from rotator.exec.document import check_follows, forms, parse, render
from rotator.exec.orders import Orders, Ready
from tests.exec.bench import Bench

HUP = signal.SIGHUP


def orders(**more: Any) -> Orders:
    """Orders that can be followed, but for what the test changes."""
    made: dict[str, Any] = {
        "command": ("true",),
        "key_set": "web",
        "signer_lag": 60.0,
        "every": 15.0,
        "wait": 60.0,
        "file": "signing",
        "environ": {},
        "replace": None,
        "notify_by": None,
        "stop_signal": signal.SIGTERM,
        "stop_timeout": 10.0,
        "ready": Ready(),
        "fall_back": True,
    }
    return Orders(**made | more)


@pytest.mark.parametrize(
    ("more", "symmetric", "said"),
    [
        ({"file": "pem"}, True, "HMAC keys, which have no pem"),
        ({"environ": {"KEY": "pem"}}, True, "--env KEY=pem: a key of key set web has no such form"),
        ({"environ": {"KEY": "secret-hex"}}, False, "has no such form"),
        ({"environ": {"KEY": "wrong"}}, False, "has no such form"),
        ({"environ": {"KEY": "jwk"}, "notify_by": HUP}, False, "a signal would find the old key"),
        ({"file": "none", "notify_by": HUP}, False, "a signal would find the old key"),
        ({"file": "none", "replace": "@"}, False, "there is none with --file none"),
    ],
)
def test_what_does_not_fit(more: dict[str, Any], symmetric: bool, said: str) -> None:
    """Each is named, with the way out."""
    with pytest.raises(UsageError, match=said) as caught:
        orders(**more).check(symmetric=symmetric)
    assert caught.value.hint


def test_the_contract_needs_time() -> None:
    """The old command must have ended within `signer_lag`; with a signal it need not end."""
    orders(signer_lag=25.0).check(symmetric=False)
    orders(signer_lag=15.0, notify_by=HUP).check(symmetric=False)
    with pytest.raises(ConfigError) as caught:
        orders(signer_lag=24.0).check(symmetric=False)
    assert caught.value.message == (
        "signer_lag of key set web is 24s, and the old key could be in use for 25s after a new one was "
        "delivered (--every 15s + --stop-timeout 10s)"
    )
    assert "25s or more" in caught.value.hint


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which command?"),
        (["web"], "which command?"),
        (["web", "gunicorn", "--", "x"], "which command?"),
        (["--every", "15", "--", "x"], "has no unit"),
        (["--stop-signal", "TREM", "--", "x"], "is no signal"),
    ],
)
def test_words(words: list[str], said: str) -> None:
    """A command without its two dashes, a duration without its unit, a signal that is none."""
    result = CliRunner().invoke(command, words, obj=Options())
    text = result.output + str(result.exception)
    assert said in text
    assert isinstance(result.exception, UsageError | SystemExit)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--every", "0s"], "longer than 0s"),
        (["--env", "KEY"], "is not complete"),
        (["--on-change", "reload"], "takes `restart` or `signal:NAME`"),
        (["--on-change", "signal:NONE"], "is no signal"),
        (["--ready-url", "localhost:80"], "takes a URL"),
        (["--ready-notify", "--ready-after", "1s"], "two ways to tell when it is ready"),
    ],
)
def test_words_beside_a_configuration(bench: Bench, words: list[str], said: str) -> None:
    """They are refused in a process of their own, for `exec` changes the one that it runs in."""
    running = bench.exec(*words, "--", "true", "--json")
    assert running.wait() == 2
    assert said in running.err
    assert running.err.startswith("rotator: error: "), "--json after the dashes is the command's"


def test_documents(bench: Bench) -> None:
    """What is not as written is refused in words that quote no value; a later member is no reason to stop."""
    body = bench.signing.read_bytes()
    key = parse(body, "web")
    assert parse(body.replace(b'{"format"', b'{"later": 1, "format"'), "web").is_key_of(key)
    assert render(key, "signing") == body
    assert render(key, "pem").startswith(b"-----BEGIN PRIVATE KEY-----")
    for changed in (
        b"",
        b"[]",
        b"{" * 70_000,
        body.replace(b'"kid":"', b'"kid":"x', 1),
        body.replace(b'"pem"', b'"mep"'),
        body.replace(b'"revision":3', b'"revision":"3"'),
        body + b" " * 70_000,
    ):
        with pytest.raises(StoreCorrupt) as caught:
            parse(changed, "web")
        assert_says_nothing(caught.value, key.jwk["d"])
    with pytest.raises(StoreCorrupt, match="it was edited"):
        check_follows(parse(body.replace(key.kid.encode(), b"another"), "web"), key)


def assert_says_nothing(error: RotatorError, secret: str) -> None:
    """No part of a key is in an error."""
    assert secret not in repr(error) + str(error)


def test_help_lists_every_form() -> None:
    """Of `--env`, those of HMAC keys too; and the options for which one screen has no line."""
    words = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    for form in {*forms(symmetric=True), *forms(symmetric=False)}:
        assert form.removeprefix("secret") in words
    assert "--replace" in words
    assert "--if-not-ready" in words
