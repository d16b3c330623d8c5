"""Real processes for the campaigns: daemons, signers, verifiers; all waiting is on conditions, bounded."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from tests import servers

HERE: Final = Path(__file__).resolve().parent
BOUND: Final = 150.0  # seconds; only a test that fails waits so long

TOKEN_TTL: Final = 3
SIGNER_LAG: Final = 2
VERIFIER_CACHE: Final = 1
HTTP_CACHE: Final = 2
LEEWAY: Final = 1
ROTATE_EVERY: Final = 7
POLICY: Final = {
    "token_ttl": f"{TOKEN_TTL}s",
    "signer_lag": f"{SIGNER_LAG}s",
    "rotate_every": f"{ROTATE_EVERY}s",
    "propagation": "4s",
    "verifier_cache": f"{VERIFIER_CACHE}s",
    "leeway": f"{LEEWAY}s",
    "clock_skew": "200ms",
    "jwks_max_age": "1s",
    "jwks_stale": "1s",
    "resync": "500ms",
}


def pause(seconds: float) -> None:
    """Let time pass that the scenario asks for."""
    threading.Event().wait(seconds)


class Output:
    """Lines of a pipe as they come, kept whole."""

    def __init__(self, pipe: Any) -> None:
        self.lines: list[bytes] = []
        self._new = threading.Condition()
        self._events: list[dict[str, Any]] = []
        self._named: dict[str | None, list[dict[str, Any]]] = {}
        self._parsed = 0
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe: Any) -> None:
        for line in pipe:
            with self._new:
                self.lines.append(line)
                self._new.notify_all()
        with self._new:
            self._new.notify_all()

    def events(self) -> list[dict[str, Any]]:
        """The lines that are events."""
        with self._new:
            self._parse()
            return list(self._events)

    def named(self, name: str) -> list[dict[str, Any]]:
        """The events of a name."""
        with self._new:
            self._parse()
            return list(self._named.get(name, ()))

    def _parse(self) -> None:
        # Each line once: what waits for an event asks after every one of thousands.
        for line in self.lines[self._parsed :]:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                self._events.append(event)
                self._named.setdefault(event.get("event"), []).append(event)
        self._parsed = len(self.lines)

    def wait_for(self, true: Callable[[], bool], bound: float = BOUND) -> bool:
        """Wait until something holds; it is asked again after each line."""
        with self._new:
            return self._new.wait_for(true, bound)

    def join(self) -> None:
        """Wait for the end of the pipe."""
        self._thread.join(BOUND)


class Daemon:
    """`rotator run` with a configuration, as a process."""

    def __init__(self, config: Path, *, level: str = "info", **environ: str) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "rotator", "--config", str(config)),
                *("--log-format", "json", "--log-level", level, "run"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | environ,
        )
        self.out, self.err = Output(self.process.stdout), Output(self.process.stderr)

    def count(self, event: str, **fields: str) -> int:
        """How often an event was logged, with some of its fields."""
        return sum(fields.items() <= item.items() for item in self.err.named(event))

    def wait_for(self, event: str, times: int = 1, **fields: str) -> None:
        """Wait until an event was logged so often."""
        came = self.err.wait_for(
            lambda: self.count(event, **fields) >= times or self.process.poll() is not None
        )
        assert came, f"{event} did not come: {self.tail()}"
        if self.process.poll() is not None:
            self.err.join()  # what it said last may still be in the pipe
        assert self.count(event, **fields) >= times, self.tail()

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def stand_still(self) -> None:
        """Stop it, and return once all of it has stopped."""
        self.send(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        self.send(number)
        code = self.process.wait(BOUND)
        self.out.join()
        self.err.join()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        return code

    def tail(self) -> str:
        """The last lines, for the message of a failure."""
        return b"".join(self.err.lines[-15:]).decode()


class Pair:
    """A signer, a verifier, and the pipe between them."""

    def __init__(self, document: Path, source: str, *, http_cache: float, rate: float) -> None:
        self.signer = subprocess.Popen(
            [
                *(sys.executable, "-P", str(HERE / "signer.py"), str(document)),
                *("--lag", str(SIGNER_LAG), "--ttl", str(TOKEN_TTL), "--pause", str(1 / rate)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.verifier = subprocess.Popen(
            [
                *(sys.executable, "-P", str(HERE / "verifier.py"), source),
                *("--http-cache", str(http_cache), "--cache", str(VERIFIER_CACHE)),
                *("--leeway", str(LEEWAY)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.tokens = 0
        self.kids: set[str] = set()
        self._pump = threading.Thread(target=self._pass_on, daemon=True)
        self._pump.start()

    def _pass_on(self) -> None:
        assert self.signer.stdout is not None
        assert self.verifier.stdin is not None
        for line in self.signer.stdout:
            self.verifier.stdin.write(line)
            self.verifier.stdin.flush()
            self.kids.add(json.loads(line)["kid"])
            self.tokens += 1
        self.verifier.stdin.close()

    def finish(self) -> dict[str, Any]:
        """End the signer, let the verifier check to the last token, and return what it found."""
        assert self.signer.stdin is not None
        self.signer.stdin.close()
        self._pump.join(BOUND)
        signer_said = self._rest(self.signer)
        said, faults = _read(self.verifier.stdout), _read(self.verifier.stderr)
        assert self.signer.wait(BOUND) == 0, signer_said
        assert self.verifier.wait(BOUND) == 0, faults
        found: dict[str, Any] = json.loads(said)
        return found

    def _rest(self, process: subprocess.Popen[bytes]) -> str:
        if process.stdout is not None:
            process.stdout.close()
        return _read(process.stderr)

    def kill(self) -> None:
        """End both, whatever they do."""
        for process in (self.signer, self.verifier):
            process.kill()
            process.wait(BOUND)
        self._pump.join(BOUND)
        for process in (self.signer, self.verifier):
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()


def _read(pipe: Any) -> str:
    with pipe:
        return str(pipe.read().decode())


def free_port() -> int:
    """A port of loopback that nobody listens at, and nobody is given meanwhile."""
    return servers.free_port()


def key_set(home: Path, name: str, algorithm: str, *, size: int | None = None) -> dict[str, Any]:
    """The configuration of one key set with everything delivered and published below a directory."""
    deliver = [{"to": "files", "path": str(home / "signing" / name)}]
    made: dict[str, Any] = {"algorithm": algorithm, "policy": dict(POLICY), "deliver": deliver}
    if size is not None:
        made["key_size"] = size
    if algorithm.startswith("HS"):
        path = str(home / "verification" / name)
        deliver.append({"to": "files", "document": "verification", "path": path})
    else:
        made["publish"] = [{"to": "file", "path": str(home / "public" / f"{name}.json")}]
    return made


def configure(
    home: Path, key_sets: dict[str, Any], *, replica: str = "", port: int | None = None
) -> Path:
    """Write a configuration as JSON, and the directories that it needs."""
    for name in ("signing", "verification", "public"):
        (home / name).mkdir(exist_ok=True, mode=0o755)
    settings: dict[str, Any] = {
        "version": 1,
        "state_dir": str(home / f"state{replica}"),
        "stores": {"local": {"backend": "file", "path": str(home / "store")}},
        "key_sets": key_sets,
    }
    if port is not None:
        settings["server"] = {"listen": f"127.0.0.1:{port}"}
    path = home / f"rotator{replica}.json"
    path.write_text(json.dumps(settings, indent=1))
    return path


def ring_of(home: Path, name: str) -> dict[str, Any]:
    """The ring of a key set as the file store holds it."""
    ring: dict[str, Any] = json.loads((home / "store" / name / "ring.json").read_bytes())
    return ring


@contextlib.contextmanager
def ended(*things: Any) -> Iterator[None]:
    """Leave no process behind, however the block ends."""
    try:
        yield
    finally:
        for thing in things:
            for one in thing if isinstance(thing, list) else [thing]:
                if isinstance(one, Pair):
                    one.kill()
                elif one.process.poll() is None:
                    one.send(signal.SIGCONT)
                    one.end(signal.SIGKILL)


def until(true: Callable[[], bool], bound: float = BOUND, *, every: float = 0.05) -> None:
    """Wait until something holds, asking again and again; seldom, where it takes long to answer."""
    end = time.monotonic() + bound
    while not true():
        assert time.monotonic() < end, "it did not come about in time"
        pause(every)
