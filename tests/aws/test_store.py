"""What the AWS store does with Secrets Manager: calls, versions, deletion, copies, and answers that get lost."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from rotator.errors import (
    ConfigError,
    Conflict,
    StoreCorrupt,
    StoreDenied,
    StoreUnavailable,
)
from rotator.inspection import SCRATCH
from rotator.secret import Secret
from rotator.stores import Document, Version, VersionToken
from rotator_aws.names import Stamp
from rotator_aws.store import AwsStore
from tests.aws.conftest import Opener, client, is_call
from tests.servers import misdeeds
from tests.servers.moto import ACCOUNT, AwsServer
from tests.servers.proxy import Proxy

ONE = b'{"revision": 1}'
TWO = b'{"revision": 2}'
THREE = b'{"revision": 3}'
KEY = Secret(b"the private key of nobody")
KID = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
NAME = "orders/signing"
FORTY_VERSIONS = 40


def operations(server: AwsServer) -> list[str]:
    """Return the operations since the last count."""
    return [operation for operation, _ in server.calls()]


# Calls


def test_loading_is_one_call(server: AwsServer, store: AwsStore) -> None:
    """A look at a ring and at a document costs one GetSecretValue each, there or not."""
    ring, documents = store.rings("orders"), store.documents()
    for filled in (False, True):
        server.forget_calls()
        assert (ring.load() is not None) == filled
        assert (documents.read(NAME) is not None) == filled
        assert operations(server) == ["GetSecretValue"] * 2
        if not filled:
            ring.save(ONE, replacing=None)
            documents.write(NAME, Document(b"{}", "orders", 1), replacing=None)


def test_calls_of_a_write(server: AwsServer, store: AwsStore) -> None:
    """A first write is one call, a replacement three: look, put aside, move the label."""
    server.forget_calls()
    first = store.rings("orders").save(ONE, replacing=None)
    assert operations(server) == ["CreateSecret"]
    server.forget_calls()
    store.rings("orders").save(TWO, replacing=first)
    assert operations(server) == ["GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"]


def test_a_loser_writes_nothing(server: AwsServer, store: AwsStore, sdk: Any, prefix: str) -> None:
    """Versions of the last day count against a quota, so who is late leaves none."""
    ring = store.rings("orders")
    first = ring.save(ONE, replacing=None)
    ring.save(TWO, replacing=first)
    server.forget_calls()
    for _ in range(3):
        with pytest.raises(Conflict):
            ring.save(THREE, replacing=first)
    assert operations(server) == ["GetSecretValue"] * 3
    stages = sdk.describe_secret(SecretId=f"{prefix}/orders/ring")["VersionIdsToStages"]
    assert len(stages) == 2


def test_labels_stay_few(store: AwsStore, sdk: Any, prefix: str) -> None:
    """However often a ring is saved, its secret has three labels: AWS allows twenty."""
    ring = store.rings("orders")
    version = ring.save(ONE, replacing=None)
    for number in range(FORTY_VERSIONS):
        version = ring.save(b"%d" % number, replacing=version)
    stages = sdk.describe_secret(SecretId=f"{prefix}/orders/ring")["VersionIdsToStages"]
    labels = sorted(label for each in stages.values() for label in each)
    assert labels == ["AWSCURRENT", "AWSPREVIOUS", "ROTATOR_STAGED"]
    assert sorted(stages[version]) == ["AWSCURRENT", "ROTATOR_STAGED"]


# Answers that get lost


@pytest.mark.parametrize(
    "operation", ["GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"]
)
def test_a_save_recognises_its_own_success(
    proxy: Proxy, open_store: Opener, operation: str
) -> None:
    """An answer that is lost after the server has committed is no Conflict."""
    ring = open_store(proxy.url).rings("orders")
    first = ring.save(ONE, replacing=None)
    with proxy.misbehaving(misdeeds.reset_after, when=is_call(operation), times=1):
        second = ring.save(TWO, replacing=first)
    found = ring.load()
    assert found is not None
    assert (found.document, found.version) == (TWO, second)


def test_a_first_save_recognises_its_own_success(proxy: Proxy, open_store: Opener) -> None:
    """The same for a ring that is made."""
    ring = open_store(proxy.url).rings("orders")
    with proxy.misbehaving(misdeeds.reset_after, when=is_call("CreateSecret"), times=1):
        version = ring.save(ONE, replacing=None)
    found = ring.load()
    assert found is not None
    assert (found.document, found.version) == (ONE, version)


def test_a_success_that_was_followed_up_is_recognised(proxy: Proxy, open_store: Opener) -> None:
    """Somebody saved on top of ours before we heard of it: ours was saved all the same."""
    ring, other = open_store(proxy.url).rings("orders"), open_store().rings("orders")
    first = ring.save(ONE, replacing=None)

    def follow_up(exchange: Any) -> None:
        exchange.forward()
        found = other.load()
        assert found is not None
        other.save(THREE, replacing=found.version)
        exchange.reset()

    with proxy.misbehaving(follow_up, when=is_call("UpdateSecretVersionStage"), times=1):
        second = ring.save(TWO, replacing=first)
    found = ring.load()
    assert found is not None
    assert found.document == THREE
    assert found.version != second


def test_two_who_save_the_same_are_not_both_told_so(store: AwsStore) -> None:
    """The same bytes in place of the same version: one saved them, the other lost."""
    ring = store.rings("orders")
    first = ring.save(ONE, replacing=None)
    ring.save(TWO, replacing=first)
    with pytest.raises(Conflict):
        ring.save(TWO, replacing=first)
    with pytest.raises(Conflict):
        ring.save(TWO, replacing=None)


def test_material_recognises_its_own_success(proxy: Proxy, open_store: Opener) -> None:
    """A put whose answer is lost is not taken for another's material."""
    material = open_store(proxy.url).material("orders")
    with proxy.misbehaving(misdeeds.reset_after, when=is_call("CreateSecret"), times=1):
        material.put(KID, KID, KEY)
    assert material.get(KID, KID) == KEY
    with proxy.misbehaving(misdeeds.reset_after, when=is_call("DeleteSecret"), times=1):
        material.destroy(KID, KID)
    assert material.get(KID, KID) is None


# Secrets that others made, deleted or wrote


def test_a_secret_without_a_value_is_filled(store: AwsStore, sdk: Any, prefix: str) -> None:
    """Infrastructure tools make secrets before there is anything in them."""
    for name in ("ring", "signing"):
        sdk.create_secret(Name=f"{prefix}/orders/{name}")
    ring, documents = store.rings("orders"), store.documents()
    assert ring.load() is None
    assert documents.read(NAME) is None
    version = ring.save(ONE, replacing=None)
    documents.write(NAME, Document(b"{}", "orders", 1), replacing=None)
    found = ring.load()
    assert found is not None
    assert (found.document, found.version) == (ONE, version)
    with pytest.raises(Conflict):
        ring.save(TWO, replacing=None)
    ring.save(TWO, replacing=version)


def test_a_ring_that_is_scheduled_for_deletion_is_no_missing_ring(
    store: AwsStore, sdk: Any, prefix: str
) -> None:
    """It can be restored, so nothing may be begun anew."""
    ring = store.rings("orders")
    version = ring.save(ONE, replacing=None)
    sdk.delete_secret(SecretId=f"{prefix}/orders/ring", RecoveryWindowInDays=7)
    for action in (
        ring.load,
        lambda: ring.save(TWO, replacing=version),
        lambda: ring.save(TWO, replacing=None),
    ):
        with pytest.raises(StoreUnavailable) as refused:
            action()
        assert "scheduled for deletion" in refused.value.message
        assert f"restore-secret --secret-id {prefix}/orders/ring" in refused.value.hint
        assert refused.value.lasting
    sdk.restore_secret(SecretId=f"{prefix}/orders/ring")
    assert ring.save(TWO, replacing=version)


def test_destroyed_material_can_be_restored_for_a_while(
    store: AwsStore, sdk: Any, prefix: str
) -> None:
    """Nobody reads it any more, but an administrator can bring it back within the window."""
    material, name = store.material("orders"), f"{prefix}/orders/material/{KID}"
    material.put(KID, KID, KEY)
    material.destroy(KID, KID)
    assert material.get(KID, KID) is None
    assert "DeletedDate" in sdk.describe_secret(SecretId=name)
    with pytest.raises(StoreUnavailable, match="restore-secret"):
        material.put(KID, KID, KEY)
    sdk.restore_secret(SecretId=name)
    assert material.get(KID, KID) == KEY


def test_no_recovery_window_frees_the_name(open_store: Opener) -> None:
    """`0d` destroys at once and for good."""
    material = open_store(recovery_window="0d").material("orders")
    material.put(KID, KID, KEY)
    material.destroy(KID, KID)
    assert material.get(KID, KID) is None
    material.put(KID, KID, Secret(b"another"))


def test_a_document_changed_by_hand_keeps_its_revision(
    store: AwsStore, sdk: Any, prefix: str
) -> None:
    """It is ours, changed: the ring's document of that revision mends it, and an older one does not."""
    documents = store.documents()
    documents.write(NAME, Document(b"nine", "orders", 9, max_age=300, stale=600), replacing=None)
    sdk.put_secret_value(SecretId=f"{prefix}/{NAME}", SecretString="changed by hand")
    found = documents.read(NAME)
    assert found is not None
    assert (found.body, found.key_set, found.revision) == (b"changed by hand", "orders", 9)
    with pytest.raises(Conflict):
        documents.write(NAME, Document(b"eight", "orders", 8), replacing=found.token)
    documents.write(NAME, Document(b"nine", "orders", 9), replacing=found.token)
    found = documents.read(NAME)
    assert found is not None
    assert found.body == b"nine"


def test_a_foreign_document_is_nobodys(store: AwsStore, sdk: Any, prefix: str) -> None:
    """What rotator did not write has neither key set nor revision."""
    sdk.create_secret(Name=f"{prefix}/{NAME}", SecretString="an application's password")
    found = store.documents().read(NAME)
    assert found is not None
    assert (found.key_set, found.revision) == (None, None)


def test_material_that_is_not_ours_is_corrupt(store: AwsStore, sdk: Any, prefix: str) -> None:
    """Nothing of it is told, and destroying removes it all the same."""
    name = f"{prefix}/orders/material/{KID}"
    sdk.create_secret(Name=name, SecretString="hunter2 is no material")
    with pytest.raises(StoreCorrupt) as refused:
        store.material("orders").get(KID, KID)
    assert "hunter2" not in str(refused.value)
    store.material("orders").destroy(KID, KID)
    assert store.material("orders").get(KID, KID) is None


# What lies there


def test_consumers_read_the_very_bytes(store: AwsStore, sdk: Any, prefix: str) -> None:
    """The secret's text is the document; revision and cache lifetimes are in its version id."""
    body = json.dumps({"kid": KID, "pem": "-----BEGIN…"}).encode()
    document = Document(body, "orders", 12, max_age=300, stale=21_600)
    store.documents().write(NAME, document, replacing=None)
    found = sdk.get_secret_value(SecretId=f"{prefix}/{NAME}", VersionStage="AWSCURRENT")
    assert found["SecretString"].encode() == body
    assert found["VersionId"].startswith("rotator-r12-m300-s21600-")
    again = store.documents().read(NAME)
    assert again is not None
    assert (again.revision, again.max_age, again.stale) == (12, 300, 21_600)
    assert again.token == found["VersionId"]


@pytest.mark.parametrize(
    "stamp",
    [
        Stamp(0),
        Stamp(10**15 - 1, 10**9 - 1, 10**9 - 1, empty=True),
        Stamp(3, stale=0),
        Stamp(3, max_age=5),
    ],
)
def test_a_version_id_tells_what_it_was_made_of(stamp: Stamp) -> None:
    """It fits into what AWS allows and is another each time."""
    one, two = stamp.new_token(), stamp.new_token()
    assert one != two
    assert len(one) == 64
    assert Stamp.of(one) == stamp
    assert Stamp.of(one.replace("rotator", "rotated")) is None


def test_version_ids_betray_no_key(store: AwsStore, sdk: Any, prefix: str) -> None:
    """Everybody who may describe a secret sees its version ids: two writes of one key have nothing in common."""
    found = []
    for key_set in ("orders", "billing"):
        store.material(key_set).put(KID, KID, KEY)
        store.documents().write(f"{key_set}/signing", Document(b"key", key_set, 1), replacing=None)
        for name in (f"{key_set}/material/{KID}", f"{key_set}/signing"):
            found += sdk.describe_secret(SecretId=f"{prefix}/{name}")["VersionIdsToStages"]
    assert len({version[-32:] for version in found}) == 4


def test_an_old_signing_document_is_let_go(store: AwsStore, sdk: Any, prefix: str) -> None:
    """Nothing holds on to the key before; a JWKS, which is public, may keep its label."""
    documents = store.documents()
    lifetimes = {"orders/signing": None, "orders/jwks": 300}
    for name, max_age in lifetimes.items():
        documents.write(name, Document(b"one", "orders", 1, max_age=max_age), replacing=None)
        first = documents.read(name)
        assert first is not None
        second = Document(b"two", "orders", 2, max_age=max_age)
        documents.write(name, second, replacing=first.token)
        versions = sdk.list_secret_version_ids(SecretId=f"{prefix}/{name}")["Versions"]
        assert len(versions) == (1 if max_age is None else 2)


def test_key_and_tags_of_new_secrets(open_store: Opener, sdk: Any, prefix: str) -> None:
    """Every secret gets the KMS key and the tags of the configuration."""
    store = open_store(kms_key_id="alias/rotator", tags={"team": "identity"})
    store.rings("orders").save(ONE, replacing=None)
    store.material("orders").put(KID, KID, KEY)
    store.documents().write(NAME, Document(b"{}", "orders", 1), replacing=None)
    for name in ("orders/ring", f"orders/material/{KID}", NAME):
        about = sdk.describe_secret(SecretId=f"{prefix}/{name}")
        assert about["KmsKeyId"] == "alias/rotator"
        assert about["Tags"] == [{"Key": "team", "Value": "identity"}]
        assert about["Description"].startswith("rotator: ")


def test_what_is_too_long_is_never_sent(server: AwsServer, store: AwsStore) -> None:
    """65,536 bytes go in, one more is refused with the number and a way out."""
    version = store.rings("orders").save(b"x" * 65_536, replacing=None)
    server.forget_calls()
    with pytest.raises(ConfigError, match="65537 bytes") as refused:
        store.rings("orders").save(b"x" * 65_537, replacing=version)
    assert "max_keys" in refused.value.hint
    assert operations(server) == []


def test_names_that_cannot_be(store: AwsStore) -> None:
    """Neither ring nor material can be written as a document, and no name leaves its key set."""
    for name in (
        "orders",
        "orders/ring",
        "orders/material/x",
        "orders/a b",
        "Orders/signing",
        "a/",
    ):
        with pytest.raises(ConfigError):
            store.documents().read(name)
    with pytest.raises(ConfigError):
        store.rings("../billing")
    with pytest.raises(StoreCorrupt):
        store.material("orders").get("../ring", KID)
    with pytest.raises(ConfigError):
        store.documents().write(NAME, Document(b"{}", "billing", 1), replacing=None)


def test_locators_do_not_look_like_arns(store: AwsStore) -> None:
    """A name that ends in a hyphen and six characters can be taken for the ARN of another secret."""
    material = store.material("orders")
    for kid in ("a-kid-of-ABCDEF", "2024-abc123"):
        assert material.allocate(kid, frozenset()).startswith("k-")
    assert material.allocate("2024-01", frozenset()) == "2024-01"
    assert material.allocate("A", frozenset({"a"})) == "A.2"


# Copies in other regions


def test_documents_are_copied_and_material_is_not(
    server: AwsServer, open_store: Opener, prefix: str
) -> None:
    """Signers of another region read there; writing goes to the one region that is configured."""
    store = open_store(replica_regions=["eu-west-1"])
    store.rings("orders").save(ONE, replacing=None)
    store.material("orders").put(KID, KID, KEY)
    documents = store.documents()
    documents.write(NAME, Document(b"one", "orders", 1), replacing=None)
    first = documents.read(NAME)
    assert first is not None
    documents.write(NAME, Document(b"two", "orders", 2), replacing=first.token)
    there = client(server, "secretsmanager", region_name="eu-west-1")
    found = there.get_secret_value(SecretId=f"{prefix}/{NAME}", VersionStage="AWSCURRENT")
    assert found["SecretString"] == "two"
    names = {item["Name"] for item in there.list_secrets()["SecretList"]}
    assert {name for name in names if name.startswith(f"{prefix}/")} == {f"{prefix}/{NAME}"}
    documents.delete(NAME)
    assert documents.read(NAME) is None


def test_a_region_added_later_gets_its_copy(server: AwsServer, open_store: Opener) -> None:
    """The next write asks for it, once."""
    store = open_store()
    store.documents().write(NAME, Document(b"one", "orders", 1), replacing=None)
    documents = open_store(replica_regions=["eu-west-1"]).documents()
    for revision in (2, 3):
        server.forget_calls()
        found = documents.read(NAME)
        assert found is not None
        documents.write(NAME, Document(b"%d" % revision, "orders", revision), replacing=found.token)
        assert operations(server).count("ReplicateSecretToRegions") == (revision == 2)


def test_a_replica_is_never_written(open_store: Opener) -> None:
    """Whoever configures the region of a copy is told of the right one."""
    store = open_store(replica_regions=["eu-west-1"])
    store.documents().write(NAME, Document(b"one", "orders", 1), replacing=None)
    wrong = open_store(region="eu-west-1").documents()
    found = wrong.read(NAME)
    assert found is not None
    with pytest.raises(StoreDenied, match="configure the region eu-central-1"):
        wrong.write(NAME, Document(b"two", "orders", 2), replacing=found.token)


# Other things a store does


def test_any_secret_can_be_fetched(store: AwsStore, sdk: Any, prefix: str) -> None:
    """By name or ARN, text or bytes; absent is None."""
    arn = sdk.create_secret(Name=f"{prefix}-live", SecretString="-----BEGIN")["ARN"]
    sdk.create_secret(Name=f"{prefix}-bytes", SecretBinary=b"\xff\x00")
    assert store.fetch(f"{prefix}-live") == store.fetch(arn) == Secret(b"-----BEGIN")
    assert store.fetch(f"{prefix}-bytes") == Secret(b"\xff\x00")
    assert store.fetch(f"{prefix}-nothing") is None
    for address in ("", "a b", arn.replace("eu-central-1", "eu-west-1")):
        with pytest.raises(ConfigError):
            store.fetch(address)


def test_scratch_is_erased(store: AwsStore, sdk: Any, prefix: str) -> None:
    """Nothing of the trial is left, what was scheduled for deletion included, and other key sets stay."""
    store.erase_scratch()
    ring, material, documents = store.rings(SCRATCH), store.material(SCRATCH), store.documents()
    for kid in ("a", "b"):
        material.put(kid, kid, KEY)
    material.destroy("b", "b")
    ring.save(ONE, replacing=None)
    documents.write(f"{SCRATCH}/signing", Document(b"{}", SCRATCH, 1), replacing=None)
    store.rings("orders").save(ONE, replacing=None)
    store.erase_scratch()
    store.erase_scratch()
    listed = sdk.list_secrets(
        IncludePlannedDeletion=True, Filters=[{"Key": "name", "Values": [prefix]}]
    )
    assert [item["Name"] for item in listed["SecretList"]] == [f"{prefix}/orders/ring"]


def test_the_account_that_is_meant(open_store: Opener) -> None:
    """Another account's credentials find no ring, which must not look like a first run."""
    right = open_store(account_id=ACCOUNT).rings("orders")
    wrong = open_store(account_id="210987654321").rings("orders")
    assert right.load() is None
    with pytest.raises(StoreDenied, match=f"account {ACCOUNT}, not for account_id 210987654321"):
        wrong.load()
    right.save(ONE, replacing=None)
    assert right.load() is not None
    with pytest.raises(StoreDenied):
        wrong.load()


def test_a_stranger_token_is_a_conflict(store: AwsStore) -> None:
    """A version that AWS could not have given is none to replace, and nothing is asked of AWS with it."""
    store.documents().write(NAME, Document(b"one", "orders", 1), replacing=None)
    store.rings("orders").save(ONE, replacing=None)
    with pytest.raises(Conflict):
        store.documents().write(
            NAME, Document(b"two", "orders", 2), replacing=VersionToken("short")
        )
    with pytest.raises(Conflict):
        store.rings("orders").save(TWO, replacing=Version("short"))


def test_threads_share_one_store(store: AwsStore) -> None:
    """Sixteen threads over one login: nothing is mixed up."""
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            ring = store.rings(f"key-set-{number}")
            version = ring.save(b"%d" % number, replacing=None)
            for _ in range(3):
                found = ring.load()
                assert found is not None
                assert found.document == b"%d" % number
                version = ring.save(found.document, replacing=version)
        except BaseException as error:  # noqa: BLE001  # the test tells it
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_no_payload_in_the_logs_of_the_sdk(
    store: AwsStore, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Whatever level its loggers are turned to, botocore prints neither requests nor answers."""
    store.rings("orders").load()
    for name in ("", "botocore", "botocore.parsers", "botocore.endpoint", "urllib3"):
        caplog.set_level(logging.DEBUG, logger=name or None)
    store.material("orders").put(KID, KID, KEY)
    assert store.material("orders").get(KID, KID) == KEY
    said = caplog.text + "".join(str(record.args) for record in caplog.records)
    assert "material" not in said.replace(f"{tmp_path}", "")
    assert not [record for record in caplog.records if record.name.startswith("botocore")]
