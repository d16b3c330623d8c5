"""Least privilege: with a role's policy everything it needs works, and each thing it withholds is refused.

moto enforces actions and resources; it knows none of the condition keys in use here, so conditions are
reviewed, not run: `run_by_moto` takes them out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rotator.inspection import SCRATCH, Role, Scope
from rotator.secret import Secret
from rotator.stores import Document
from rotator_aws.policy import partition
from rotator_aws.settings import AwsSettings
from rotator_aws.store import AwsStore
from tests.aws.conftest import Opener, client
from tests.servers import running
from tests.servers.moto import REGION, AwsServer

ROOT = Path(__file__).resolve().parents[2]
POLICIES = ROOT / "deploy" / "policies" / "aws"
KEY = Secret(b"key")
KEY_ARN = "arn:aws:kms:eu-central-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef"
SCOPES = (Scope("orders", documents=("orders/signing", "orders/verification", "orders/jwks")),)


def of_shipped(role: Role, *, own_key: bool) -> str:
    """Return what `rotator policy` prints for the store that the shipped files are of."""
    options: dict[str, Any] = {"region": REGION, "account_id": "111122223333"}
    if own_key:
        options["kms_key_id"] = KEY_ARN
    return AwsStore(AwsSettings(**options)).policy(role)


@pytest.mark.parametrize("own_key", [False, True], ids=["aws key", "own key"])
@pytest.mark.parametrize("role", list(Role))
def test_the_shipped_policies_are_the_printed_ones(role: Role, own_key: bool) -> None:
    """A file in deploy/policies/aws is exactly what the command prints; ROTATOR_WRITE=1 writes them."""
    file = POLICIES / f"{role}{'-own-kms-key' if own_key else ''}.json"
    printed = of_shipped(role, own_key=own_key)
    if os.environ.get("ROTATOR_WRITE"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(printed)
    assert file.read_text() == printed


def run_by_moto(policy: str) -> str:
    """Return a policy without conditions: an Allow loses its own, a Deny with one falls away."""
    document = json.loads(policy)
    document["Statement"] = [
        {name: value for name, value in statement.items() if name != "Condition"}
        for statement in document["Statement"]
        if statement["Effect"] == "Allow" or "Condition" not in statement
    ]
    return json.dumps(document)


Login = Callable[[str], dict[str, str]]


@pytest.fixture
def login(server: AwsServer, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Login]:
    """Makes a user with a policy, and lets IAM decide until the test is over."""
    iam = client(server, "iam")

    def log_in(policy: str) -> dict[str, str]:
        user = f"{prefix.replace('/', '-')}-{len(policy)}"
        iam.create_user(UserName=user)
        iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=run_by_moto(policy))
        key = iam.create_access_key(UserName=user)["AccessKey"]
        given = {
            "aws_access_key_id": key["AccessKeyId"],
            "aws_secret_access_key": key["SecretAccessKey"],
        }
        for name, value in given.items():
            monkeypatch.setenv(name.upper(), value)
        server.enforce_iam(enforced=True)
        return given

    yield log_in
    server.enforce_iam(enforced=False)


def connect(given: dict[str, str]) -> Any:
    """Return the plain SDK with a user's key."""
    server = running("aws")
    assert isinstance(server, AwsServer)
    return client(server, "secretsmanager", **given)


def live(store: AwsStore, key_set: str) -> None:
    """Do all that a life of a key set does: rings, material, documents; more than once."""
    ring, material, documents = store.rings(key_set), store.material(key_set), store.documents()
    assert ring.load() is None
    version = ring.save(b"1", replacing=None)
    version = ring.save(b"2", replacing=version)
    locator = material.allocate("kid-1", frozenset())
    material.put(locator, "kid-1", KEY)
    material.put(locator, "kid-1", KEY)
    assert material.get(locator, "kid-1") == KEY
    material.destroy(locator, "kid-1")
    assert material.get(locator, "kid-1") is None
    for kind in ("signing", "verification", "jwks"):
        name = f"{key_set}/{kind}"
        documents.write(name, Document(b"1", key_set, 1), replacing=None)
        found = documents.read(name)
        assert found is not None
        documents.write(name, Document(b"2", key_set, 2), replacing=found.token)


def withheld(call: Callable[..., Any], **parameters: Any) -> None:
    """Expect IAM to refuse."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    code = caught.value.response["Error"]["Code"]
    assert code in ("AccessDenied", "AccessDeniedException"), code


@pytest.mark.parametrize("named", [True, False], ids=["one key set", "every key set"])
def test_the_rotator(open_store: Opener, login: Login, prefix: str, named: bool, sdk: Any) -> None:
    """Lives on its policy alone, in its own key set; nothing else of the account is touched."""
    for name in (f"{prefix}x/orders/ring", f"{prefix}/billing/ring", "payroll/password"):
        if not sdk.list_secrets(Filters=[{"Key": "name", "Values": [name]}])["SecretList"]:
            sdk.create_secret(Name=name, SecretString="somebody's")
    options: dict[str, Any] = {"tags": {"team": "identity"}, "replica_regions": ["eu-west-1"]}
    given = login(open_store(**options).policy(Role.ROTATOR, SCOPES if named else ()))
    store = open_store(**options)
    live(store, "orders")
    live(store, SCRATCH)
    store.erase_scratch()
    sm = connect(given)
    ring = f"{prefix}/orders/ring"
    withheld(sm.delete_secret, SecretId=ring, ForceDeleteWithoutRecovery=True)
    withheld(sm.put_resource_policy, SecretId=ring, ResourcePolicy="{}")
    withheld(sm.rotate_secret, SecretId=ring)
    withheld(sm.update_secret, SecretId=ring, SecretString="x")
    withheld(sm.delete_secret, SecretId=f"{prefix}/orders/signing", RecoveryWindowInDays=7)
    withheld(sm.restore_secret, SecretId=f"{prefix}/orders/material/kid-1")
    withheld(sm.put_secret_value, SecretId=f"{prefix}/orders/material/kid-1", SecretString="x")
    withheld(sm.list_secrets)
    withheld(sm.create_secret, Name="payroll/other", SecretString="x")
    others = [f"{prefix}x/orders/ring", "payroll/password"]
    if named:
        others.append(f"{prefix}/billing/ring")
    for name in others:
        withheld(sm.get_secret_value, SecretId=name, VersionStage="AWSCURRENT")
        withheld(sm.put_secret_value, SecretId=name, SecretString="x")
        withheld(sm.describe_secret, SecretId=name)


READERS = {Role.SIGNER: "signing", Role.VERIFIER: "verification", Role.JWKS_READER: "jwks"}


@pytest.mark.parametrize("named", [True, False], ids=["one key set", "every key set"])
@pytest.mark.parametrize("role", READERS)
def test_a_reader(store: AwsStore, login: Login, prefix: str, role: Role, named: bool) -> None:
    """Reads its document and nothing else, and writes nothing."""
    live(store, "orders")
    store.material("orders").put("kid-2", "kid-2", KEY)
    given = login(store.policy(role, SCOPES if named else ()))
    sm = connect(given)
    own = f"{prefix}/orders/{READERS[role]}"
    found = sm.get_secret_value(SecretId=own, VersionStage="AWSCURRENT")
    assert found["SecretString"] == "2"
    others = [f"{prefix}/orders/{kind}" for kind in READERS.values() if kind != READERS[role]]
    for name in (*others, f"{prefix}/orders/ring", f"{prefix}/orders/material/kid-2"):
        withheld(sm.get_secret_value, SecretId=name, VersionStage="AWSCURRENT")
    withheld(sm.put_secret_value, SecretId=own, SecretString="x")
    withheld(sm.update_secret_version_stage, SecretId=own, VersionStage="AWSCURRENT")
    withheld(sm.delete_secret, SecretId=own, RecoveryWindowInDays=7)
    withheld(sm.describe_secret, SecretId=own)


@pytest.mark.parametrize("verifiers", [("billing", "shop"), ("shop", "shop-mobile")], ids=" ".join)
def test_each_verifier_reads_its_own(
    open_store: Opener, login: Login, prefix: str, verifiers: tuple[str, str], server: AwsServer
) -> None:
    """And no other's, not even where one's name with the ending of an ARN looks like the other's."""
    names = [f"orders/verification.{one}" for one in verifiers]
    scope = Scope("orders", documents=tuple(names))
    login(open_store().policy(Role.ROTATOR, [scope]))
    documents = open_store().documents()
    for name in names:
        documents.write(name, Document(b"1", "orders", 1), replacing=None)
        found = documents.read(name)
        assert found is not None
        documents.write(name, Document(b"2", "orders", 2), replacing=found.token)
    for own, other in (names, reversed(names)):
        server.enforce_iam(enforced=False)
        one = Scope("orders", documents=(own,))
        sm = connect(login(open_store().policy(Role.VERIFIER, [one])))
        found = sm.get_secret_value(SecretId=f"{prefix}/{own}", VersionStage="AWSCURRENT")
        assert found["SecretString"] == "2"
        withheld(sm.put_secret_value, SecretId=f"{prefix}/{own}", SecretString="x")
        withheld(sm.get_secret_value, SecretId=f"{prefix}/{other}", VersionStage="AWSCURRENT")


def statements(policy: str) -> dict[str, dict[str, Any]]:
    """Return the statements of a policy by their Sid."""
    return {item["Sid"]: item for item in json.loads(policy)["Statement"]}


def test_readers_read_only_what_is_current() -> None:
    """Reviewed, not run: an older version of a secret is an older key."""
    for role in READERS:
        (only,) = json.loads(of_shipped(role, own_key=False))["Statement"]
        assert only["Condition"] == {"StringEquals": {"secretsmanager:VersionStage": "AWSCURRENT"}}


def test_material_is_never_deleted_by_force() -> None:
    """Reviewed, not run: the recovery window is held by IAM, too, unless there is none."""
    kept = statements(of_shipped(Role.ROTATOR, own_key=False))["KeepRecoveryWindow"]
    assert kept["Effect"] == "Deny"
    assert kept["Condition"]["Bool"] == {"secretsmanager:ForceDeleteWithoutRecovery": "true"}
    none = AwsStore(AwsSettings.model_validate({"region": REGION, "recovery_window": "0d"})).policy(
        Role.ROTATOR
    )
    assert "KeepRecoveryWindow" not in statements(none)


@pytest.mark.parametrize(
    ("key", "resource", "alias"),
    [
        (KEY_ARN, KEY_ARN, None),
        ("1234-abcd", "arn:aws:kms:eu-central-1:*:key/1234-abcd", None),
        ("alias/rotator", "arn:aws:kms:eu-central-1:*:key/*", "alias/rotator"),
        (
            "arn:aws:kms:eu-central-1:111122223333:alias/team/rotator",
            "arn:aws:kms:eu-central-1:*:key/*",
            "alias/team/rotator",
        ),
    ],
)
def test_a_key_of_ones_own(key: str, resource: str, alias: str | None) -> None:
    """Reviewed, not run: only through Secrets Manager, and only for secrets of this store."""
    store = AwsStore(AwsSettings(region=REGION, kms_key_id=key))
    found = statements(store.policy(Role.ROTATOR))["Key"]
    assert found["Resource"] == [resource]
    assert found["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    condition = found["Condition"]
    assert condition["StringEquals"] == {
        "kms:ViaService": "secretsmanager.eu-central-1.amazonaws.com"
    }
    (context,) = condition["StringLike"].values()
    assert context.endswith(":secret:rotator/*-??????")
    assert condition.get("ForAnyValue:StringEquals") == (
        None if alias is None else {"kms:ResourceAliases": alias}
    )
    assert statements(store.policy(Role.SIGNER))["Key"]["Action"] == ["kms:Decrypt"]


def test_only_documents_here(store: AwsStore) -> None:
    """A store that mirrors documents sees neither ring nor material."""
    scope = Scope("orders", ring=False, documents=("orders/signing",))
    found = statements(store.policy(Role.ROTATOR, [scope]))
    assert set(found) == {"Documents", "CheckWrite"}


def test_other_parts_of_aws() -> None:
    """ARNs name the part of AWS that a region belongs to."""
    assert partition("cn-north-1") == "aws-cn"
    assert partition("us-gov-west-1") == "aws-us-gov"
    assert partition("eu-central-1") == "aws"
    assert "arn:aws-cn:secretsmanager:cn-north-1:" in AwsStore(
        AwsSettings(region="cn-north-1")
    ).policy(Role.SIGNER)


@pytest.mark.parametrize("role", list(Role))
def test_a_policy_fits(role: Role) -> None:
    """A managed policy of IAM has at most 6,144 characters without blanks; ten named key sets fit."""
    scopes = [
        Scope(
            f"key-set-{number}", documents=(f"key-set-{number}/signing", f"key-set-{number}/jwks")
        )
        for number in range(10)
    ]
    printed = AwsStore(AwsSettings(region=REGION, account_id="111122223333")).policy(role, scopes)
    assert len("".join(printed.split())) <= 6144
