"""The receivers from the command line: one-shots, `status`, `check`, `notify --test`, and the daemon of Show 4."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rotator.ring import HISTORY_LIMIT
from rotator_file.store import FileStore
from tests.campaign.needles import needles_of, search
from tests.campaign.processes import Daemon, configure, ended, key_set
from tests.cli.bench import Bench, hold_against_schema
from tests.notify.receiver import SECRET, receiving
from tests.servers import free_port

LIFE = ["announced", "promoted", "announced"]


def webhook(url: str, secret: Path, **more: Any) -> dict[str, Any]:
    """A receiver with a URL in a file and a secret."""
    secret.write_text(SECRET)
    at = secret.with_name("url")
    at.write_text(url + "\n")
    return {"webhook": {"url_file": str(at), "secret_file": str(secret), **more}}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "bench").mkdir()
    return tmp_path


def test_a_one_shot_tells_and_says_what_is_left(home: Path) -> None:
    """What a receiver did not take is for the next run; `status` shows who is behind."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/hook?token=notforlogs"
    bench = Bench(home / "bench", more={"notify": {"ops": webhook(url, home / "secret")}})
    ran = bench.run("rotate")
    assert ran.code == 0, ran.err
    events = [json.loads(line) for line in ran.err.splitlines() if line.startswith("{")]
    [left] = [event for event in events if event["event"] == "notification.left"]
    assert (left["receiver"], left["pending"]) == ("ops", len(LIFE))
    [failing] = [event for event in events if event["event"] == "notification.failing"]
    assert "no connection" in failing["reason"]
    state = bench.state()
    assert [(item["receiver"], item["pending"]) for item in state["untold"]] == [("ops", 3)]
    assert "3 events are not confirmed by ops, since " in bench.good("status").out
    with receiving(port) as receiver:
        assert "notification.left" not in bench.good("rotate").err
        assert receiver.events == LIFE
        assert all(post.signed_by() for post in receiver.posts)
        assert bench.state()["untold"] == []
        bench.good("rotate")
        assert len(receiver.posts) == len(LIFE)
        kid = bench.state()["current"]["kid"]
        bench.good("revoke", kid, "--reason", "leaked", "--yes")
        heard = receiver.posts[len(LIFE) :]
        revoked = [post.json["data"] for post in heard if post.event == "revoked"]
        assert [(data["kid"], data["reason"]) for data in revoked] == [(kid, "leaked")]
        bench.good("rotate", "--dry-run")
    assert "notforlogs" not in ran.words


def test_a_file_of_metrics_tells_of_receivers(home: Path) -> None:
    """How many were sent, and how many wait."""
    file = home / "metrics.prom"
    with receiving() as receiver:
        notify = {
            "ops": webhook(receiver.url, home / "secret"),
            "down": {"command": ["false"], "events": ["promoted"]},
        }
        bench = Bench(home / "bench", more={"notify": notify})
        bench.good("rotate", "--metrics-file", str(file))
    told = file.read_text()
    assert 'rotator_notifications_total{outcome="sent",receiver="ops"} 3.0' in told
    assert 'rotator_notifications_total{outcome="failed",receiver="down"} 1.0' in told
    assert 'rotator_notifications_pending{receiver="down"} 1.0' in told
    assert 'rotator_notifications_oldest_seconds{receiver="ops"} 0.0' in told


def test_check_and_a_test_event(home: Path) -> None:
    """`check` sends nothing; `notify --test` sends one event, signed, and notes nothing."""
    with receiving() as receiver:
        notify = {
            "ops": webhook(receiver.url, home / "secret"),
            "hook": {"command": ["true"]},
            "near": {"command": ["./near"]},
            "gone": {"command": ["/nonexistent/hook"]},
            "slack": {"webhook": {"url_env": "SLACK_URL", "template": "slack"}},
        }
        bench = Bench(home / "bench", more={"notify": notify})
        near = bench.config.with_name("near")
        near.symlink_to("/bin/true")
        checked = bench.run("check", env={"SLACK_URL": f"http://localhost:{free_port()}/"})
        assert checked.code == 78
        assert "receiver ops: webhook (generic): 127.0.0.1 takes connections" in checked.words
        assert "receiver hook: command true may be run" in checked.words
        assert f"receiver near: command {near} may be run" in checked.words
        assert "receiver gone: command /nonexistent/hook cannot be run" in checked.words
        assert "receiver slack: no connection to localhost" in checked.words
        assert receiver.posts == []
        listed = bench.good("notify")
        assert "ops: webhook (generic) is told of every event of every key set" in listed.out
        tested = bench.good("notify", "--test", "ops", "--test", "hook")
        assert "ops: webhook (generic) took the test event" in tested.out
        [post] = receiver.posts
        assert post.signed_by()
        assert post.event == "test"
        failed = bench.run("notify", "--test", "gone", "--json")
        hold_against_schema(failed.json)
        assert failed.code == 75
        assert failed.json["receivers"][0]["error"]["exit_code"] == 75
        assert "sent once" in failed.json["receivers"][0]["error"]["hint"]
        assert bench.run("notify", "--test", "nobody").code == 2
    shown = bench.good("config", "show").out
    assert SECRET not in shown
    assert not (home / "bench" / "store" / "web").exists()


def test_nobody_is_told_anything(home: Path) -> None:
    """Without `notify` nothing is asked of a store and nothing is written."""
    bench = Bench(home / "bench")
    assert "nobody is told anything" in bench.good("notify").out
    bench.good("rotate")
    assert bench.state()["untold"] == []
    assert not (home / "bench" / "store" / "web" / "documents").exists()


def test_show_4_down_across_a_restart(tmp_path: Path) -> None:
    """Delivered afterwards, signed, in order, none missing; repeats carry the same id; no key in any of it."""
    port, secret, heard = free_port(), tmp_path / "secret", tmp_path / "heard"
    config = configure(tmp_path, {"web": key_set(tmp_path, "web", "EdDSA")})
    settings = json.loads(config.read_text())
    hook = f'printf "%s\\n" "$ROTATOR_EVENT $ROTATOR_KID" >> {heard}; cat >> {heard}.json; env >> {heard}.env'
    settings["notify"] = {
        "ops": webhook(f"http://127.0.0.1:{port}/hook", secret),
        "hook": {"command": ["/bin/sh", "-c", hook]},
    }
    config.write_text(json.dumps(settings))
    first = Daemon(config)
    with ended(first):
        first.wait_for("key.promoted", 2)
        first.wait_for("notification.failing")
        assert first.end(signal.SIGTERM) == 143
    with receiving(port) as receiver:
        second = Daemon(config, level="debug")
        with ended(second):
            receiver.wait_for(lambda: receiver.events.count("promoted") >= 3)
            second.end(signal.SIGKILL)  # between sending and confirming, as likely as not
        third = Daemon(config)
        with ended(third):
            third.wait_for("key.retired", 1)
            last = third.err.named("key.retired")[0]["kid"]
            receiver.wait_for(
                lambda: any(
                    post.event == "retired" and post.json["data"]["kid"] == last
                    for post in receiver.posts
                )
            )
            assert third.end() == 143
        # What came while it was being stopped is for the next one.
        command = [sys.executable, "-P", "-m", "rotator", "--config", str(config), "rotate"]
        subprocess.run(command, check=True, capture_output=True)
        posts = list(receiver.posts)
        ids, events = receiver.ids, receiver.events
    assert all(post.signed_by() for post in posts)
    ring = json.loads((tmp_path / "store" / "web" / "ring.json").read_bytes())
    ring = json.loads(ring["ring"]) if "ring" in ring else ring
    of = {"key.announced", "key.promoted", "key.superseded", "key.retired", "key.revoked"}
    lines = [line for line in ring["history"] if line["event"] in of]
    told = {post.id: (post.event, post.json["data"].get("kid")) for post in posts}
    in_order = [told[one] for one in ids if " " not in told[one][0]]  # conditions come in between
    expected = [(line["event"].removeprefix("key."), line["kid"]) for line in lines]
    kept = in_order.index(expected[0])
    assert kept == 0 or len(ring["history"]) == HISTORY_LIMIT  # a slow machine has a long history
    assert in_order[kept:] == expected
    assert events[:3] == LIFE
    material = FileStore(tmp_path / "store").material("web")
    secrets = [material.get(key["locator"], key["kid"]) for key in ring["keys"]]
    needles = needles_of(secret.reveal() for secret in secrets if secret is not None)
    assert needles
    places = {f"post {n}": post.body for n, post in enumerate(posts)}
    places |= {f"{heard}{end}": Path(f"{heard}{end}").read_bytes() for end in ("", ".json", ".env")}
    places["log"] = b"".join(second.err.lines)
    places["ledger"] = (tmp_path / "store" / "web" / "documents" / "notify.json").read_bytes()
    assert list(search(needles, places)) == []


def test_a_move_carries_what_was_confirmed(home: Path) -> None:
    """In the new store nobody is told anything twice, and what is still owed is told."""
    with receiving() as receiver:
        notify = {
            "ops": webhook(receiver.url, home / "secret"),
            "down": {"command": ["false"]},
        }
        bench = Bench(home / "bench", more={"notify": notify})
        bench.good("rotate")
        settings = json.loads(bench.config.read_text())
        settings["stores"]["other"] = {"backend": "file", "path": "other"}
        settings["key_sets"]["web"]["store"] = "local"
        bench.config.write_text(json.dumps(settings))
        bench.good("move", "web", "--from", "local", "--to", "other")
        settings["key_sets"]["web"]["store"] = "other"
        bench.config.write_text(json.dumps(settings))
        bench.good("rotate")
        assert receiver.events == LIFE
        assert len(receiver.posts) == len(LIFE)
        assert [(i["receiver"], i["pending"]) for i in bench.state()["untold"]] == [("down", 3)]
