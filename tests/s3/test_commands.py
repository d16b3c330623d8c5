"""The commands about buckets and authenticators, and what a configuration may say of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from rotator.errors import ConfigError
from rotator.inspection import Role, Scope
from rotator.settings import InvalidSettings, load_settings
from rotator_aws.object_settings import ObjectSettings
from rotator_aws.objects import Bucket
from tests.cli.bench import ROOT, Bench
from tests.s3.conftest import Place
from tests.servers import running
from tests.servers.conjur import ConjurProcess

ENTRY = {"to": "s3", "bucket": "jwks.example", "region": "eu-central-1"}


def faults(tmp_path: Path, *entries: dict[str, Any], names: tuple[str, ...] = ("web",)) -> str:
    """Return what is wrong with key sets that publish so."""
    bench = Bench(tmp_path, names=names, key_set={"publish": list(entries)})
    with pytest.raises(InvalidSettings) as caught:
        load_settings(bench.config, {})
    return str(caught.value)


SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # AWS's own example

WRONG: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"bucket": "UPPER"}, ("publish[0].bucket",)),
    ({"regions": "x"}, ("unknown key", "region")),
    ({"region": None}, ("region",)),
    ({"key": "/a"}, ("publish[0].key",)),
    ({"key": "a/../b"}, ("`..`",)),
    ({"secret_access_key": SECRET}, ("a secret never stands in the configuration",)),
    ({"endpoint_url": f"https://x:{SECRET}@minio.example"}, ("publish[0].endpoint_url",)),
    ({"cloudfront": {"distribution": "https://d1.cloudfront.net"}}, ("cloudfront.distribution",)),
    ({"assume_role": {"role_arn": "x"}}, ("assume_role.role_arn",)),
]


@pytest.mark.parametrize(("changes", "said"), WRONG, ids=lambda value: str(value)[:24])
def test_a_fault_is_told_where_it_stands(
    tmp_path: Path, changes: dict[str, Any], said: tuple[str, ...]
) -> None:
    """By the backend's own model, as for stores; no value is shown, for it may be a credential."""
    entry = {name: value for name, value in {**ENTRY, **changes}.items() if value is not None}
    text = faults(tmp_path, entry)
    for one in said:
        assert one in text, text
    assert SECRET not in text


def test_one_address_belongs_to_one_key_set(tmp_path: Path) -> None:
    """Within a key set and between two; another server or another key is another address."""
    same = {**ENTRY, "key": "jwks.json"}
    assert "s3:jwks.example/jwks.json is at" in faults(tmp_path, same, names=("a", "b"))
    assert "one address belongs to one key set" in faults(tmp_path, ENTRY, ENTRY)
    service = {"to": "conjur-jwt", "store": "local", "service": "shop"}
    assert "conjur-jwt:local/shop is at" in faults(tmp_path, service, names=("a", "b"))
    assert "there is no store 'x'" in faults(tmp_path, {**service, "store": "x"})
    elsewhere = {**ENTRY, "endpoint_url": "https://minio.example:9000"}
    bench = Bench(tmp_path, names=("a", "b"), key_set={"publish": [ENTRY, elsewhere]})
    settings = load_settings(bench.config, {})
    assert [item.address for item in settings.key_sets["a"].objects] == [
        "s3:jwks.example/a/jwks.json",
        "s3:https://minio.example:9000/jwks.example/a/jwks.json",
    ]


def test_relative_paths_and_profiles(tmp_path: Path) -> None:
    """Files of an entry are relative to the configuration; a verifier that wants plain JSON gets it."""
    role = {"role_arn": "arn:aws:iam::123456789012:role/r", "web_identity_token_file": "token"}
    entry = {**ENTRY, "ca_file": "ca.pem", "assume_role": role}
    bench = Bench(
        tmp_path, key_set={"publish": [entry], "verifiers": ["spring"]}, algorithm="RS256"
    )
    (item,) = load_settings(bench.config, {}).key_sets["web"].objects
    assert item.options.ca_file == tmp_path / "ca.pem"
    assert item.options.assume_role.web_identity_token_file == tmp_path / "token"
    assert item.plain_json


def test_the_commands(tmp_path: Path, place: Place) -> None:
    """The first run, `check`, `status --live` and `policy`, as an operator has them."""
    entry = {"to": "s3", **place.options()}
    bench = Bench(tmp_path, key_set={"publish": [entry]})
    bench.good("rotate")
    assert json.loads(place.read()["Body"].read())["keys"]
    checked = bench.good("check").out
    assert f"s3:{place.server.url}/{place.bucket}: may s3:ListBucket" in checked
    printed = json.loads(bench.good("policy", "s3", "web", "--role", "rotator").out)
    actions = [action for one in printed["Statement"] for action in one["Action"]]
    assert actions == ["s3:GetObject", "s3:PutObject", "s3:ListBucket"]
    place.sdk.delete_object(Bucket=place.bucket, Key="web/jwks.json")
    place.sdk.delete_bucket(Bucket=place.bucket)
    gone = bench.run("check")
    assert gone.code == 78
    assert f"there is no bucket {place.bucket}" in gone.out


def test_check_where_iam_does_not_answer(tmp_path: Path, place: Place) -> None:
    """A network that lets only S3 through, a server that has no IAM: nothing but this question is lost."""
    entry = {"to": "s3", **place.options(), "attempts": 1}
    del entry["endpoint_url"]
    bench = Bench(tmp_path, key_set={"publish": [entry]})
    env = {"AWS_ENDPOINT_URL": place.server.url, "AWS_ENDPOINT_URL_IAM": "http://127.0.0.1:9"}
    checked = bench.run("check", env=env)
    assert checked.code == 0, checked.out
    assert "what it may write could not be known: " in checked.out


def test_who_has_nothing_in_a_bucket() -> None:
    """Signers and HMAC verifiers; readers of the JWKS read one key."""
    bucket = Bucket(
        ObjectSettings(bucket="jwks.example", region="cn-north-1", kms_key_id="alias/j")
    )
    scope = Scope("web", ring=False, documents=("web/jwks.json",))
    for role in (Role.SIGNER, Role.VERIFIER):
        with pytest.raises(ConfigError, match="no key"):
            bucket.policy(role, (scope,))
    read, key = json.loads(bucket.policy(Role.JWKS_READER, (scope,)))["Statement"]
    assert read["Action"] == ["s3:GetObject"]
    assert read["Resource"] == ["arn:aws-cn:s3:::jwks.example/web/jwks.json"]
    assert key["Action"] == ["kms:Decrypt"]
    assert key["Condition"]["StringEquals"] == {"kms:ViaService": "s3.cn-north-1.amazonaws.com.cn"}


def test_the_policy_of_an_authenticator(tmp_path: Path) -> None:
    """What `rotator policy` prints is enough for Conjur to be published to; `check` says what is missing before."""
    server = running("conjur")
    assert isinstance(server, ConjurProcess)
    server.load_policy(
        "- !policy\n  id: conjur/authn-jwt/printed\n  body: [ !webservice , !variable public-keys ]\n"
    )
    stores = {
        "local": {"backend": "file", "path": "store"},
        "c": {"backend": "conjur", **server.settings("printed")},
    }
    entry = {"to": "conjur-jwt", "store": "c", "service": "printed"}
    bench = Bench(tmp_path, key_set={"store": "local", "publish": [entry]}, more={"stores": stores})
    before = bench.run("check")
    assert before.code == 77
    assert "conjur/authn-jwt/printed/public-keys" in before.out
    server.load_policy(bench.good("policy", "c", "--role", "rotator").out)
    bench.good("rotate")
    bench.good("check")


SHIPPED = ROOT / "deploy" / "policies" / "aws"
SHIPPED_OPTIONS: dict[str, dict[str, Any]] = {
    "": {},
    "-cloudfront-own-kms-key": {
        "kms_key_id": "arn:aws:kms:eu-central-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef",
        "cloudfront": {"distribution": "E2EXAMPLE1EXAMPLE"},
    },
}


@pytest.mark.parametrize("more", SHIPPED_OPTIONS, ids=lambda more: more or "plain")
@pytest.mark.parametrize("role", [Role.ROTATOR, Role.JWKS_READER])
def test_the_shipped_policies_are_the_printed_ones(role: Role, more: str) -> None:
    """A file in deploy/policies/aws is exactly what the command prints; ROTATOR_WRITE=1 writes them."""
    options = {"bucket": "jwks-example", "region": "eu-central-1", "account_id": "111122223333"}
    bucket = Bucket(ObjectSettings.model_validate({**options, **SHIPPED_OPTIONS[more]}))
    printed = bucket.policy(role, (Scope("web", ring=False, documents=("web/jwks.json",)),))
    file = SHIPPED / f"s3-{role}{more}.json"
    if os.environ.get("ROTATOR_WRITE"):
        file.write_text(printed)
    assert file.read_text() == printed
