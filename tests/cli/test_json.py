"""Every command's JSON is what `docs/json.md` says."""

from __future__ import annotations

import json

import pytest

from rotator.cli.root import COMMANDS
from tests.cli.bench import Bench, hold_against_schema, schemas

WITHOUT = {"run", "serve", "exec", "healthcheck"}
"""Daemons print nothing on stdout, `exec` only what its program prints; `healthcheck` needs one of them: `test_healthcheck.py` has its JSON."""


def kids(bench: Bench) -> tuple[str, str]:
    """Return current and next kid."""
    state = bench.state()
    return state["current"]["kid"], state["next"][0]["kid"]


def test_every_command_in_one_life(bench: Bench) -> None:
    """Each command that prints a result is called with --json in a life that has something to show."""
    called = set()

    def answer(*words: str) -> None:
        called.add(words[0])
        bench.answer(*words)

    answer("init", "--token-ttl", "15m", "--signer-lag", "5m", "--path", "other.yaml")
    answer("config", "show")
    answer("config", "validate")
    for name in ("plan", "status", "history", "due", "check"):
        answer(name)  # there is no ring yet
    answer("rotate", "--dry-run")
    answer("rotate")
    current, coming = kids(bench)
    answer("pin", current, "--reason", "a test")
    answer("hold", "--reason", "a test")
    for name in ("status", "history", "jwks", "due", "check"):
        answer(name)
    answer("status", "--live")
    answer("plan", "--until", "1y")
    answer("rehearse", "--for", "10d")
    answer("release")
    answer("unpin", current)
    answer("revoke", coming, "--reason", "a test")
    answer("revoke", current, "--reason", "a test", "--yes")
    answer("recover", "--clock", "--yes")
    answer("policy", "local", "--role", "signer")
    answer("edge-config", "nginx")
    answer("rollback")  # refused, and says so in its JSON
    answer("export")
    answer("export", "--output", "ring.json")
    answer("adopt", "--from", "signing/web/private.pem")  # refused: there is a ring
    document = json.loads(bench.config.read_text())
    document["stores"]["other"] = {"backend": "file", "path": "other"}
    document["key_sets"]["web"]["store"] = "local"
    bench.config.write_text(json.dumps(document))
    answer("move", "web", "--from", "local", "--to", "other", "--dry-run")
    answer("move", "web", "--from", "local", "--to", "other")
    answer("notify")
    answer("export")  # refused: it was moved
    assert called == set(COMMANDS) - WITHOUT


def test_a_refusal_of_the_whole_command_is_json_on_stderr(bench: Bench) -> None:
    """What fails before any key set is known is an error document, and stdout stays empty."""
    for words in (["status", "nowhere"], ["rotat"], ["status", "--unknown"], ["revoke"]):
        ran = bench.run(*words, "--json")
        assert (ran.code, ran.out) == (2, "")
        document = json.loads(ran.err)
        hold_against_schema(document)
        assert document["error"]["hint"]


def test_a_key_set_that_fails_is_told_in_the_result(running: Bench) -> None:
    """One key set's failure is its entry in the document, not the end of the command."""
    running.ring.write_bytes(b"{")
    for name in ("status", "plan", "history", "jwks", "rotate", "check"):
        document = running.answer(name)
        assert document["exit_code"] == 65
        if name != "check":
            assert "recover" in document["key_sets"][0]["error"]["hint"]


@pytest.mark.parametrize("name", sorted(schemas()))
def test_schemas_are_tight(name: str) -> None:
    """A member that is not documented would be found."""
    schema = schemas()[name]
    assert schema["additionalProperties"] is False
    assert schema["required"]
