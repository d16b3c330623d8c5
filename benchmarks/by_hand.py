"""A rotation by the script that people write today, beside `rotator rotate --emergency --yes`, on AWS.

    python -P -m benchmarks.by_hand [--rounds N]

Both make a P-256 key and leave a signing document and a JWKS in AWS Secrets Manager (moto's server). The
script (`by_hand.sh`) is openssl and four calls of the AWS CLI, and is checked first: what a signer signs
after it with what it finds there, a verifier verifies with what it finds there, and the key before it, too.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

import boto3
import jwt

from benchmarks.interleaved import Contender, race, rotator
from benchmarks.stores import AWS_CLI, ground

SCRIPT: Final = Path(__file__).with_name("by_hand.sh")


def run(rounds: int) -> None:
    """Prepare both, see that the script is correct, and race them."""
    if not AWS_CLI.exists():
        print("by hand: left out, for there is no AWS CLI; `make bench` installs it")
        return
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        here = ground("aws", directory / "aws", documents=True)
        assert here.server is not None
        environ = {
            **here.server.environ,
            "AWS_ENDPOINT_URL": here.store["endpoint_url"],
            "AWS_DEFAULT_REGION": here.store["region"],
        }
        os.environ.update(environ)
        prefix = f"{here.store['prefix']}-by-hand"
        path = f"{AWS_CLI.parent}{os.pathsep}{os.environ['PATH']}"
        script = Contender(
            "openssl and four calls of the AWS CLI",
            [SCRIPT, prefix],
            environ={**environ, "PATH": path},
        )
        check(script, prefix, directory)
        emergency = rotator("-c", "rotator.json", "rotate", "--emergency", "--yes")
        ours = Contender("rotator rotate --emergency --yes", emergency, here.path, environ)
        race([script, ours], rounds, directory)
    print(f"a new P-256 key in use, on AWS: medians of {rounds} interleaved runs")
    for one in (script, ours):
        print(
            f"  {one.name:38} {one.time * 1000:6.0f} ms, {one.work * 1000:5.0f} ms CPU,"
            f" peak {max(one.peak):5.1f} MiB"
        )
    print(
        f"  ratio: {ours.time / script.time:.2f} by time, {ours.work / script.work:.2f} by CPU,"
        " wanted at most 0.33"
    )


def check(script: Contender, prefix: str, directory: Path) -> None:
    """See that tokens of the key before and of the new key verify after each run."""
    client = boto3.client("secretsmanager")
    client.create_secret(Name=f"{prefix}/signing", SecretString="{}")
    client.create_secret(Name=f"{prefix}/jwks", SecretString='{"keys":[{"kty":"none yet"}]}')

    def read(name: str) -> Any:
        secret = client.get_secret_value(SecretId=f"{prefix}/{name}", VersionStage="AWSCURRENT")
        return json.loads(secret["SecretString"])

    tokens: list[str] = []
    for _ in range(2):
        script.run(directory)
        signing = read("signing")
        headers = {"kid": signing["kid"]}
        tokens.append(jwt.encode({"sub": "x"}, signing["pem"], "ES256", headers=headers))
    published = jwt.PyJWKSet.from_dict(read("jwks"))
    for token in tokens:
        key = published[jwt.get_unverified_header(token)["kid"]]
        jwt.decode(token, key.key, ["ES256"])
    for costs in (script.wall, script.cpu, script.peak):
        costs.clear()


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    run(parser.parse_args().rounds)


if __name__ == "__main__":
    main()
