"""What `status` says of signers, of probes, and of what was left behind; the commands as processes."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.cli.bench import Bench, hold_against_schema
from tests.cli.forge import Forge
from tests.signers.running import issuing
from tests.unit.test_probes import answering, reply, serving


@pytest.fixture(scope="module")
def forge() -> Iterator[Forge]:
    made = Forge()
    yield made
    made.close()


def shown(forge: Forge, bench: Bench, *words: str) -> dict[str, Any]:
    """Return what `status --json` says of the key set, held against its schema."""
    answer = forge.run(bench, "status", *words, "--json").json
    hold_against_schema(answer)
    found: dict[str, Any] = answer["key_sets"][0]
    return found


def test_without_a_check_signers_are_assumed(tmp_path: Path, forge: Forge) -> None:
    """And that is said, with how long they are assumed to take."""
    bench = Bench(tmp_path)
    forge.run(bench, "rotate")
    said = forge.run(bench, "status")
    assert (
        "signers assumed to follow within signer_lag (5m): no signer check asks them" in said.words
    )
    signers = shown(forge, bench)["signers"]
    assert signers == {"assumed": True, "lag_seconds": 300.0, "checks": []}


def test_a_signer_that_is_seen(tmp_path: Path, forge: Forge) -> None:
    """By a URL and by a command; the command has no more of our environment than it needs."""
    document = tmp_path / "signing" / "web" / "signing.json"
    program = tmp_path / "token"
    program.write_text('#!/bin/sh\nenv > "$1"\ncat "$2"\n')
    program.chmod(0o755)
    found, token = tmp_path / "environment", tmp_path / "token.jwt"
    with issuing(document) as issuer:
        checks: list[dict[str, Any]] = [
            {"url": f"{issuer.url}?client_secret=hush", "hold": True},
            {"command": ["./token", str(found), str(token)]},
        ]
        bench = Bench(tmp_path, key_set={"signer_checks": checks})
        first = forge.run(bench, "rotate")
        assert first.code == 0, first.err  # an issuer without a key does not hinder the first run
        signing = json.loads(document.read_bytes())
        key = jwt.PyJWK(signing["jwk"]).key
        made = jwt.encode({}, key, signing["alg"], headers={"kid": signing["kid"]})
        token.write_text(json.dumps({"id_token": made}))
        ran = forge.run(bench, "status", "--live", env={"ROTATOR_VAULT_TOKEN": "hush"})
        assert ran.code == 0, ran
        kid = signing["kid"]
        assert ran.words.count(f"signs with {kid}, seen ") == 2
        said = forge.run(bench, "check")
        assert said.code == 0, said
        assert said.words.count(f"signs with {kid}") == 2
        checked = shown(forge, bench, "--live")
        assert [item["kids"] for item in checked["signers"]["checks"]] == [[kid], [kid]]
        assert [item["hold"] for item in checked["signers"]["checks"]] == [True, False]
        everything = ran.out + ran.err + json.dumps(checked) + bench.ring.read_text()
        assert "hush" not in everything
        assert made not in everything
        assert forge.run(bench, "config", "show").out.count("hush") == 0
    assert {line.partition("=")[0] for line in found.read_text().splitlines()} <= {
        *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("PWD", "SHLVL", "_", "OLDPWD"),  # the shell's own
    }


def test_an_issuer_with_a_key_of_its_own(tmp_path: Path, forge: Forge) -> None:
    """Without a ring, a token that somebody signs already is no first run; an operator's word goes on."""
    (tmp_path / "token.jwt").write_text(
        jwt.encode({}, "k" * 32, "HS256", headers={"kid": "of-before"})
    )
    command = ["cat", str(tmp_path / "token.jwt")]
    bench = Bench(tmp_path, key_set={"signer_checks": [{"command": command, "hold": True}]})
    ran = forge.run(bench, "rotate")
    assert ran.code == 65, ran
    assert "signs with of-before" in ran.err
    assert "--first-run" in ran.err
    assert "rotator adopt" in ran.err
    checked = forge.run(bench, "check")
    assert checked.code == 65, checked
    assert "there is no ring for key set web, but signer:" in checked.words
    assert forge.run(bench, "rotate", "--first-run").code == 0
    drift = "drift, it signs with of-before, which is not known to key set web"
    for words in (("status", "--live"), ("check",)):
        said = forge.run(bench, *words)
        assert drift in said.words
        assert said.code == 0, said  # it holds no key of this ring back


@pytest.mark.parametrize("hold", [True, False])
def test_an_issuer_that_keeps_the_old_key(tmp_path: Path, forge: Forge, hold: bool) -> None:
    """A fault of `check` where it is one of `status --live`: with `hold`, once it is overdue; else advice."""
    document = tmp_path / "signing" / "web" / "signing.json"
    with issuing(document) as issuer:
        checks = [{"url": issuer.url, "hold": hold}]
        bench = Bench(tmp_path, key_set={"signer_checks": checks})
        assert forge.run(bench, "rotate").code == 0
        issuer.tell("stay")
        old = json.loads(document.read_bytes())["kid"]
        later = datetime.now(UTC) + timedelta(days=91)
        assert forge.run(bench, "rotate", travel=later.isoformat()).code == 0
        assert json.loads(document.read_bytes())["kid"] != old
        for minutes, late in ((1, False), (30, True)):
            when = (later + timedelta(minutes=minutes)).isoformat()
            code = 75 if hold and late else 0
            live = forge.run(bench, "status", "--live", travel=when)
            checked = forge.run(bench, "check", "--json", travel=when)
            assert (live.code, checked.code) == (code, code), (live, checked)
            (found,) = [
                item for item in checked.json["findings"] if item["text"].startswith("signer:")
            ]
            assert found["level"] == (("fault" if hold else "advice") if late else "ok")
            assert ("drift, it signs with" in found["text"]) is late
            assert old in found["text"]
        # It goes on with the old key after that was revoked, too.
        ran = forge.run(bench, "revoke", "--reason=leaked", "--json", "--", old, travel=when)
        hold_against_schema(ran.json)
        (told,) = ran.json["key_sets"][0]["report"]["signer_checks"]
        assert (told["target"], told["revoked"]) == (f"signer:{issuer.url}", [old])
    for words in (("status", "--live"), ("check",)):  # and the issuer is gone
        ran = forge.run(bench, *words, travel=when)
        assert "does not answer" in ran.words
        assert ran.code == (75 if hold else 0), ran


def test_what_each_address_showed(tmp_path: Path, forge: Forge) -> None:
    """In the promotion's line and in `status --live`, with its Age."""
    bench = Bench(tmp_path)

    def serve(connection: Any) -> None:
        body = bench.jwks.read_bytes() if bench.jwks.exists() else b""
        status = "200 OK" if body else "404 Not Found"
        answering(reply(body, status, Age="34", Rotator_Revision="2"))(connection)

    with serving(serve) as port:
        url = f"http://localhost:{port}/jwks.json"
        probes = [{"url": url, "all_addresses": True}]
        bench = Bench(tmp_path, key_set={"probes": probes})
        ran = forge.run(bench, "--log-level", "info", "rotate")
        events = [json.loads(line) for line in ran.err.splitlines()]
        (promoted,) = [event for event in events if event.get("event") == "key.promoted"]
        assert promoted["probes"].startswith(f"{url} 127.0.0.1 r2 Age 34 s at ")
        (probe,) = [
            item
            for item in shown(forge, bench, "--live")["targets"]
            if item["target"] == f"probe:{url}"
        ]
        (answer,) = probe["answers"]
        assert (answer["address"], answer["age_seconds"]) == ("127.0.0.1", 34.0)
        assert set(answer["kids"]) == set(probe["kids"])


def test_what_was_left_behind(tmp_path: Path, forge: Forge) -> None:
    """Named with the command that cleans it; the command works, and `recover --forget` ends it."""
    both = [{"to": "files", "path": "signing/web"}, {"to": "files", "path": "signing/of old"}]
    published = [
        {"to": "file", "path": "jwks/web/jwks.json"},
        {"to": "file", "path": "jwks/o.json"},
    ]
    stored = {"to": "store", "store": "local"}
    bench = Bench(tmp_path, key_set={"deliver": [*both, stored], "publish": published})
    forge.run(bench, "rotate", "--first-run")
    kid = json.loads(bench.signing.read_bytes())["kid"]
    bench = Bench(tmp_path)
    old = tmp_path / "signing" / "of old"
    names = [f"file:{tmp_path}/jwks/o.json", f"files:{old}", "store:local/web/signing"]
    left = shown(forge, bench)["left_behind"]
    assert [item["target"] for item in left] == names
    assert [item["kids"] for item in left] == [[], [kid], [kid]]
    checked = forge.run(bench, "check", "--json")
    assert checked.code == 0, checked
    advised = [
        item for item in checked.json["findings"] if "left the configuration" in item["text"]
    ]
    assert [item["text"].partition(" left ")[0] for item in advised] == names
    assert all(item["level"] == "advice" and "--forget" in item["hint"] for item in advised)
    said = forge.run(bench, "status").words
    forget = f"rotator recover web --forget {shlex.quote(names[1])}"
    assert f"`rm -r -- {shlex.quote(str(old))}`, then say `{forget}`" in said
    ran = forge.run(bench, "--log-level", "info", "rotate")
    events = [json.loads(line) for line in ran.err.splitlines()]
    told = [event["target"] for event in events if event["event"] == "target.left_behind"]
    assert told == names
    for item in left:
        subprocess.run(item["command"], shell=True, check=True)  # as an operator pastes it
        forgotten = forge.run(bench, "recover", "--forget", item["target"], "--yes")
        assert forgotten.code == 0
        names.remove(item["target"])  # of the others each is told once
        events = [json.loads(line) for line in forgotten.err.splitlines() if line[:1] == "{"]
        told = [event["target"] for event in events if event["event"] == "target.left_behind"]
        assert told == names
    assert not old.exists()
    assert not (tmp_path / "jwks" / "o.json").exists()
    assert not list((tmp_path / "store" / "web" / "documents").iterdir())
    assert shown(forge, bench)["left_behind"] == []
