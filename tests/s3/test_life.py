"""A key set that publishes to S3 and to Conjur's authn-jwt, through its life: read back by their own clients."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from rotator.assemble import Assembly
from rotator.errors import Conflict
from rotator.operations.emergency import revoke
from rotator.reconcile.site import Outcome, Site
from rotator.reconcile.tick import tick
from rotator.settings import load_settings
from tests.campaign.needles import needles_of, search
from tests.cli.bench import Bench
from tests.s3.conftest import KEY, Place, client
from tests.servers import running
from tests.servers.conjur import ConjurProcess
from tests.servers.proxy import Proxy

DAY = timedelta(days=1)
ISSUER = "https://issuer.example"
LOGIN = {"workload": "app", "iss": ISSUER}
SERVICE = """
- !policy
  id: conjur/authn-jwt/shop
  body:
    - !webservice
    - !variable public-keys
    - !variable issuer
    - !variable token-app-property
    - !variable identity-path
    - !group apps
    - !permit
      role: !group apps
      privilege: [ read, authenticate ]
      resource: !webservice
    - !permit
      role: !host /rotator
      privileges: [ read, execute, update ]
      resources: [ !variable public-keys, !variable issuer, !variable token-app-property, !variable identity-path ]
- !policy
  id: ci
  body:
    - !host
      id: app
      annotations:
        authn-jwt/shop/workload: app
- !grant
  role: !group conjur/authn-jwt/shop/apps
  member: !host ci/app
"""


@dataclass
class Moved:
    """Both clocks of a host, moved by the test."""

    wall: datetime = field(default_factory=lambda: datetime.now(UTC))
    boot: timedelta = timedelta(hours=1)

    def now(self) -> datetime:
        return self.wall

    def elapsed(self) -> timedelta:
        return self.boot

    def advance(self, by: timedelta) -> None:
        """Let time pass."""
        self.wall += by
        self.boot += by


@dataclass
class Life:
    """A key set, its clock, and what it said."""

    site: Site
    clock: Moved
    events: list[dict[str, Any]]
    signing: Path

    def tick(self) -> Outcome:
        """Tick until nothing changes any more."""
        for _ in range(30):
            try:
                outcome = tick(self.site)
            except Conflict:
                continue
            if not outcome.changed:
                return outcome
        raise AssertionError("it never comes to rest")

    def signed(self) -> str:
        """Return a token that the signer signs now."""
        document = json.loads(self.signing.read_bytes())
        claims = {**LOGIN, "exp": datetime.now(UTC) + timedelta(hours=1)}
        return jwt.encode(claims, document["pem"], document["alg"], {"kid": document["kid"]})

    def kids(self, phase: str) -> list[str]:
        """Return the kids in a phase."""
        return [key.kid for key in self.tick().ring.keys if key.phase.value == phase]


def life(tmp_path: Path, entries: list[dict[str, Any]], **more: Any) -> tuple[Assembly, Life]:
    """Return a key set that had no tick yet."""
    bench = Bench(tmp_path, key_set={"store": "local", "publish": entries}, more=more)
    clock, events = Moved(), list[dict[str, Any]]()

    def emit(level: str, event: str, **fields: Any) -> None:
        events.append({"level": level, "event": event, **fields})

    assembly = Assembly(load_settings(bench.config, {}), emit, clock=clock)
    return assembly, Life(assembly.site("web"), clock, events, bench.signing)


@pytest.fixture(autouse=True)
def _readable(place: Place) -> None:
    """Everybody may read the objects of the bucket, as verifiers do without a CDN."""
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{place.bucket}/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    place.sdk.put_bucket_policy(Bucket=place.bucket, Policy=policy)


@pytest.fixture
def distribution(place: Place) -> str:
    """A CloudFront distribution before the bucket."""
    origin = {
        "Id": "o",
        "DomainName": f"{place.bucket}.s3.amazonaws.com",
        "S3OriginConfig": {"OriginAccessIdentity": ""},
    }
    config = {
        "CallerReference": place.bucket,
        "Origins": {"Quantity": 1, "Items": [origin]},
        "DefaultCacheBehavior": {"TargetOriginId": "o", "ViewerProtocolPolicy": "https-only"},
        "Comment": "",
        "Enabled": True,
    }
    made = client(place.server, "cloudfront").create_distribution(DistributionConfig=config)
    return str(made["Distribution"]["Id"])


@pytest.fixture
def s3(tmp_path: Path, place: Place, distribution: str) -> Iterator[Life]:
    """A key set in a bucket behind CloudFront, after its first ticks."""
    entry = {"to": "s3", **place.options(cloudfront={"distribution": distribution})}
    assembly, found = life(tmp_path, [entry])
    with assembly:
        found.tick()
        yield found


def verified(place: Place, token: str) -> None:
    """Verify a token as verifiers do: by HTTP GET, and by what boto3 reads."""
    url = f"{place.server.url}/{place.bucket}/{KEY}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=60) as answer:
        assert answer.headers["Content-Type"] == "application/jwk-set+json"
        assert answer.headers["Cache-Control"].startswith("public, max-age=300, stale-")
        served = answer.read()
    assert served == place.read()["Body"].read()
    kid = jwt.get_unverified_header(token)["kid"]
    jwt.decode(token, jwt.PyJWKSet.from_json(served.decode())[kid], ["ES256"])


def test_through_three_rotations(s3: Life, place: Place) -> None:
    """At each step the object verifies the tokens of now and of just before; nothing needs CloudFront."""
    tokens = [s3.signed()]
    for _ in range(3):
        s3.clock.advance(90 * DAY + timedelta(minutes=1))
        s3.tick()
        tokens.append(s3.signed())
        for token in tokens[-2:]:
            verified(place, token)
        s3.clock.advance(timedelta(hours=1))
        s3.tick()
        verified(place, tokens[-1])
        with pytest.raises(KeyError):
            verified(place, tokens[-2])
    assert len({jwt.get_unverified_header(token)["kid"] for token in tokens}) == 4
    metadata = place.read()["Metadata"]
    assert metadata["rotator-key-set"] == "web"
    assert int(metadata["rotator-revision"]) <= s3.tick().ring.revision
    assert not [one for one in s3.events if one["event"].startswith("cdn.")]


def test_revoked(s3: Life, place: Place, distribution: str) -> None:
    """Out of the object, CloudFront told once, the log says so; the standby's tokens verify."""
    bad = s3.signed()
    kid = jwt.get_unverified_header(bad)["kid"]
    revoke(s3.site, [kid], "leaked")
    s3.tick()
    verified(place, s3.signed())
    with pytest.raises(KeyError):
        verified(place, bad)
    (told,) = [one for one in s3.events if one["event"] == "cdn.invalidated"]
    cdn = client(place.server, "cloudfront")
    listed = cdn.list_invalidations(DistributionId=distribution)["InvalidationList"]["Items"]
    (made,) = listed
    assert made["Id"] in told["reason"]
    batch = cdn.get_invalidation(DistributionId=distribution, Id=made["Id"])["Invalidation"]
    assert batch["InvalidationBatch"]["Paths"]["Items"] == [f"/{KEY}"]
    assert len(batch["InvalidationBatch"]["CallerReference"]) <= 128


def test_cloudfront_refuses(tmp_path: Path, place: Place) -> None:
    """The revocation is done all the same; the log has the command to do the rest by hand."""
    gone = "E2NOSUCHDISTRIB"
    entry = {"to": "s3", **place.options(cloudfront={"distribution": gone}, attempts=1)}
    assembly, found = life(tmp_path, [entry])
    with assembly:
        found.tick()
        bad = found.signed()
        revoke(found.site, [jwt.get_unverified_header(bad)["kid"]], "leaked")
        found.tick()
        verified(place, found.signed())
        (told,) = [one for one in found.events if one["event"] == "cdn.failed"]
        assert f"--distribution-id {gone} --paths /{KEY}" in told["hint"]
        assert told["level"] == "warning"


def _older(place: Place) -> None:
    older = place.sdk.list_object_versions(Bucket=place.bucket, Prefix=KEY)["Versions"][-1]
    source = {"Bucket": place.bucket, "Key": KEY, "VersionId": older["VersionId"]}
    place.sdk.copy_object(Bucket=place.bucket, Key=KEY, CopySource=source)


MISDEEDS: dict[str, Callable[[Place], Any]] = {
    "emptied": lambda place: place.sdk.delete_object(Bucket=place.bucket, Key=KEY),
    "set back to an older revision": _older,
}


@pytest.mark.parametrize("how", MISDEEDS)
def test_mended(tmp_path: Path, place: Place, how: str) -> None:
    """What somebody does to the object is undone at the next tick; in a versioned bucket as well."""
    on = {"Status": "Enabled"}
    place.sdk.put_bucket_versioning(Bucket=place.bucket, VersioningConfiguration=on)
    assembly, found = life(tmp_path, [{"to": "s3", **place.options()}])
    with assembly:
        found.tick()
        found.clock.advance(90 * DAY + timedelta(minutes=1))
        found.tick()
        before = place.read()
        MISDEEDS[how](place)
        found.tick()
        after = place.read()
        assert after["Body"].read() == before["Body"].read()
        assert int(after["Metadata"]["rotator-revision"]) >= int(
            before["Metadata"]["rotator-revision"]
        )
        verified(place, found.signed())


def test_filled_by_somebody_else(s3: Life, place: Place) -> None:
    """Left alone, said, and the key set goes on; the operator's word is needed."""
    place.sdk.put_object(Bucket=place.bucket, Key=KEY, Body=b'{"keys":[]}')
    outcome = s3.tick()
    assert [name for name in outcome.failures if name.startswith("s3:")]
    assert place.read()["Body"].read() == b'{"keys":[]}'


def test_a_bucket_that_goes_away_fails_alone(tmp_path: Path, place: Place) -> None:
    """One of two publications: the other goes on, and a revocation is not held up."""
    other = f"{place.bucket}-2"
    place.sdk.create_bucket(
        Bucket=other, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    entries = [{"to": "s3", **place.options()}, {"to": "s3", **place.options(bucket=other)}]
    assembly, found = life(tmp_path, entries)
    with assembly:
        found.tick()
        place.sdk.delete_object(Bucket=other, Key=KEY)
        place.sdk.delete_bucket(Bucket=other)
        revoke(found.site, [jwt.get_unverified_header(found.signed())["kid"]], "leaked")
        outcome = found.tick()
        verified(place, found.signed())
        ((name, error),) = outcome.failures.items()
        assert other in name
        assert "no bucket" in str(error)


def test_entries_share_a_login(tmp_path: Path, place: Place) -> None:
    """Key sets with the same options but for the key have one bucket open."""
    entry = {"to": "s3", **place.options()}
    bench = Bench(tmp_path, names=("one", "two"), key_set={"publish": [entry]})
    settings = load_settings(bench.config, {})
    with Assembly(settings, lambda *_, **__: None) as assembly:
        opened = {
            id(assembly.bucket(one)) for item in settings.key_sets.values() for one in item.objects
        }
        assert len(opened) == 1
        assert {one.key for item in settings.key_sets.values() for one in item.objects} == {
            "one/jwks.json",
            "two/jwks.json",
        }
        successor = assembly.successor(settings)
        assert successor.opened == assembly.opened


def test_conjur_lets_workloads_in(tmp_path: Path) -> None:
    """Conjur verifies tokens by what is published there: those of now and of just before, not those of a revoked key."""
    server = running("conjur")
    assert isinstance(server, ConjurProcess)
    server.load_policy(SERVICE)
    stores = {
        "local": {"backend": "file", "path": "store"},
        "c": {"backend": "conjur", **server.settings("life")},
    }
    entry = {"to": "conjur-jwt", "store": "c", "service": "shop"}
    assembly, found = life(tmp_path, [entry], stores=stores)
    with assembly:
        store: Any = assembly.store("c")
        for name, value in (
            ("issuer", ISSUER),
            ("token-app-property", "workload"),
            ("identity-path", "ci"),
        ):
            store._conjur.put(f"conjur/authn-jwt/shop/{name}", value.encode())
        found.tick()
        first = found.signed()
        assert lets_in(server, first)
        found.clock.advance(90 * DAY + timedelta(minutes=1))
        found.tick()
        second = found.signed()
        assert first.split(".")[0] != second.split(".")[0]
        assert lets_in(server, first)
        assert lets_in(server, second)
        revoke(found.site, [jwt.get_unverified_header(second)["kid"]], "leaked")
        found.tick()
        assert not lets_in(server, second)
        assert lets_in(server, found.signed())


def lets_in(server: ConjurProcess, token: str) -> bool:
    """Log in to Conjur with a token."""
    request = urllib.request.Request(
        f"{server.url}/authn-jwt/shop/dev/authenticate", f"jwt={token}".encode(), method="POST"
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    assert status in (200, 401)
    return bool(status == 200)


def test_no_private_byte_reaches_the_bucket(tmp_path: Path, place: Place) -> None:
    """Through a rotation and a revocation: not in what is sent, nor in an event, nor in any object."""
    with Proxy(place.server.url) as between:
        assembly, found = life(tmp_path, [{"to": "s3", **place.options(endpoint_url=between.url)}])
        with assembly:
            found.tick()
            materials = _materials(found)
            found.clock.advance(90 * DAY + timedelta(minutes=1))
            found.tick()
            materials |= _materials(found)
            revoke(found.site, [jwt.get_unverified_header(found.signed())["kid"]], "leaked")
            found.tick()
            materials |= _materials(found)
        sent = b"".join(
            request.body + repr(request.headers).encode() + request.path.encode()
            for request in between.seen
        )
    assert len(materials) >= 3
    assert sent.count(b'"keys"') >= 3
    places = {"requests": sent, "events": repr(found.events).encode()}
    assert list(search(needles_of(materials), places)) == []


def _materials(found: Life) -> set[bytes]:
    """Return the material of every key that the ring has now."""
    keys = [key for key in tick(found.site).ring.keys if key.locator]
    got = [found.site.material.get(key.locator or "", key.kid) for key in keys]
    return {material.reveal() for material in got if material is not None}
