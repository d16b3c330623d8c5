"""`rotator rotate` with nothing due on each secrets manager, beside the same single call made by other means.

    python -P -m benchmarks.stores [--rounds N] [BACKEND...]

Signing document and JWKS lie in files, so that every contender makes one call: it reads one secret. Servers
are those of the tests (`make servers`, and moto), the AWS CLI is that of `.bench` (`make bench`).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from benchmarks.interleaved import Contender, python, race, rotator
from tests.servers import RunningServer, running

ROOT: Final = Path(__file__).resolve().parents[1]
AWS_CLI: Final = ROOT / ".bench" / "bin" / "aws"
PEAK: Final = 75  # MiB
BACKENDS: Final = ("aws", "vault", "conjur")

_BOTO3: Final = """
import boto3, sys
client = boto3.client("secretsmanager")
client.get_secret_value(SecretId=sys.argv[1], VersionStage="AWSCURRENT")["SecretString"]
"""
_HVAC: Final = """
import hvac, pathlib, sys
address, token_file, path = sys.argv[1:]
client = hvac.Client(url=address, token=pathlib.Path(token_file).read_text().strip())
client.secrets.kv.v2.read_secret_version(path=path, raise_on_deleted_version=True)["data"]["data"]
"""


@dataclass(frozen=True)
class Ground:
    """A key set at rest, its ring and material on one server."""

    path: Path
    server: RunningServer | None
    store: dict[str, Any]
    secret: str = ""


def ground(backend: str, path: Path, *, documents: bool = False) -> Ground:
    """Make a key set of ES256 on the server of a backend, and rotate until nothing is due.

    Args:
        documents: whether signing document and JWKS lie in the store too.
    """
    path.mkdir()
    prefix = f"bench-{uuid.uuid4().hex[:12]}"
    server = None if backend == "file" else running(backend)
    store = {"path": "store"} if server is None else server.settings(prefix)
    kept = [{"to": "store", "store": "main"}]
    configuration = {
        "version": 1,
        "stores": {"main": {"backend": backend, **store}},
        "key_sets": {
            "orders": {
                "algorithm": "ES256",
                "policy": {"token_ttl": "15m", "signer_lag": "5m"},
                "deliver": kept if documents else [{"to": "files", "path": "signing"}],
                "publish": kept if documents else [{"to": "file", "path": "jwks.json"}],
            }
        },
    }
    (path / "rotator.json").write_text(json.dumps(configuration))
    first = ("--first-run",) if documents else ()
    for words in (("rotate", *first), ("rotate",), ("rotate",)):
        Contender("preparation", rotator("-c", "rotator.json", *words)).run(path)
    return Ground(path, server, store, store.get("prefix", "") + "/orders/ring")


def contenders(backend: str, here: Ground) -> Iterator[Contender]:
    """Yield `rotator rotate` with nothing due, and what else reads one secret there."""
    environ = {} if here.server is None else dict(here.server.environ)
    words = rotator("-c", "rotator.json", "rotate")
    yield Contender(f"rotator rotate, {backend}", words, here.path, environ)
    if backend == "aws":
        where = {"AWS_ENDPOINT_URL": here.store["endpoint_url"]}
        where |= {"AWS_DEFAULT_REGION": here.store["region"], **environ}
        call = ("secretsmanager", "get-secret-value", "--secret-id", here.secret)
        if AWS_CLI.exists():
            yield Contender("aws get-secret-value", [AWS_CLI, *call], here.path, where)
        yield Contender("boto3 script", python(_BOTO3, here.secret), here.path, where)
    elif backend == "vault":
        token = here.store["auth"]["token_file"]
        script = python(_HVAC, here.store["address"], token, here.secret)
        yield Contender("hvac script", script, here.path, environ)


def run(backends: tuple[str, ...], rounds: int) -> None:
    """Race all of them, and print medians and the ratios that are wanted."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        all_of: list[Contender] = list(contenders("file", ground("file", directory / "file")))
        for backend in backends:
            try:
                here = ground(backend, directory / backend)
            except pytest.skip.Exception as reason:
                print(f"{backend} is left out: {reason}")
                continue
            all_of += contenders(backend, here)
        race(all_of, rounds, directory)
    print(f"nothing due, one secret read: medians of {rounds} interleaved runs")
    for one in all_of:
        print(
            f"  {one.name:24} {one.time * 1000:6.0f} ms, {one.work * 1000:5.0f} ms CPU,"
            f" peak {max(one.peak):5.1f} MiB"
        )
    by_name = {one.name: one for one in all_of}
    _ratio(by_name, "rotator rotate, aws", ("aws get-secret-value",))
    _ratio(by_name, "rotator rotate, aws", ("boto3 script",))
    _ratio(by_name, "rotator rotate, vault", ("hvac script", "rotator rotate, file"))
    highest = max(max(one.peak) for one in all_of if one.name.startswith("rotator"))
    print(f"  highest peak of rotator: {highest:.1f} MiB, wanted at most {PEAK}")


def _ratio(by_name: dict[str, Contender], ours: str, others: tuple[str, ...]) -> None:
    if not {ours, *others} <= by_name.keys():
        return
    beside = " + ".join(others)
    wall = by_name[ours].time / sum(by_name[name].time for name in others)
    cpu = by_name[ours].work / sum(by_name[name].work for name in others)
    wanted = "" if others == ("boto3 script",) else ", wanted at most 1"
    print(f"  {ours} / ({beside}): {wall:.2f} by time, {cpu:.2f} by CPU{wanted}")


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("backends", nargs="*", default=BACKENDS)
    arguments = parser.parse_args()
    run(tuple(arguments.backends), arguments.rounds)


if __name__ == "__main__":
    main()
