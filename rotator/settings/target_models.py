"""The shape of an entry of `deliver` or `publish`: one pydantic model per kind of target."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field

from rotator.settings.cluster_models import DeliverSecret, PublishConfigMap
from rotator.settings.model import DOCUMENT as _DOCUMENT
from rotator.settings.model import Absolute, Model
from rotator.settings.targets import (
    AuthenticatorSettings,
    DeliverSettings,
    DocumentSettings,
    PublishSettings,
)
from rotator.settings.values import Mode, Name, PathText, VerifierName
from rotator.stores import DocumentKind


class DeliverFiles(Model):
    """A delivery as files in a directory."""

    to: Literal["files"] = Field(description="The kind of target: a directory of files.")
    path: PathText = Field(description="The directory.")
    document: Literal["signing", "verification"] = Field("signing", description=_DOCUMENT)
    mode: Mode | None = Field(
        None, description="The mode of the files. Default: '0600', or '0640' with a group."
    )
    group: Name | None = Field(None, description="The group that may read the files.")

    def settings(self, absolute: Absolute) -> DeliverSettings:
        """Return the delivery, its path made absolute."""
        kind = DocumentKind(self.document)
        return DeliverSettings(self.to, absolute(self.path), kind, self.mode, self.group)


class DeliverStore(Model):
    """A delivery in a store."""

    to: Literal["store"] = Field(description="The kind of target: a document in a store.")
    store: Name = Field(
        description="The store; it need not be that of the ring, and there may be several such entries. "
        "Signers read `KEY_SET/signing` there, HMAC verifiers `KEY_SET/verification`."
    )
    document: Literal["signing", "verification"] = Field("signing", description=_DOCUMENT)
    verifier: VerifierName | None = Field(
        None,
        description="The one HMAC verifier that this verification document is for: it reads "
        "`KEY_SET/verification.VERIFIER`, and can be refused that without the others noticing.",
    )

    def settings(self, _: Absolute) -> DocumentSettings:
        """Return the delivery."""
        kind = DocumentKind(self.document)
        return DocumentSettings(self.to, self.store, kind, self.verifier)


class PublishFile(Model):
    """A publication as a file."""

    to: Literal["file"] = Field(description="The kind of target: one file.")
    path: PathText = Field(description="The file.")
    mode: Mode | None = Field(None, description="The mode of the file. Default: '0644'.")

    def settings(self, absolute: Absolute) -> PublishSettings:
        """Return the publication, its path made absolute."""
        return PublishSettings(self.to, absolute(self.path), self.mode)


class PublishStore(Model):
    """A publication in a store."""

    to: Literal["store"] = Field(description="The kind of target: a document in a store.")
    store: Name = Field(
        description="The store; it need not be that of the ring. The JWKS is `KEY_SET/jwks` there."
    )

    def settings(self, _: Absolute) -> DocumentSettings:
        """Return the publication."""
        return DocumentSettings(self.to, self.store, DocumentKind.JWKS)


def _object_key(value: str) -> str:
    if any(part in {".", ".."} for part in value.split("/")):
        raise ValueError("cannot have a part that is `.` or `..`: clients of HTTP take it out")
    return value


ObjectKey = Annotated[
    str,
    # What needs no encoding in a URL (RFC 3986 §2.3), and a few that people use.
    Field(max_length=1024, pattern=r"^[A-Za-z0-9._~+=@-]+(/[A-Za-z0-9._~+=@-]+)*$"),
    AfterValidator(_object_key),
]


class OfBackend(Model):
    """An entry of which the rest is checked by the model of a backend's object storage."""

    model_config = ConfigDict(extra="allow", frozen=True)

    BACKEND: ClassVar[str]


class PublishS3(OfBackend):
    """A publication as an object in S3."""

    BACKEND: ClassVar[str] = "aws"

    to: Literal["s3"] = Field(
        description="The kind of target: an object in S3, or in storage that speaks its protocol."
    )
    key: ObjectKey | None = Field(
        None, description="The key of the object. Default: `KEY_SET/jwks.json`."
    )


class PublishAuthenticator(Model):
    """A publication as the keys that an authenticator of Conjur verifies with."""

    to: Literal["conjur-jwt"] = Field(
        description="The kind of target: the `public-keys` of one of Conjur's authn-jwt services."
    )
    store: Name = Field(description="The Conjur store; it need not be that of the ring.")
    service: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$")] = Field(
        description="The id of the service: the JWKS goes to `conjur/authn-jwt/SERVICE/public-keys`."
    )

    def settings(self, _: Absolute) -> AuthenticatorSettings:
        """Return the publication."""
        return AuthenticatorSettings(self.to, self.store, self.service)


Deliver = Annotated[DeliverFiles | DeliverStore | DeliverSecret, Field(discriminator="to")]
Publish = Annotated[
    PublishFile | PublishStore | PublishS3 | PublishConfigMap | PublishAuthenticator,
    Field(discriminator="to"),
]
DELIVERIES: Final[tuple[type[Model], ...]] = (DeliverFiles, DeliverStore, DeliverSecret)
PUBLICATIONS: Final[tuple[type[Model], ...]] = (
    PublishFile,
    PublishStore,
    PublishS3,
    PublishConfigMap,
    PublishAuthenticator,
)
"""The same kinds one by one, in the order of the documentation."""
