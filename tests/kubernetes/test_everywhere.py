"""One key set in five kinds of place at once: the same JWKS and the same key in each, read by its own client."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import hvac
from botocore.config import Config

from rotator.assemble import Assembly
from rotator.reconcile.tick import tick
from rotator.ring_reader import read_ring
from rotator.settings import load_settings
from rotator.step import Do
from tests.kubernetes.conftest import Space
from tests.kubernetes.test_life import POLICY
from tests.servers import running
from tests.servers.moto import REGION
from tests.unit.daemon_world import MINUTE, Log, MovedClock

BUCKET = "everywhere"


class Readers:
    """Every place, read as its users read it: no line of ours is between."""

    def __init__(self, space: Space, home: Path) -> None:
        self._space, self._home = space, home
        moto, vault = running("aws"), running("vault")
        once = Config(s3={"addressing_style": "path"})
        self.s3 = boto3.client("s3", endpoint_url=moto.url, region_name=REGION, config=once)
        token = Path(vault.settings("x")["auth"]["token_file"]).read_text().strip()
        self._vault = hvac.Client(vault.url, token=token)

    def _object(self, resource: str, name: str) -> Mapping[str, str]:
        path = f"/api/v1/namespaces/{self._space.name}/{resource}/{name}"
        status, answer = self._space.api.request("GET", path)
        assert status == 200
        return dict(answer["data"])

    def _secret(self, path: str) -> bytes:
        read = self._vault.secrets.kv.v2.read_secret_version(
            f"rotator/everywhere/{path}", raise_on_deleted_version=True
        )
        return str(read["data"]["data"]["document"]).encode()

    def jwks(self) -> dict[str, bytes]:
        """The JWKS by place."""
        return {
            "file": (self._home / "public" / "jwks.json").read_bytes(),
            "configmap": self._object("configmaps", "jwks")["jwks.json"].encode(),
            "s3": self.s3.get_object(Bucket=BUCKET, Key="web/jwks.json")["Body"].read(),
            "vault": self._secret("web/jwks"),
        }

    def signing(self) -> dict[str, dict[str, Any]]:
        """The signing document by place."""
        kept = base64.b64decode(self._object("secrets", "signing")["signing.json"])
        bodies = {
            "files": (self._home / "signing" / "signing.json").read_bytes(),
            "secret": kept,
            "vault": self._secret("web/signing"),
        }
        return {place: json.loads(body) for place, body in bodies.items()}


def configuration(space: Space, home: Path) -> Path:
    """One key set, delivered three ways and published four."""
    moto, vault = running("aws"), running("vault")
    cluster = {"kubeconfig": str(space.kubeconfig)}
    bucket = {"bucket": BUCKET, "region": REGION, "endpoint_url": moto.url}
    path = home / "rotator.json"
    (home / "public").mkdir()
    document = {
        "version": 1,
        "stores": {
            "local": {"backend": "file", "path": "store"},
            "vault": {"backend": "vault", **vault.settings("everywhere")},
        },
        "key_sets": {
            "web": {
                "algorithm": "ES256",
                "store": "local",
                "policy": POLICY,
                "deliver": [
                    {"to": "files", "path": "signing"},
                    {"to": "secret", "name": "signing", **cluster},
                    {"to": "store", "store": "vault"},
                ],
                "publish": [
                    {"to": "file", "path": "public/jwks.json"},
                    {"to": "configmap", "name": "jwks", **cluster},
                    {"to": "s3", **bucket},
                    {"to": "store", "store": "vault"},
                ],
            }
        },
    }
    path.write_text(json.dumps(document))
    return path


def test_every_place_has_the_same_after_each_step(space: Space, tmp_path: Path) -> None:
    """Show 1: over three rotations, whenever nothing is left to do: one JWKS, one key, and both are the ring's."""
    readers, clock, log = Readers(space, tmp_path), MovedClock(), Log()
    readers.s3.create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    settings = load_settings(configuration(space, tmp_path), {})
    signed: set[str] = set()
    steps: set[str] = set()
    with Assembly(settings, log.emit, clock=clock) as assembly:
        site = assembly.site("web")
        while len(signed) < 4:
            outcome = tick(site)
            assert not outcome.failures
            if outcome.changed or outcome.step.do is not Do.WAIT:
                continue
            stored = site.rings.load()
            assert stored is not None
            ring = read_ring(stored.document, key_set="web")
            active = ring.active
            assert active is not None
            (body,) = set(readers.jwks().values())
            assert {key["kid"] for key in json.loads(body)["keys"]} == {
                key.kid for key in ring.published
            }
            documents = readers.signing()
            assert {item["kid"] for item in documents.values()} == {active.kid}
            assert len({item["pem"] for item in documents.values()}) == 1
            signed.add(active.kid)
            steps.add(",".join(sorted(key.phase.value for key in ring.published)))
            clock.advance(MINUTE)
    assert steps >= {"active,pending", "active,pending,retiring"}
