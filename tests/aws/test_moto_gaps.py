"""What moto lets pass and AWS does not: stated against bare moto, and closed by the strict layer.

A test of the first kind that fails is good news: moto mended it, and the layer can lose a few lines.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from tests.aws.conftest import client
from tests.servers.moto import REGION, AwsServer

Gap = Callable[[Any, str], None]


def token() -> str:
    """A version id."""
    return uuid.uuid4().hex


def flipped(sm: Any, name: str) -> tuple[str, str]:
    """Make a secret whose AWSCURRENT was moved from one version to another; return both."""
    one, two = token(), token()
    sm.create_secret(Name=name, SecretString="one", ClientRequestToken=one)
    sm.put_secret_value(
        SecretId=name, SecretString="two", ClientRequestToken=two, VersionStages=["STAGED"]
    )
    sm.update_secret_version_stage(
        SecretId=name, VersionStage="AWSCURRENT", MoveToVersionId=two, RemoveFromVersionId=one
    )
    return one, two


def refused(code: str, call: Callable[..., Any], **parameters: Any) -> None:
    """Expect AWS to refuse with a code."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    assert caught.value.response["Error"]["Code"] == code


def default_read(sm: Any, name: str) -> None:
    """A read that names no stage returns what AWSCURRENT is on."""
    flipped(sm, name)
    assert sm.get_secret_value(SecretId=name)["SecretString"] == "two"
    (found,) = sm.batch_get_secret_value(SecretIdList=[name])["SecretValues"]
    assert found["SecretString"] == "two"


def one_current(sm: Any, name: str) -> None:
    """After UpdateSecret one version has AWSCURRENT."""
    flipped(sm, name)
    sm.update_secret(SecretId=name, SecretString="three")
    stages = sm.describe_secret(SecretId=name)["VersionIdsToStages"].values()
    assert sum("AWSCURRENT" in labels for labels in stages) == 1


def large_value(sm: Any, name: str) -> None:
    """A value has at most 65,536 bytes."""
    refused("ValidationException", sm.create_secret, Name=name, SecretString="x" * 65_537)


def both_values(sm: Any, name: str) -> None:
    """A value is text or bytes."""
    refused(
        "InvalidParameterException",
        sm.create_secret,
        Name=name,
        SecretString="x",
        SecretBinary=b"x",
    )


def large_batch(sm: Any, name: str) -> None:
    """A batch has at most 20 ids."""
    ids = [f"{name}/{number}" for number in range(21)]
    refused("ValidationException", sm.batch_get_secret_value, SecretIdList=ids)


def current_stays(sm: Any, name: str) -> None:
    """AWSCURRENT is moved, never removed."""
    _, two = flipped(sm, name)
    refused(
        "InvalidParameterException",
        sm.update_secret_version_stage,
        SecretId=name,
        VersionStage="AWSCURRENT",
        RemoveFromVersionId=two,
    )


def version_quota(sm: Any, name: str) -> None:
    """About a hundred versions of the last day are kept, and then no more are taken."""
    sm.create_secret(Name=name, SecretString="one")
    for number in range(99):
        sm.put_secret_value(SecretId=name, SecretString=f"{number}", VersionStages=["STAGED"])
    refused(
        "LimitExceededException",
        sm.put_secret_value,
        SecretId=name,
        SecretString="one too many",
        VersionStages=["STAGED"],
    )


def deprecated_hidden(sm: Any, name: str) -> None:
    """A version that lost its last label is listed only when asked for."""
    _, two = flipped(sm, name)
    sm.put_secret_value(
        SecretId=name, SecretString="three", ClientRequestToken=token(), VersionStages=["STAGED"]
    )
    sm.put_secret_value(
        SecretId=name, SecretString="four", ClientRequestToken=token(), VersionStages=["STAGED"]
    )
    assert len(sm.list_secret_version_ids(SecretId=name)["Versions"]) == 3, two


def put_to_deleted(sm: Any, name: str) -> None:
    """Nothing is put into a secret that is scheduled for deletion."""
    sm.create_secret(Name=name, SecretString="one")
    sm.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    refused("InvalidRequestException", sm.put_secret_value, SecretId=name, SecretString="two")


def create_deleted(sm: Any, name: str) -> None:
    """The name of a secret that is scheduled for deletion is not free, and AWS says why."""
    sm.create_secret(Name=name, SecretString="one")
    sm.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    refused("InvalidRequestException", sm.create_secret, Name=name, SecretString="two")


def move_to_nothing(sm: Any, name: str) -> None:
    """A move to a version that is not there changes nothing."""
    one, two = flipped(sm, name)
    with pytest.raises(ClientError):
        sm.update_secret_version_stage(
            SecretId=name,
            VersionStage="AWSCURRENT",
            MoveToVersionId=token(),
            RemoveFromVersionId=two,
        )
    found = sm.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")
    assert found["VersionId"] == two != one


def bad_name(sm: Any, name: str) -> None:
    """A name has letters, digits and a few signs."""
    refused("ValidationException", sm.create_secret, Name=f"{name}/a b", SecretString="x")


GAPS: dict[str, Gap] = {
    "a read that names no stage is of before the move": default_read,
    "UpdateSecret after a move leaves two current versions": one_current,
    "values of any size are taken": large_value,
    "text and bytes are taken together": both_values,
    "21 ids in a batch are taken": large_batch,
    "AWSCURRENT can be removed": current_stays,
    "there is no quota of versions": version_quota,
    "versions without a label are listed": deprecated_hidden,
    "a secret that is scheduled for deletion can be written": put_to_deleted,
    "a name that is scheduled for deletion is called taken": create_deleted,
    "a refused move takes AWSCURRENT away": move_to_nothing,
    "any name is taken": bad_name,
}


@dataclass
class Bare:
    """moto alone."""

    sm: Any


@pytest.fixture(scope="module")
def bare() -> Iterator[Bare]:
    """Bare moto, in this process."""
    with mock_aws():
        # By its real name, whatever the environment says: this goes no further than this process.
        url = f"https://secretsmanager.{REGION}.amazonaws.com"
        yield Bare(boto3.client("secretsmanager", region_name=REGION, endpoint_url=url))


@pytest.mark.parametrize("gap", GAPS)
def test_moto_has_the_gap(bare: Bare, gap: str) -> None:
    """What the layer is for is there: should this fail, moto has mended it."""
    with pytest.raises((AssertionError, pytest.fail.Exception, ClientError)):
        GAPS[gap](bare.sm, f"gap/{token()}")


@pytest.mark.parametrize("gap", GAPS)
def test_the_layer_closes_the_gap(server: AwsServer, gap: str) -> None:
    """With the layer before it, moto does what AWS does."""
    GAPS[gap](client(server, "secretsmanager"), f"gap/{token()}")


def test_moto_cannot_move_from_nowhere(bare: Bare) -> None:
    """A move when AWSCURRENT is nowhere makes moto fail, which for a store would be a server error."""
    name, one = f"gap/{token()}", token()
    bare.sm.create_secret(Name=name, SecretString="one", ClientRequestToken=one)
    bare.sm.update_secret_version_stage(
        SecretId=name, VersionStage="AWSCURRENT", RemoveFromVersionId=one
    )
    with pytest.raises(IndexError):
        bare.sm.update_secret_version_stage(
            SecretId=name, VersionStage="AWSCURRENT", MoveToVersionId=one
        )


def test_the_text_of_a_refused_move_is_motos_own(bare: Bare) -> None:
    """AWS's text is another, so nothing may depend on it: the code is the same."""
    name = f"gap/{token()}"
    one, two = flipped(bare.sm, name)
    refused(
        "InvalidParameterException",
        bare.sm.update_secret_version_stage,
        SecretId=name,
        VersionStage="AWSCURRENT",
        MoveToVersionId=two,
        RemoveFromVersionId=one,
    )
