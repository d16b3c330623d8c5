"""What `due`, `status` and `check` must not keep to themselves: wrong clocks, dead crons, lost rings, empty targets."""

from __future__ import annotations

import json
import shutil
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli.bench import Bench
from tests.cli.forge import Forge, ready, refused


def moved(**by: float) -> str:
    """Return now, moved, for `travel=`."""
    return (datetime.now(UTC) + timedelta(**by)).isoformat()


@pytest.mark.parametrize("by", [{"days": -1}, {"days": 1000}])
def test_due_with_a_suspicious_clock_is_a_fault(
    tmp_path: Path, forge: Forge, by: dict[str, float]
) -> None:
    """255 and the reason: 1 would let systemd skip `rotate` in silence."""
    bench = ready(forge, tmp_path)
    ran = forge.run(bench, "due", travel=moved(**by))
    assert ran.code == 255, ran
    assert "clock" in ran.err


@pytest.mark.parametrize(("by", "late"), [({"minutes": -5}, False), ({"minutes": 15}, True)])
def test_a_dead_cron(tmp_path: Path, forge: Forge, by: dict[str, float], late: bool) -> None:
    """A rotation that is due for longer than twice `resync` and that nobody did."""
    bench = ready(forge, tmp_path)
    forge.run(bench, "rotate")
    when = moved(days=90, **by)
    status = forge.run(bench, "status", travel=when)
    check = forge.run(bench, "check", travel=when)
    assert (status.code, check.code) == ((75, 75) if late else (0, 0)), (status, check)
    assert ("nobody has rotated since" in status.out) is late
    assert ("overdue: nobody has rotated since" in check.out) is late
    if late:
        assert "or rotating fails; is cron / the daemon running?" in check.out
        says_why = f"`rotator rotate web --config {bench.config}` does it, or says why not"
        assert says_why in status.out
        assert says_why in check.out
        shown = forge.run(bench, "status", "--json", travel=when).json["key_sets"][0]
        assert shown["overdue"]
        assert [step["do"] for step in shown["waits_for"] if step["overdue"]] == ["promote"]
        (told,) = (step["detail"] for step in shown["waits_for"] if step["do"] == "promote")
        assert told
        assert forge.run(bench, "rotate", travel=when).code == 0
        assert forge.run(bench, "status", travel=when).code == 0


def test_a_destruction_that_fails(tmp_path: Path, forge: Forge) -> None:
    """Rotating runs, so nobody must look for a dead cron: that step is named."""
    bench = ready(forge, tmp_path)
    kid = json.loads(bench.signing.read_bytes())["kid"]
    (material,) = (file for file in bench.material.iterdir() if kid in file.name)
    after = 90
    forge.run(bench, "rotate", travel=moved(days=after, minutes=1))
    spoilt = json.loads(material.read_bytes())
    spoilt["kid"] = "of-another-key"
    material.write_text(json.dumps(spoilt))
    for hours in (1, 2, 3):
        forge.run(bench, "rotate", travel=moved(days=after, hours=hours))
    forge.run(bench, "rotate", travel=moved(days=2 * after, hours=1))
    when = moved(days=2 * after, hours=2)
    for words in (("status",), ("check",)):
        ran = forge.run(bench, *words, travel=when)
        assert f"destroy {kid[:8]}… fails: due since" in ran.out, ran
        assert "nobody has rotated" not in ran.out
        assert f"`rotator rotate web --config {bench.config}` does it, or says why not" in ran.out
    shown = forge.run(bench, "status", "--json", travel=when).json["key_sets"][0]
    (late,) = (step for step in shown["waits_for"] if step["do"] == "destroy")
    assert late["overdue"]
    assert "fails" in late["detail"]


def test_a_signing_target_that_never_answered(tmp_path: Path, forge: Forge) -> None:
    """It may hold what was delivered; nobody ever saw it there."""
    away = tmp_path / "away" / "web"
    two = [{"to": "files", "path": "signing/web"}, {"to": "files", "path": str(away)}]
    bench = Bench(tmp_path, key_set={"deliver": two})
    forge.run(bench, "rotate", "--first-run")
    said = forge.run(bench, "status").out
    kid = json.loads(bench.signing.read_bytes())["kid"]
    assert f"files:{away} may hold {kid}, by the ring alone; --live looks there" in said
    assert "seen with" not in said


def _emptied(bench: Bench) -> None:
    bench.jwks.unlink()


def _undelivered(bench: Bench) -> None:
    shutil.rmtree(bench.path / "signing")
    (bench.path / "signing").mkdir()


def _one_key_less(bench: Bench) -> None:
    document = json.loads(bench.jwks.read_bytes())
    del document["keys"][0]
    bench.jwks.write_text(json.dumps(document))


def _garbage(bench: Bench) -> None:
    bench.jwks.write_bytes(b"\0garbage")


@pytest.mark.parametrize("spoil", [_emptied, _undelivered, _one_key_less, _garbage])
def test_a_target_that_lacks_what_it_should_hold(
    tmp_path: Path, forge: Forge, spoil: object
) -> None:
    """A fault, and the way out works."""
    assert callable(spoil)
    bench = ready(forge, tmp_path)
    assert forge.run(bench, "check").code == 0
    assert forge.run(bench, "status", "--live").code == 0
    spoil(bench)
    (shown,) = bench.answer("status", "--live")["key_sets"]
    assert ["does not hold" in text for text in shown["amiss"]] == [True]
    for words in (("check",), ("status", "--live")):
        ran = forge.run(bench, *words)
        assert ran.code == 75, (words, ran)
        assert "does not hold what it should" in ran.out
        assert f"`rotator rotate web --config {bench.config}` mends it" in ran.out
    assert forge.run(bench, "rotate").code == 0
    assert forge.run(bench, "check").code == 0
    assert forge.run(bench, "status", "--live").code == 0


def test_a_foreign_document(tmp_path: Path, forge: Forge) -> None:
    """The hint names the order that works: with no ring, the first run comes before taking over."""
    bench = Bench(tmp_path)
    bench.jwks.parent.mkdir(parents=True, exist_ok=True)
    bench.jwks.write_text('{"keys": []}')
    found = forge.run(bench, "check")
    assert found.code == 75
    assert f"`rotator rotate web --first-run --config {bench.config}` first and then" in found.out
    forge.run(bench, "rotate", "--first-run")
    for words in (("check",), ("status", "--live")):
        ran = forge.run(bench, *words)
        assert ran.code == 75, (words, ran)
    target = f"file:{bench.jwks}"
    assert f"--take-over {target} --config" in forge.run(bench, "check").out
    assert forge.run(bench, "recover", "--take-over", target, "--yes").code == 0
    assert forge.run(bench, "check").code == 0


def test_a_far_date_is_no_wait_for_a_target_that_fails(tmp_path: Path, forge: Forge) -> None:
    """A next key can be announced in 90 days; that its target fails is to be mended now."""
    bench = ready(forge, tmp_path)
    standby = next(key["kid"] for key in bench.read_ring()["keys"] if key["phase"] == "pending")
    bench.jwks.parent.rename(tmp_path / "away")
    bench.jwks.parent.parent.rmdir()
    forge.run(bench, "revoke", standby, "--reason", "x", "--yes")
    said = f"not seen at file:{bench.jwks}, which fails now"
    for words in (("rotate",), ("status", "--live")):
        ran = forge.run(bench, *words)
        assert ran.code == 75, ran
        assert "next: announce a next key by" in ran.out, ran
        assert said in ran.out, ran
    assert bench.answer("rotate")["key_sets"][0]["waits_for"]["detail"] == said
    live = bench.answer("status", "--live")["key_sets"][0]["waits_for"]
    assert said in [step["detail"] for step in live]


@pytest.mark.parametrize("with_kid", [True, False])
def test_a_jwks_that_somebody_verifies_with(tmp_path: Path, forge: Forge, with_kid: bool) -> None:
    """Its keys may be in use: adopting comes first, and nobody is told to clear it."""
    bench = Bench(tmp_path)
    bench.jwks.parent.mkdir(parents=True, exist_ok=True)
    jwk = {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43}
    live = json.dumps({"keys": [jwk | ({"kid": "2024-03"} if with_kid else {})]})
    bench.jwks.write_text(live)
    found = forge.run(bench, "check")
    assert found.code == 75
    adopt = f"`rotator adopt web --from PLACE --config {bench.config}`"
    first = f"`rotator rotate web --first-run --config {bench.config}`"
    assert adopt in found.out, found
    assert found.out.index(adopt) < found.out.index(first)
    assert "clear it" not in found.out
    forge.run(bench, "rotate", "--first-run")
    later = forge.run(bench, "check").out
    assert f"--take-over file:{bench.jwks}" in later
    assert "clear it" not in later
    assert bench.jwks.read_text() == live


def test_a_ring_that_is_gone(tmp_path: Path, forge: Forge) -> None:
    """Its documents are still there, so nobody must call it a key set without keys."""
    bench = Bench(tmp_path)
    for command in ("status", "plan", "history"):
        assert forge.run(bench, command).code == 0
    assert forge.run(bench, "rotate").code == 0
    bench.ring.unlink()
    _all_say_that_it_is_lost(forge, bench, f"file:{bench.jwks}")


def test_a_ring_that_is_gone_from_the_store_of_its_documents(tmp_path: Path, forge: Forge) -> None:
    """Nothing but its own store: the first key takes an operator's word, and a lost ring is seen all the same."""
    inside = [{"to": "store", "store": "local"}]
    bench = Bench(tmp_path, key_set={"deliver": inside, "publish": inside})
    word = f"`rotator rotate web --first-run --config {bench.config}`"
    for command in ("status", "plan", "check"):
        ran = forge.run(bench, command)
        assert ran.code == 0, ran
        assert word in ran.words, (command, ran)
        assert "nothing but its own store can be asked" in ran.words
    refused(forge.run(bench, "rotate"), 75, "--first-run")
    assert forge.run(bench, "rotate", "--first-run").code == 0
    bench.ring.unlink()
    _all_say_that_it_is_lost(forge, bench, "store:local/web/jwks")


def test_a_first_run_that_is_an_operators(tmp_path: Path, forge: Forge) -> None:
    """`first_run: operator` is said before `rotate` refuses."""
    bench = Bench(tmp_path, key_set={"first_run": "operator"})
    for command in ("status", "plan", "check"):
        ran = forge.run(bench, command)
        assert ran.code == 0, ran
        assert "--first-run" in ran.words
        assert "`first_run: operator` is configured" in ran.words


def _all_say_that_it_is_lost(forge: Forge, bench: Bench, target: str) -> None:
    for words in (("status",), ("plan",), ("plan", "--until", "1y"), ("history",)):
        ran = forge.run(bench, *words)
        refused(ran, 65, "the ring of key set web is gone", target, "--ring", "--emergency")
        assert "first key" not in ran.words
    refused(forge.run(bench, "rotate"), 65, "--ring", "--emergency")
    document = bench.answer("check")
    assert document["exit_code"] == 65
    (fault,) = (item for item in document["findings"] if item["level"] == "fault")
    assert target in fault["text"]
    assert "--emergency" in fault["hint"]
    assert not any("no ring yet" in item["text"] for item in document["findings"])


def test_a_kind_that_the_ring_cannot_change_to(tmp_path: Path, forge: Forge) -> None:
    """`plan` and `status` say what `rotate` says; the keys are shown all the same."""
    bench = ready(forge, tmp_path)
    kid = json.loads(bench.signing.read_bytes())["kid"]
    bench.algorithm = "RS256"
    bench.configure()
    for command in ("plan", "status", "rotate"):
        refused(forge.run(bench, command), 78, "would mix key types", "allow_mixed_kty")
    assert kid in forge.run(bench, "status").out
    (shown,) = bench.answer("status")["key_sets"]
    assert shown["current"]["kid"] == kid
    assert shown["error"]["exit_code"] == 78


def test_one_cause_is_told_once(running: Bench) -> None:
    """A store that does not answer is its own fault; the key set names it, and counts for no second."""
    (running.path / "store").rename(running.path / "elsewhere")
    document = json.loads(running.config.read_text())
    document["stores"]["local"] = {"backend": "file", "path": "unmounted/store"}
    running.config.write_text(json.dumps(document))
    found = running.answer("check")["findings"]
    (fault,) = (item for item in found if item["level"] == "fault")
    assert fault["subject"] == "store local"
    (named,) = (item for item in found if item["subject"] == "key set web")
    assert (named["level"], named["exit_code"]) == ("advice", 0)
    assert "store local" in named["text"]
    assert running.run("check").code == 69


def test_a_probe_without_the_key_that_signs(tmp_path: Path, forge: Forge) -> None:
    """Somebody serves an older JWKS to verifiers: their logins fail now, whatever the targets of ours hold."""
    bench = ready(forge, tmp_path)
    served = [bench.jwks.read_bytes()]

    class Web(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(served[0])

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        bench.key_set = {"probes": [f"http://127.0.0.1:{web.server_port}/jwks.json"]}
        bench.configure()
        assert forge.run(bench, "status", "--live").code == 0
        assert forge.run(bench, "check").code == 0
        kid = json.loads(bench.signing.read_bytes())["kid"]
        keys = [key for key in json.loads(served[0])["keys"] if key["kid"] != kid]
        served[0] = json.dumps({"keys": keys}).encode()
        status = forge.run(bench, "status", "--live")
        check = forge.run(bench, "check")
        shown = forge.run(bench, "status", "--live", "--json").json["key_sets"][0]
        web.shutdown()
    assert (status.code, check.code) == (75, 75), (status, check)
    for said in (status.words, check.words, shown["amiss"][0]):
        assert f"serves no JWKS with {kid}, which signs" in said
    assert "see who serves it, and any cache before it" in status.words
