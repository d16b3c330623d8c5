"""Where the document is read, what is refused, and a place that does not answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from rotator.inspection import Role, Scope
from tests.exec.bench import FOREVER, Bench, until
from tests.servers import running as server_of
from tests.servers.vault import VaultServer
from tests.vault.bench import Bench as Vault

QUICK = ("--every", "200ms", "--ready-after", "50ms", "--stop-timeout", "500ms")
COMMAND = ("--", "sh", "-c", FOREVER)


def test_it_waits_for_the_first_document(make: Callable[..., Bench]) -> None:
    """The signer may be started before the first key; for so long, and no longer."""
    bench = make()
    # It says so once it has looked, and a machine that stands still may not have looked so soon.
    for wait in ("200ms", "5s", "30s"):
        running = bench.exec("--wait", wait, *COMMAND)
        assert running.wait() == 75
        if "there is no signing document" in running.err:
            break
    assert "there is no signing document of key set web at files:" in running.err
    running = bench.exec(*QUICK, *COMMAND)
    bench.rotate()
    running.wait_for("exec.ready")
    assert running.end() == 143


def test_what_is_refused_at_the_start(bench: Bench) -> None:
    """Another key set's document, an unknown format: nothing is started."""
    written = bench.signing.read_bytes()
    for changed, said in (
        (written.replace(b'"web"', b'"api"', 1), "belongs to key set 'api'"),
        (written.replace(b"signing/1", b"signing/2"), "has the format 'rotator.signing/2'"),
        (b"{}", "it names no format"),
    ):
        bench.put(changed)
        running = bench.exec(*COMMAND)
        assert running.wait() == 65
        assert said in running.err
        assert running.events("exec.started") == []


def test_what_is_refused_later(bench: Bench) -> None:
    """The command goes on with the key that it has, which is said once for each reason; the next good one heals."""
    first = bench.signing.read_bytes()
    running = bench.exec(*QUICK, *COMMAND)
    running.wait_for("exec.ready")
    second = bench.promote()
    running.wait_for("exec.changed")
    bench.put(first)
    kept = running.wait_for("exec.kept")
    assert "has revision 3, below" in kept["reason"]
    assert kept["kid"] == second
    document = json.loads(first)
    document["revision"] += 100
    document["jwk"]["kid"] = "another"
    bench.put(json.dumps(document).encode())
    assert "contradicts itself" in running.wait_for("exec.kept", 2)["reason"]
    bench.rotate()  # the drift is mended
    running.wait_for("exec.healed")
    assert len(running.events("exec.kept")) == 2
    assert len(running.events("exec.started")) == 2
    running.end()


def test_a_place_that_is_gone_for_a_while(make: Callable[..., Bench]) -> None:
    """One warning, an error once `signer_lag` has passed, and then the promotion that was missed."""
    bench = make(policy={"signer_lag": "1s"})
    bench.rotate()
    running = bench.exec(*QUICK, *COMMAND)
    ready = running.wait_for("exec.ready")
    hidden = bench.home / "hidden"
    bench.signing.parent.rename(hidden)
    running.wait_for("exec.blind")
    assert len(running.events("exec.kept")) == 1
    assert Path(f"/proc/{ready['pid']}").exists(), "it goes on"
    hidden.rename(bench.signing.parent)
    kid = bench.promote()
    assert running.wait_for("exec.changed")["kid"] == kid
    running.wait_for("exec.healed")  # said by another process, after it told of the key
    assert len(running.events("exec.healed")) == 1
    running.end()


def test_several_places(make: Callable[..., Bench]) -> None:
    """One is named, by its kind and name or by either; a mounted directory need not be in the configuration."""
    two = [{"to": "files", "path": "signing"}, {"to": "store", "store": "local"}]
    bench = make(more={"deliver": two})
    bench.rotate()
    unsaid = bench.exec("--", "true")
    assert unsaid.wait() == 2
    assert "it is delivered to several places" in unsaid.err
    assert f"--from files:{bench.home}/signing" in unsaid.err
    elsewhere = bench.home / "mounted"
    elsewhere.mkdir()
    (elsewhere / "signing.json").write_bytes(bench.signing.read_bytes())
    script = 'echo "$ROTATOR_KID" >> got'
    for place in ("store:local", "local", "./signing", "files:mounted", f"files:{elsewhere}"):
        assert bench.exec("--from", place, "--", "sh", "-c", script).wait() == 0
    assert (bench.home / "got").read_text().split() == [bench.kid] * 5
    unknown = bench.exec("--from", "nowhere", "--", "true")
    assert unknown.wait() == 2
    assert "is not delivered to 'nowhere'" in unknown.err


def vault_config(server: VaultServer, prefix: str, token: Path) -> dict[str, Any]:
    """The options of a store that logs in with a token in a file."""
    made = server.settings("any") | {"prefix": prefix}
    return {"backend": "vault", **made, "auth": {"method": "token", "token_file": str(token)}}


def test_a_signer_of_vault(make: Callable[..., Bench], tmp_path: Path) -> None:
    """The policy printed for signers is enough: neither ring nor material is read. Vault's end is survived."""
    server = cast("VaultServer", server_of("vault"))
    vault = Vault(server, tmp_path)
    store = vault.store()
    deliver = [{"to": "store", "store": "vault"}]
    root = vault_config(server, vault.prefix, server.token_file)
    bench = make(more={"deliver": deliver}, stores={"vault": root}, policy={"signer_lag": "1m"})
    bench.rotate()
    scopes = (Scope("web", ring=False, documents=("web/signing",)),)
    policy = store.policy(Role.SIGNER, scopes)
    token = vault.secret("signer", vault.token(policy, no_default_policy=True))
    # The signer's own configuration, with the signer's login; the ring's store is not even there.
    document = json.loads(bench.config.read_text())
    document["stores"]["vault"] = vault_config(server, vault.prefix, token)
    document["stores"]["local"]["path"] = "/nowhere/at/all"
    bench.config.write_text(json.dumps(document))
    script = f'cat "$ROTATOR_SIGNING_FILE" >> got; echo >> got; {FOREVER}'
    running = bench.exec("--every", "300ms", "--ready-after", "50ms", "--", "sh", "-c", script)
    running.wait_for("exec.ready")
    bench.written("got")
    kid = bench.promote()
    assert running.wait_for("exec.changed")["kid"] == kid
    assert json.loads(bench.written("got", 2)[1])["kid"] == kid
    vault.server.do("POST", "auth/token/revoke", {"token": token.read_text().strip()})
    kept = running.wait_for("exec.kept")
    assert kept["kid"] == kid
    until(lambda: len(running.events("exec.started")) == 2)
    assert running.end() == 143
    store.close()
