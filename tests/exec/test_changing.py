"""The command always has the key that signs: ten promotions under load, by restart and by signal."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.exec.bench import FOREVER, ISSUER, Bench, Exec, children, until


class Verifier:
    """Reads the tokens of an issuer as they come, and verifies each with the JWKS as it is just then."""

    def __init__(self, bench: Bench, running: Exec) -> None:
        self._bench, self._running = bench, running
        self.accepted: dict[str, int] = {}
        self.rejected: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with (self._bench.home / "out").open() as file:
            rest = ""
            while True:
                over = self._stop.is_set()  # before the last read, so that nothing is left out
                *lines, rest = (rest + file.read()).split("\n")
                for token in lines:
                    self._verify(token)
                if over:
                    return
                self._stop.wait(0.005)

    def _verify(self, token: str) -> None:
        kid = str(jwt.get_unverified_header(token)["kid"])
        try:
            keys = jwt.PyJWKSet.from_dict(self._bench.jwks)
            jwt.decode(token, keys[kid].key, algorithms=["ES256"], leeway=5)
        except (jwt.PyJWTError, KeyError) as error:
            self.rejected.append(f"{kid}: {error!r}")
            return
        self.accepted[kid] = self.accepted.get(kid, 0) + 1

    def finish(self) -> None:
        """Read to the end."""
        self._stop.set()
        self._thread.join()


@pytest.mark.parametrize("how", ["restart", "signal:HUP"])
def test_ten_promotions_under_load(bench: Bench, how: str) -> None:
    """Each new key is used within moments, the one before is retired, and no token is ever rejected."""
    promotions = 10 if how == "restart" else 3
    running = bench.exec("--ready-notify", "--on-change", how, "--", *ISSUER)
    running.wait_for("exec.ready")
    verifier = Verifier(bench, running)
    kids = [bench.kid]
    until(lambda: verifier.accepted.get(kids[0], 0) >= 3)
    for count in range(1, promotions + 1):
        kids.append(bench.promote())
        changed = running.wait_for("exec.changed", count)
        assert (changed["kid"], changed["replaces"]) == (kids[-1], kids[-2])
        until(lambda: verifier.accepted.get(kids[-1], 0) >= 3)
    assert kids[0] not in {key["kid"] for key in bench.jwks["keys"]}, "nothing was ever retired"
    assert running.end() == 0
    verifier.finish()
    assert verifier.rejected == []
    assert set(verifier.accepted) == set(kids)
    assert len({event["pid"] for event in running.events("exec.started")}) == (
        promotions + 1 if how == "restart" else 1
    )
    assert bench.marked() == []


def test_one_path_shows_each_key(bench: Bench) -> None:
    """With a signal the path stays, shows the new file at once, and goes with the program."""
    shown = bench.home / "shown"
    script = f"""trap 'cat "$ROTATOR_SIGNING_FILE" > {shown}' USR1; echo "$ROTATOR_SIGNING_FILE" > path
    while :; do tail -f /dev/null & wait $!; kill $! 2>/dev/null; done"""
    running = bench.exec(
        "--file",
        "jwk",
        "--on-change",
        "signal:USR1",
        "--ready-after",
        "100ms",
        "--",
        "sh",
        "-c",
        script,
    )
    running.wait_for("exec.ready")
    path = Path(*bench.written("path"))
    assert bench.kid in path.read_text()
    kid = bench.promote()
    running.wait_for("exec.changed")
    assert kid in path.read_text()
    until(lambda: shown.exists() and kid in shown.read_text())
    # Whoever holds the file is no heir of the credentials in our environment, and ends with us.
    holder = path.parents[1]
    assert (holder / "environ").read_bytes() == b""
    running.send(signal.SIGKILL)
    running.wait()
    until(lambda: not holder.exists())
    until(lambda: bench.marked() == [])


def test_a_path_that_is_lost_is_a_restart(bench: Bench) -> None:
    """The holder may be killed: then the command is started anew with a new path, for no signal helps it."""
    script = f'echo "$ROTATOR_SIGNING_FILE" >> path; {FOREVER}'
    words = ("--on-change", "signal:USR1", "--ready-after", "100ms", "--", "sh", "-c", script)
    running = bench.exec(*words)
    running.wait_for("exec.ready")
    holder = int(bench.written("path")[0].split("/")[2])
    os.kill(holder, signal.SIGKILL)
    kid = bench.promote()
    assert running.wait_for("exec.changed")["by"] == "restart"
    first, second = bench.written("path", 2)
    assert first != second
    assert kid in Path(second).read_text()


def test_the_same_key_is_no_change(bench: Bench) -> None:
    """A document that is written anew, with a higher revision too, disturbs nobody."""
    running = bench.exec("--ready-after", "100ms", "--", "sh", "-c", FOREVER)
    running.wait_for("exec.ready")
    before = bench.signing.read_bytes()
    bench.put(before.replace(b'"revision":3', b'"revision":4'))
    assert bench.rotate() in before.decode()
    bench.promote()
    running.wait_for("exec.changed")
    assert len(running.events("exec.started")) == 2


def test_an_hmac_key_in_the_environment(make: Callable[..., Bench]) -> None:
    """For programs that read nothing else; each form is the same secret, and a restart brings the next."""
    bench = make(algorithm="HS256")
    bench.rotate()
    script = f'echo "$KEY $HEX $WHICH ${{ROTATOR_SIGNING_FILE-none}}" >> got; {FOREVER}'
    env = [f"--env={word}" for word in ("KEY=secret-base64", "HEX=secret-hex", "WHICH=kid")]
    running = bench.exec("--file=none", *env, "--ready-after", "50ms", "--", "sh", "-c", script)
    running.wait_for("exec.ready")
    bench.written("got")  # before the next key: asked to end at once, it might not have come so far
    bench.promote()
    running.wait_for("exec.changed")
    import base64
    import json

    lines = bench.written("got", 2)
    assert len(lines) == 2
    key, in_hex, kid, file = lines[1].split()
    document: dict[str, Any] = json.loads(bench.signing.read_bytes())
    secret = base64.urlsafe_b64decode(document["jwk"]["k"] + "==")
    assert (base64.b64decode(key), bytes.fromhex(in_hex)) == (secret, secret)
    assert (kid, file) == (document["kid"], "none")


def test_the_reader_may_be_killed(bench: Bench) -> None:
    """Another one takes its place, and the next promotion is seen."""
    running = bench.exec("--ready-after", "100ms", "--", "sh", "-c", FOREVER)
    ready = running.wait_for("exec.ready")
    reader = next(pid for pid in children(running.pid) if pid != ready["pid"])
    os.kill(reader, signal.SIGKILL)
    running.wait_for("exec.reader_died")
    bench.promote()
    running.wait_for("exec.changed")
    assert running.end() == 143
