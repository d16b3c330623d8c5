"""What `rotator check` says of an AWS store: identity, permissions, rings, and how they are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from rotator.inspection import Finding, Report, Role, Scope
from rotator.secret import Secret
from rotator.stores import Document
from rotator_aws.simulation import principal_of
from rotator_aws.store import AwsStore
from tests.aws.conftest import Opener, client
from tests.aws.test_policy import run_by_moto
from tests.servers import misdeeds
from tests.servers.moto import ACCOUNT, AwsServer
from tests.servers.proxy import Proxy

SCOPE = Scope("orders", documents=("orders/signing",))
WRITES = {"CreateSecret", "PutSecretValue", "UpdateSecretVersionStage", "DeleteSecret"}


def said(report: Report, level: str) -> str:
    """Return what a report says at one level, a line each."""
    return "\n".join(
        f"{item.text} → {item.hint}" for item in report.findings if item.level == level
    )


def faults(report: Report) -> list[Finding]:
    """Return its faults."""
    return [item for item in report.findings if item.level == "fault"]


@pytest.fixture
def user(server: AwsServer, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes the login one whose policy may be put; IAM decides until the test is over."""
    iam, name = client(server, "iam"), prefix.replace("/", "-inspects-")
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]

    def allow(policy: str, *, simulate: bool = True) -> None:
        document = json.loads(run_by_moto(policy))
        if simulate:
            document["Statement"].append(
                {"Effect": "Allow", "Action": "iam:SimulatePrincipalPolicy", "Resource": "*"}
            )
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(document))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        server.enforce_iam(enforced=True)

    yield allow
    server.enforce_iam(enforced=False)


def test_nothing_is_there_yet(server: AwsServer, store: AwsStore, user: Any) -> None:
    """With its policy, all is well; and nothing was written, not even on trial."""
    user(store.policy(Role.ROTATOR, [SCOPE]))
    server.forget_calls()
    report = store.inspect([SCOPE])
    assert faults(report) == []
    ok = said(report, "ok")
    assert "is arn:aws:sts::" in ok or "is arn:aws:iam::" in ok
    assert "orders/ring; there is none yet" in ok
    assert "may CreateSecret, DeleteSecret, DescribeSecret, GetSecretValue on " in ok
    assert not WRITES & {operation for operation, _ in server.calls()}


def test_what_is_there_is_told(store: AwsStore, user: Any) -> None:
    """A ring and a document."""
    store.rings("orders").save(b"{}", replacing=None)
    store.documents().write("orders/signing", Document(b"{}", "orders", 1), replacing=None)
    user(store.policy(Role.ROTATOR, [SCOPE]))
    report = store.inspect([SCOPE])
    assert faults(report) == []
    assert said(report, "ok").count(", and it is there") == 2


@pytest.mark.parametrize(
    "action",
    [
        *("CreateSecret", "DescribeSecret", "GetSecretValue"),
        *("PutSecretValue", "UpdateSecretVersionStage"),
    ],
)
def test_a_missing_action_is_named(store: AwsStore, user: Any, action: str) -> None:
    """By action and secret, with 77, whichever of them the ring lacks."""
    store.rings("orders").save(b"{}", replacing=None)
    policy = json.loads(store.policy(Role.ROTATOR, [SCOPE]))
    for statement in policy["Statement"]:
        if statement["Sid"] == "Ring":
            statement["Action"].remove(f"secretsmanager:{action}")
    user(json.dumps(policy))
    found = faults(store.inspect([SCOPE]))
    assert found
    assert {item.exit_code for item in found} == {77}
    assert all(f"secretsmanager:{action}" in item.text for item in found)
    assert all("/orders/ring" in item.text for item in found)


def test_an_identity_that_may_not_simulate(store: AwsStore, user: Any) -> None:
    """What cannot be known is said once, with the way to know it."""
    user(store.policy(Role.ROTATOR, [SCOPE]), simulate=False)
    report = store.inspect([SCOPE, Scope("billing")])
    advice = said(report, "advice")
    assert advice.count("could not be known") == 1
    assert "rotator check --write" in advice


def test_a_ring_that_aws_rotates_itself(store: AwsStore, sdk: Any, prefix: str) -> None:
    """Its own rotation overwrites rings: a fault, with the command that ends it."""
    store.rings("orders").save(b"{}", replacing=None)
    sdk.rotate_secret(
        SecretId=f"{prefix}/orders/ring",
        RotationRules={"AutomaticallyAfterDays": 30},
        RotateImmediately=False,
    )
    (fault,) = faults(store.inspect([SCOPE]))
    assert "AWS rotates" in fault.text
    assert "cancel-rotate-secret" in fault.hint
    assert fault.exit_code == 78


def test_a_ring_that_is_scheduled_for_deletion(store: AwsStore, sdk: Any, prefix: str) -> None:
    """A fault with the command that restores it."""
    store.rings("orders").save(b"{}", replacing=None)
    sdk.delete_secret(SecretId=f"{prefix}/orders/ring", RecoveryWindowInDays=7)
    (fault,) = faults(store.inspect([SCOPE]))
    assert "restore-secret" in fault.hint


def test_copies_and_keys(server: AwsServer, open_store: Opener, sdk: Any, prefix: str) -> None:
    """A copy that failed is a fault; a missing copy and another KMS key are advice."""
    name = f"{prefix}/orders/signing"
    sdk.create_secret(Name=name, SecretString="x")
    store = open_store(replica_regions=["eu-west-1"], kms_key_id="1234-abcd")
    assert "is not copied to eu-west-1 yet" in said(store.inspect([SCOPE]), "advice")
    assert "is encrypted with aws/secretsmanager" in said(store.inspect([SCOPE]), "advice")
    there = client(server, "secretsmanager", region_name="eu-west-1")
    there.create_secret(Name=name, SecretString="somebody's")
    sdk.replicate_secret_to_regions(SecretId=name, AddReplicaRegions=[{"Region": "eu-west-1"}])
    report = store.inspect([SCOPE])
    assert "is not copied" not in said(report, "advice")
    assert "in eu-west-1 failed" in said(report, "fault")


def test_advice(open_store: Opener) -> None:
    """What hardens a store; silent where it is done."""
    advice = said(open_store(recovery_window="0d").inspect(), "advice")
    for word in ("kms_key_id", "account_id", "recovery_window"):
        assert word in advice
    hardened = open_store(kms_key_id="alias/rotator", account_id=ACCOUNT)
    assert said(hardened.inspect(), "advice") == ""


def test_another_account(open_store: Opener) -> None:
    """A fault before anything else is looked at."""
    (fault,) = faults(open_store(account_id="210987654321").inspect([SCOPE]))
    assert "of another account" in fault.text
    assert fault.exit_code == 77


def test_no_server(proxy: Proxy, open_store: Opener) -> None:
    """Faults, and no exception."""
    store = open_store(proxy.url, attempts=1)
    with proxy.refusing():
        (fault,) = faults(store.inspect([SCOPE]))
    assert fault.exit_code == 69
    denied = misdeeds.answering(400, b'{"__type": "AccessDeniedException"}')
    with proxy.misbehaving(denied):
        found = faults(store.inspect([SCOPE]))
    assert {item.exit_code for item in found} == {77}
    assert "secretsmanager:GetSecretValue on " in found[0].text


def test_many_key_sets(server: AwsServer, store: AwsStore) -> None:
    """Each costs calls, so a fleet is looked at in part, and that is said."""
    server.forget_calls()
    report = store.inspect([Scope(f"key-set-{number}") for number in range(30)])
    assert "10 more key sets were not looked at" in said(report, "advice")
    assert len(server.calls()) == 20


def test_the_role_behind_a_session() -> None:
    """IAM simulates roles, not their sessions."""
    assert principal_of(f"arn:aws:sts::{ACCOUNT}:assumed-role/rotator/i-0123") == (
        f"arn:aws:iam::{ACCOUNT}:role/rotator"
    )
    assert principal_of(f"arn:aws:iam::{ACCOUNT}:user/x") == f"arn:aws:iam::{ACCOUNT}:user/x"


def test_nothing_secret_is_told(store: AwsStore, user: Any) -> None:
    """A report can be sent to anybody."""
    store.material("orders").put("kid", "kid", Secret(b"hunter2"))
    store.documents().write("orders/signing", Document(b"hunter2", "orders", 1), replacing=None)
    user(store.policy(Role.ROTATOR, [SCOPE]))
    assert "hunter2" not in repr(store.inspect([SCOPE]))
