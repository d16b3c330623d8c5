"""One event to one receiver: signatures and shapes, and receivers that refuse, hang, fork or never stop."""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.notify.hook import Hook
from rotator.notify.news import BEGUN, ENDED, News, body_of
from rotator.notify.receivers import Undelivered, sender_of
from rotator.notify.templates import TEMPLATES, in_words
from rotator.notify.webhook import Webhook, signed
from rotator.settings.result import ReceiverSettings, WebhookSettings
from tests.notify.receiver import SECRET, Answer, endless, receiving, status
from tests.servers import free_port

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
NEWS = News("evt_1", "promoted", "web", NOW - timedelta(hours=1), "kid-1", "rotation due")
LONG = timedelta(minutes=2)  # only a test that fails waits so long
BRIEF = timedelta(milliseconds=300)


def never() -> bool:
    """Nothing is to be cut short."""
    return False


def hook(script: str, timeout: timedelta = LONG) -> Hook:
    return Hook("ops", ("/bin/sh", "-c", script), timeout)


def test_the_signature_of_the_specification() -> None:
    """The example of the specification's own libraries, by which receivers were tested."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}', [key])
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"


def test_a_post_is_signed_by_every_secret(tmp_path: Path) -> None:
    """Two lines are two secrets, while one replaces the other; the file is read anew at each try."""
    secret, other = tmp_path / "secret", "whsec_" + base64.b64encode(b"b" * 32).decode()
    secret.write_text(f"{SECRET}\n{other}\n")
    with receiving() as receiver:
        webhook = Webhook("ops", WebhookSettings(url=receiver.url, secret_file=secret), LONG)
        webhook.send(NEWS, NOW, never)
        secret.write_text(other)
        webhook.send(NEWS, NOW, never)
    first, second = receiver.posts
    assert first.signed_by(SECRET)
    assert first.signed_by(other)
    assert second.signed_by(other)
    assert not second.signed_by(SECRET)
    assert first.id == second.id == "evt_1"
    assert first.headers["content-type"] == "application/json"
    assert first.json == json.loads(body_of(NEWS))
    assert first.json["data"]["kid"] == "kid-1"


@pytest.mark.parametrize(
    ("answer", "said", "hint"),
    [
        (status(500), "receiver ops answered 500", "tried again"),
        (status(404), "answered 404", "tried again"),
        (status(410), "answered 410", "take it out"),
        (status(301, Location="http://127.0.0.1:1/"), "answered 301", "name the final URL"),
    ],
)
def test_what_is_not_taken(answer: Answer, said: str, hint: str) -> None:
    """Nothing but 2xx counts, no redirect is followed, and the URL is in no message."""
    with receiving(answer=answer) as receiver:
        webhook = Webhook("ops", WebhookSettings(url=receiver.url), LONG)
        with pytest.raises(Undelivered, match=said) as refused:
            webhook.send(NEWS, NOW, never)
    assert hint in refused.value.hint
    assert "notforlogs" not in str(refused.value)
    assert len(receiver.posts) == 1


def test_a_receiver_may_ask_for_a_pause() -> None:
    """`Retry-After` is heard, up to an hour."""
    with receiving(answer=status(429, Retry_After="120")) as receiver:
        with pytest.raises(Undelivered) as refused:
            Webhook("ops", WebhookSettings(url=receiver.url), LONG).send(NEWS, NOW, never)
        assert refused.value.retry_after == 120
        receiver.answer = status(503, Retry_After="99999999")
        with pytest.raises(Undelivered) as refused:
            Webhook("ops", WebhookSettings(url=receiver.url), LONG).send(NEWS, NOW, never)
        assert refused.value.retry_after == 3600


def test_a_gigabyte_of_an_answer_is_not_read() -> None:
    """Its status is all that is wanted."""
    with receiving(answer=endless) as receiver:
        Webhook("ops", WebhookSettings(url=receiver.url), LONG).send(NEWS, NOW, never)
    assert len(receiver.posts) == 1


def test_a_receiver_that_hangs_or_is_not_there() -> None:
    """It costs its timeout and no more."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/notforlogs"
        with pytest.raises(Undelivered, match="in time"):
            Webhook("ops", WebhookSettings(url=url), BRIEF).send(NEWS, NOW, never)
    url = f"http://127.0.0.1:{free_port()}/notforlogs"
    with pytest.raises(Undelivered, match="no connection") as refused:
        Webhook("ops", WebhookSettings(url=url), LONG).send(NEWS, NOW, never)
    assert "notforlogs" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (WebhookSettings(url_env="ROTATOR_TEST_NOT_SET"), "ROTATOR_TEST_NOT_SET is empty"),
        (WebhookSettings(url_file=Path("/nonexistent/url")), "cannot be read from /nonexistent"),
        (WebhookSettings(url="ftp://127.0.0.1/notforlogs"), "no URL that could be used"),
        (WebhookSettings(url="http://127.0.0.1:1/", secret_env="SHORT"), "base64 of at least 24"),
        (
            WebhookSettings(url="https://127.0.0.1:1/", ca_file=Path("/nonexistent/ca")),
            "no connection",
        ),
    ],
)
def test_what_cannot_be_sent(
    settings: WebhookSettings, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL or a secret that is not there is told, and neither is shown."""
    monkeypatch.setenv("SHORT", "notforlogs")
    with pytest.raises(Undelivered, match=said) as refused:
        Webhook("ops", settings, LONG).send(NEWS, NOW, never)
    assert "notforlogs" not in str(refused.value)


def condition(state: str, event: str = "failed") -> News:
    """A condition of a target."""
    return News(f"evt_{state}", event, "web", NOW, "", "a & b <c>", state, target="file:/x")


def test_slack_takes_a_text() -> None:
    """`&`, `<` and `>` are escaped, for Slack reads links and names out of them."""
    message = json.loads(TEMPLATES["slack"](condition(BEGUN), NOW))
    assert set(message) == {"text"}
    assert "file:/x FAILS (a &amp; b &lt;c&gt;)" in message["text"]
    assert message["text"].endswith("2030-01-02 03:04:05 UTC")


def test_alertmanager_knows_an_alert_by_its_labels() -> None:
    """What ended resolves what began; what merely happened goes by itself (`postableAlerts` of its API)."""
    began, ended = (TEMPLATES["alertmanager"](condition(s), NOW) for s in (BEGUN, ENDED))
    [one], [other] = json.loads(began), json.loads(ended)
    assert one["labels"] == other["labels"]
    assert one["labels"]["alertname"] == "RotatorFailed"
    dates = {name: datetime.fromisoformat(one[name]) for name in ("startsAt", "endsAt")}
    assert dates["startsAt"] <= NOW < dates["endsAt"]
    assert datetime.fromisoformat(other["endsAt"]) == NOW
    [happened] = json.loads(TEMPLATES["alertmanager"](NEWS, NOW))
    assert happened["labels"]["kid"] == "kid-1"
    assert datetime.fromisoformat(happened["endsAt"]) == NOW + timedelta(minutes=15)
    for alert in (one, other, happened):
        assert set(alert) <= {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}
        for mapping in (alert["labels"], alert["annotations"]):
            assert all(isinstance(value, str) and value for value in mapping.values())
        assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) for name in alert["labels"])


@pytest.mark.parametrize("event", ["announced", "superseded", "retired", "revoked", "drift"])
def test_every_event_has_words(event: str) -> None:
    """For people, in one sentence."""
    news = News("e", event, "web", NOW, "kid-1", target="file:/x")
    assert in_words(news).startswith("rotator: key set web: ")
    for state in (BEGUN, ENDED):
        assert in_words(condition(state, "overdue"))
    assert "up to 7 events" in in_words(News("e", "skipped", "web", NOW, count=7))
    assert "unknown number" in in_words(News("e", "skipped", "web", NOW))


def test_a_hook_reads_the_event_and_knows_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON on stdin, a few words in the environment, and nothing of what may be secret there."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "notforhooks")
    monkeypatch.setenv("ROTATOR__STORES__MAIN__TOKEN", "notforhooks")
    hook(f"cat > {tmp_path}/in; env > {tmp_path}/env; pwd").send(NEWS, NOW, never)
    assert json.loads((tmp_path / "in").read_bytes()) == json.loads(body_of(NEWS))
    shown = dict(
        line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines() if "=" in line
    )
    ours = {name: value for name, value in shown.items() if name.startswith("ROTATOR")}
    assert ours == {
        "ROTATOR_EVENT": "promoted",
        "ROTATOR_EVENT_ID": "evt_1",
        "ROTATOR_KEY_SET": "web",
        "ROTATOR_KID": "kid-1",
    }
    assert "notforhooks" not in (tmp_path / "env").read_text()


def test_a_hook_that_reads_nothing_and_one_that_is_not_there() -> None:
    """The first took the event if it says so; the second cannot be run."""
    hook("exec <&-; exit 0").send(NEWS, NOW, never)
    with pytest.raises(Undelivered, match="cannot be run: No such file"):
        Hook("ops", ("/nonexistent/hook",), LONG).send(NEWS, NOW, never)


def test_the_last_line_of_a_hook_that_fails() -> None:
    """It is told, cut short, without what a terminal would obey."""
    with pytest.raises(Undelivered, match=r"ended with status 3; its last line: no .\[31mroute: "):
        hook("echo first; printf 'no \\033[31mroute\\n\\n' >&2; exit 3").send(NEWS, NOW, never)


def alive(pid: int) -> bool:
    """True for a process that runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pid: int) -> bool:
    """Wait, bounded, until a killed process is gone."""
    return any(not alive(pid) or threading.Event().wait(0.02) for _ in range(3000))


@pytest.mark.parametrize("ends", [False, True])
def test_a_hook_is_killed_with_all_that_it_forked(tmp_path: Path, *, ends: bool) -> None:
    """At its timeout, and at its own end: nothing of it lives on."""
    script = f"(trap '' TERM HUP; echo $$ > {tmp_path}/outer; sh -c 'echo $$ > {tmp_path}/pid; exec sleep 600') & "
    wait = f"while ! test -s {tmp_path}/pid; do :; done; "
    if ends:
        hook(f"{script}{wait}exit 0", LONG).send(NEWS, NOW, never)
    else:
        # A machine that stands still may kill it before it forked.
        for timeout in (BRIEF * 4, BRIEF * 100):
            with pytest.raises(Undelivered, match="was killed"):
                hook(f"{script}{wait}wait", timeout).send(NEWS, NOW, never)
            if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
                break
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_hook_that_prints_a_gigabyte() -> None:
    """It is read to its end and not kept."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Undelivered, match="last line: the end"):
        hook("head -c 1073741824 /dev/zero; echo; echo the end; exit 1").send(NEWS, NOW, never)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_a_hook_is_cut_short_when_the_process_ends() -> None:
    """Whoever stops the daemon does not wait for it."""
    asked: list[int] = []

    def soon() -> bool:
        asked.append(1)
        return len(asked) > 2

    with pytest.raises(Undelivered, match="was killed"):
        hook("sleep 600").send(NEWS, NOW, soon)


def test_what_a_receiver_is_made_of(tmp_path: Path) -> None:
    """A webhook or a command, by its settings."""
    out = tmp_path / "out"
    command = ReceiverSettings("a", command=("/bin/sh", "-c", f"cat > {out}"), timeout=LONG)
    sender_of(command)(NEWS, NOW, never)
    assert json.loads(out.read_bytes())["type"] == "promoted"
    with receiving() as receiver:
        sender_of(ReceiverSettings("b", WebhookSettings(url=receiver.url)))(NEWS, NOW, never)
    assert receiver.events == ["promoted"]
