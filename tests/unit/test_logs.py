"""Logs: one line per event, JSON off a terminal, and nothing secret in them whatever is handed in."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import pty
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from rotator import lazy_log, logs
from rotator.algorithms import kind_of
from rotator.keys import Keys
from rotator.logs import HIDDEN, configure, emit, redact
from rotator.plugin import get_logger
from rotator.ring import Key, Phase
from rotator.secret import Secret
from rotator.step import Do, Reason, Step
from rotator.text_log import TextLines
from rotator.words import coming, in_words, shorten

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave the process's logging as it was found."""
    root = logging.getLogger()
    handlers, level, threshold = list(root.handlers), root.level, lazy_log._State.threshold
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    lazy_log._State.threshold, logs._State.handler = threshold, None
    structlog.reset_defaults()


def told(*, level: str = "info") -> io.StringIO:
    """Configure JSON logs into a buffer."""
    stream = io.StringIO()
    configure(level, "json", stream)
    return stream


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    """Read the lines of a buffer."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_json_object_per_line() -> None:
    """Timestamp in UTC, level and event come first; the fields follow."""
    stream = told()
    emit("info", "key.created", key_set="web", kid="a", due_at=datetime(2030, 1, 2, tzinfo=UTC))
    [event] = events(stream)
    assert list(event) == ["timestamp", "level", "event", "key_set", "kid", "due_at"]
    assert event["timestamp"].endswith("Z")
    assert event["level"] == "info"
    assert event["due_at"] == "2030-01-02T00:00:00Z"


def test_field_called_from_is_kept() -> None:
    """`from` is a word of Python, and a field of ours."""
    stream = told()
    emit("info", "key.promoted", **{"from": "pending", "to": "active"})
    assert events(stream)[0]["from"] == "pending"


def test_levels_filter() -> None:
    """Events below the level are dropped, from `emit` and from a backend's logger."""
    stream = told(level="warning")
    emit("info", "key.created")
    get_logger("file").debug("store.call")
    emit("warning", "target.failing")
    assert [event["event"] for event in events(stream)] == ["target.failing"]


def test_loggers_made_before_follow() -> None:
    """A backend's logger made at import writes where the program says later."""
    early = get_logger("file")
    stream = told(level="debug")
    early.debug("store.call", op="load")
    assert events(stream)[0] | {"component": "file", "op": "load"} == events(stream)[0]


def test_libraries_come_the_same_way_from_warning_up() -> None:
    """What urllib3, apscheduler or granian log is one more event; their DEBUG never shows."""
    stream = told(level="debug")
    logging.getLogger("urllib3.connectionpool").debug("payload %s", "x")
    logging.getLogger("apscheduler").warning("run of job %s was missed", "alarm")
    # Handed over directly: pytest's own handler raises for a message that cannot be formatted.
    wrong = logging.LogRecord("granian", 30, "app.py", 1, "%d", ("not a number",), None)
    assert logs._State.handler is not None
    logs._State.handler.handle(wrong)
    first, second = events(stream)
    assert first["event"] == "library.said"
    assert first["message"] == "run of job alarm was missed"
    assert second["message"] == "a message that cannot be formatted"


def test_configuring_twice_says_everything_once() -> None:
    """The second call replaces the first."""
    told()
    stream = told()
    logging.getLogger("apscheduler").error("once")
    assert len(events(stream)) == 1


def test_text_on_a_terminal_json_elsewhere(tmp_path: Path) -> None:
    """`auto` looks at the stream."""
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal:
        configure("info", "auto", terminal)
        emit("info", "key.created", key_set="web", reason="two words\nand a line")
        shown = os.read(leader, 4096).decode()
    os.close(leader)
    assert "key.created" in shown
    assert "web  two words and a line" in shown
    assert shown.count("\n") == 1
    with (tmp_path / "log").open("w") as file:
        configure("info", "auto", file)
        emit("info", "key.created")
    assert json.loads((tmp_path / "log").read_text())["event"] == "key.created"


KID = "ODbe_Dvx" + "-aB3_" * 7
OTHER = "yA-Z2AZ0" + "-aB3_" * 7
AT = "2030-01-01T08:00:00.123456Z"


def line(event: str, *, color: bool = False, level: str = "info", **fields: Any) -> str:
    """Return an event as a terminal shows it, in /srv/issuer."""
    said = {"timestamp": AT, "level": level, "event": event} | fields
    return TextLines(color=color, folder="/srv/issuer")(None, "", said)


def test_usual_lines_are_short() -> None:
    """Kids are cut, paths are relative, dates are near: a hundred columns."""
    jwks = line(
        "jwks.published",
        key_set="web",
        revision=12,
        target="file:/srv/issuer/.rotator/jwks.json",
        kid=f"{KID},{OTHER}",
    )
    assert jwks == (
        "08:00:00  jwks.published    web  ODbe_Dvx…, yA-Z2AZ0…  at file:.rotator/jwks.json  r12"
    )
    fields: dict[str, Any] = {
        "from": "pending",
        "to": "active",
        "reason": f"rotation-due: replaces {KID}",
    }
    promoted = line(
        "key.promoted", key_set="web", kid=OTHER, due_at="2030-01-01T08:00:45Z", **fields
    )
    assert promoted.endswith(
        "yA-Z2AZ0…  pending → active  rotation-due: replaces ODbe_Dvx…  to be replaced in 44s"
    )
    failing = line(
        "target.failing", level="warning", reason="no answer\x1b[2J since 2030-01-01T07:59:00Z"
    )
    assert failing == "08:00:00  warning target.failing  no answer [2J since 07:59:00"
    assert max(map(len, (jwks, promoted, failing))) <= 120


def test_a_target_is_named_once() -> None:
    """By the reason where that names it; not where the reason names another one that begins alike."""
    target, reason = (
        "file:/srv/issuer/a.json",
        "no answer from file:/srv/issuer/a.json: it is a directory",
    )
    once = line("target.failing", level="warning", key_set="web", target=target, reason=reason)
    assert once == (
        "08:00:00  warning target.failing  web  no answer from file:a.json: it is a directory"
    )
    more = f"{target}.bak left the configuration"
    twice = line("target.left_behind", key_set="web", target=target, reason=more)
    assert twice.endswith("web  at file:a.json  file:a.json.bak left the configuration")


def test_what_comes_next_is_a_sentence() -> None:
    """What, when and why; a hold is never left out."""
    waits: dict[str, Any] = {"key_set": "web", "kid": OTHER, "reason": "not-due", "next": "promote"}
    detail = f"replaces {KID}; announced since 2030-01-01T07:00:00Z"
    said = line("step.waiting", due_at="2030-01-01T08:00:27.5Z", detail=detail, **waits)
    assert said.endswith("  web  next: promote yA-Z2AZ0… in 27s (not due yet)")
    held = f"{detail}; held since 2030-01-01T07:30:00Z; `rotator release` ends it"
    said = line("step.waiting", due_at="2030-01-01T09:00:00Z", detail=held, **waits)
    assert said.endswith(
        "on 09:00:00 (not due yet; held since 07:30:00; `rotator release` ends it)"
    )
    late = waits | {"reason": "no-answer", "detail": "no answer from https://cdn.example/jwks.json"}
    said = line("step.waiting", level="warning", due_at="2030-01-01T07:00:00Z", **late)
    assert said.endswith(
        "overdue since 07:00:00: go on with yA-Z2AZ0… once everything answers"
        " (no answer from https://cdn.example/jwks.json)"
    )


def test_the_start_says_what_to_try() -> None:
    """Where the JWKS is, in words that can be pasted into a shell."""
    urls = [f"http://127.0.0.1:8080{path}" for path in ("/.well-known/jwks.json", "/web/jwks.json")]
    fields: dict[str, Any] = {"pid": 7, "key_sets": 1, "config": "/srv/issuer/my rotator.yaml"}
    shown = line("daemon.started", jwks=[*urls, "/srv/issuer/jwks.json"], **fields)
    assert "try:  curl -s http://127.0.0.1:8080/web/jwks.json\n" in shown
    assert "status -c 'my rotator.yaml'\n" in shown
    assert "1 key set from my rotator.yaml (pid 7)" in shown
    assert "try:  cat jwks.json\n" in line(
        "daemon.started", jwks=["/srv/issuer/jwks.json"], **fields
    )


def test_colour_of_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """`always` and `never` are obeyed; `auto` colours a terminal, unless NO_COLOR is set."""

    def coloured(color: str) -> bool:
        leader, follower = pty.openpty()
        with os.fdopen(follower, "w") as terminal:
            configure("info", "auto", terminal, color=color)
            emit("warning", "target.failing", reason="x")
            shown = os.read(leader, 4096).decode()
        os.close(leader)
        return "\x1b[33m" in shown

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert coloured("auto")
    assert not coloured("never")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured("auto")
    assert coloured("always")
    with pytest.raises(ValueError, match="pink"):
        configure(color="pink")


def test_what_looks_like_a_kid() -> None:
    """Both lengths are cut; the name of a file or directory is not, nor a word."""
    short = "aB3_" * 5 + "xy"
    assert shorten(f"key {KID}, {short}.") == "key ODbe_Dvx…, aB3_aB3_…."
    for text in (f"/srv/{KID}/x", f"{KID}.json", "a" * 22, f"/srv/{short}"):
        assert shorten(text) == text


def test_every_wait_says_what_comes() -> None:
    """No reason that is waited for is without its words, and the glossary has every reason."""
    text = (ROOT / "docs" / "reasons.md").read_text(encoding="utf-8")
    done, waited = (
        re.findall(r"^\| `([a-z-]+)`", part, re.MULTILINE) for part in text.split("## ")[1:]
    )
    assert [*done, *waited] == [reason.value for reason in Reason]
    now = datetime(2030, 1, 1, tzinfo=UTC)
    for reason in map(Reason, waited):
        step = Step(Do.WAIT, reason, KID, now + timedelta(days=90), "because")
        said = in_words(step, now)
        assert said.startswith(f"next: {coming(step)} ")
        assert coming(step) != reason.value.replace("-", " ")
        assert said.endswith("2030-04-01T00:00:00Z (in 90d): because")
        assert KID not in said
    late = Step(Do.WAIT, Reason.STILL_HELD, KID, now - timedelta(hours=3), "x", blocked=True)
    assert in_words(late, now) == "overdue since 2029-12-31T21:00:00Z (3h ago): retire ODbe_Dvx…: x"
    first = Step(Do.CREATE, Reason.FIRST_KEY, "", now, "ES256")
    assert in_words(first, now) == "create (first key): ES256"


def test_unknown_level_or_format() -> None:
    """A misspelt option is refused."""
    with pytest.raises(ValueError, match="loud"):
        configure("loud")
    with pytest.raises(ValueError, match="xml"):
        configure("info", "xml")


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    """The reader of a pipe may go away."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    configure("info", "json", stream)
    emit("info", "key.created")
    with contextlib.suppress(BrokenPipeError):
        stream.close()
    emit("info", "key.created")  # closed by now


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA", "HS256"])
def test_key_material_is_replaced(algorithm: str) -> None:
    """Whatever way a key gets into an event: as a secret, bytes, JWK, JSON, PEM, twice quoted, in an error."""
    keys = Keys()
    new = keys.make(kind_of(algorithm, 2048 if algorithm == "RS256" else None))
    at = datetime(2030, 1, 1, tzinfo=UTC)
    key = Key(
        new.kid, new.kind.algorithm, new.kind.size, Phase.ACTIVE, "x", at, new.public, new.check
    )
    jwk, pem = keys.private_jwk(key, new.material), keys.pem(key, new.material) or ""
    quoted = json.dumps(jwk)
    stream = told()
    try:
        raise ValueError(quoted + pem)  # noqa: TRY301 - what a library might do
    except ValueError as error:
        emit(
            "error",
            "store.call",
            secret=new.material,
            raw=new.material.reveal(),
            jwk=jwk,
            nested={"keys": [jwk]},
            text=quoted,
            twice=json.dumps({"body": quoted}),
            shown=repr(jwk),
            pem=f"before {pem} after",
            error=error,
            exc_info=True,
        )
    logging.getLogger("urllib3").error("sent %s", quoted)
    emit("info", "key.created", **jwk)
    said = stream.getvalue()
    for name in ("d", "p", "q", "dp", "dq", "qi", "k"):
        assert name not in jwk or jwk[name] not in said
    for line in pem.splitlines()[1:-1]:
        assert line not in said
    first = events(stream)[0]
    assert first["secret"] == HIDDEN
    assert first["jwk"]["kid"] == new.kid
    assert "Traceback" in first["exception"]


def test_traceback_shows_no_variables() -> None:
    """A local variable that holds material is not shown."""
    stream = told()
    hidden = "swordfish-" + "0123456789"
    try:
        raise KeyError(len(hidden))  # noqa: TRY301 - the frame with the variable is wanted
    except KeyError:
        emit("error", "key_set.failing", exc_info=True)
    assert hidden not in stream.getvalue()


def test_redact_makes_values_plain() -> None:
    """Values that JSON has no word for are told in a plain one; public halves stay."""
    public = {"kty": "EC", "x": "a" * 43, "y": "b" * 43}
    assert redact(public) == public
    assert redact(timedelta(minutes=1, milliseconds=5)) == 60.005
    assert redact((Path("a"), {3})) == ["a", [3]]
    assert redact(Secret(b"x")) == HIDDEN
    nested: Any = "end"
    for _ in range(20):
        nested = [nested]
    assert "end" in str(redact(nested))
