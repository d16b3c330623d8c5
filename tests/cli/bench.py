"""A directory with a configuration, and the real command run in it as a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema

ROOT: Final = Path(__file__).parents[2]
COMMAND: Final = (sys.executable, "-P", "-m", "rotator")
BOUND: Final = 120.0  # seconds; nothing here waits for time to pass

# Long enough that nothing falls due by itself while a test runs.
SLOW: Final = {"token_ttl": "15m", "signer_lag": "5m"}
# The same, but whoever leaves a key half created is given up after a second (half of a short grace).
BRIEF: Final = {
    "token_ttl": "2s",
    "signer_lag": "100ms",
    "leeway": "0s",
    "clock_skew": "200ms",
    "propagation": "8h",
}


@dataclass(frozen=True)
class Ran:
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)

    @property
    def words(self) -> str:
        """Everything that it said, on one line."""
        return " ".join((self.out + self.err).split())


@dataclass
class Bench:
    """One configuration with a file store, a delivery and a JWKS file.

    Attributes:
        key_sets: by name, what the configuration says of it beside its targets.
        more: what else is in the configuration.
    """

    path: Path
    algorithm: str = "ES256"
    policy: Mapping[str, str] = field(default_factory=lambda: SLOW)
    names: tuple[str, ...] = ("web",)
    key_set: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("signing", "jwks"):
            (self.path / name).mkdir(exist_ok=True)
        self.configure()

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.path / "rotator.json"

    @property
    def ring(self) -> Path:
        """The ring of the first key set."""
        return self.path / "store" / self.names[0] / "ring.json"

    @property
    def jwks(self) -> Path:
        """The published JWKS of the first key set."""
        return self.path / "jwks" / self.names[0] / "jwks.json"

    @property
    def signing(self) -> Path:
        """The signing document of the first key set."""
        return self.path / "signing" / self.names[0] / "signing.json"

    @property
    def material(self) -> Path:
        """Where the file store keeps the material of the first key set."""
        return self.path / "store" / self.names[0] / "material"

    def configure(self, **policy: str) -> None:
        """Write the configuration, with some durations changed."""
        document = {
            "version": 1,
            "stores": {"local": {"backend": "file", "path": "store"}},
            "key_sets": {name: self._one(name, policy) for name in self.names},
            **self.more,
        }
        self.config.write_text(json.dumps(document, indent=1))

    def _one(self, name: str, policy: Mapping[str, str]) -> dict[str, Any]:
        verified = self.algorithm.startswith("HS")
        deliver = [{"to": "files", "path": f"signing/{name}"}]
        document: dict[str, Any] = {
            "algorithm": self.algorithm,
            "policy": {**self.policy, **policy},
            "deliver": deliver,
        }
        if verified:
            deliver.append({"to": "files", "path": f"signing/{name}-v", "document": "verification"})
        else:
            document["publish"] = [{"to": "file", "path": f"jwks/{name}/jwks.json"}]
        return document | dict(self.key_set)

    def run(self, *words: str, env: Mapping[str, str] | None = None, said: str = "") -> Ran:
        """Run one command to its end, in a fork of a process that has everything imported."""
        from tests.cli.forge import shared

        return shared().run(self, *words, env=env, said=said)

    def run_from_nothing(self, *words: str, env: Mapping[str, str] | None = None) -> Ran:
        """Run one command to its end as a shell does: a new interpreter, which takes twenty times as long."""
        done = subprocess.run(
            [*COMMAND, "-c", str(self.config), *words],
            cwd=self.path,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BOUND,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start one command; whoever starts it ends it."""
        return subprocess.Popen(
            [*COMMAND, "-c", str(self.config), *words],
            cwd=self.path,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def good(self, *words: str) -> Ran:
        """Run a command that must end well."""
        ran = self.run(*words)
        assert ran.code == 0, f"{words}: {ran.code}\n{ran.out}\n{ran.err}"
        return ran

    def answer(self, *words: str) -> Any:
        """Run a command with `--json`, hold its answer against `docs/json.md`, and return it."""
        ran = self.run(*words, "--json")
        assert ran.out, ran.err
        hold_against_schema(ran.json)
        return ran.json

    def state(self) -> dict[str, Any]:
        """Return what `status` says of the first key set."""
        shown: dict[str, Any] = self.answer("status", self.names[0])["key_sets"][0]
        return shown

    def read_ring(self) -> dict[str, Any]:
        """Return the ring of the first key set."""
        document: dict[str, Any] = json.loads(self.ring.read_bytes())
        return document

    def kept(self) -> tuple[bytes | None, bytes | None]:
        """Return the bytes of ring and JWKS, None for what is not there."""
        ring, jwks = (
            file.read_bytes() if file.is_file() else None for file in (self.ring, self.jwks)
        )
        return ring, jwks

    def tree(self) -> str:
        """Return a hash of every name, mode and byte below the directory."""
        digest = hashlib.sha256()
        for path in sorted(self.path.rglob("*")):
            found = path.lstat()
            digest.update(f"{path}\0{found.st_mode}\0{found.st_mtime_ns}\0".encode())
            if path.is_file() and not path.is_symlink():
                digest.update(path.read_bytes())
        return digest.hexdigest()


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without what would change the command, and with more."""
    unwanted = ("ROTATOR", "NO_COLOR", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {**kept, **(more or {})}


@cache
def schemas() -> dict[str, Any]:
    """Return the schemas of `docs/json.md` by format, each with the shared definitions."""
    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    blocks = [
        json.loads(found) for found in re.findall(r"```json schema\n(.*?)```", text, re.DOTALL)
    ]
    shared = blocks.pop(0)
    return {block["properties"]["format"]["const"]: {**block, **shared} for block in blocks}


def hold_against_schema(document: Any) -> None:
    """Fail unless a document is what `docs/json.md` says of its format."""
    schema = schemas()[document["format"]]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
