"""The shape of an entry of `deliver` or `publish`: one pydantic model per kind of target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from rotator.settings.targets import DeliverSettings, DocumentSettings, PublishSettings
from rotator.settings.values import Mode, Name, PathText
from rotator.stores import DocumentKind

Absolute = Callable[[str], Path]
"""Makes a path of the configuration absolute."""

_DOCUMENT: Final = (
    "What is delivered: the signing document, or for HMAC verifiers the verification document."
)


class Model(BaseModel):
    """What all models share: an unknown key is a fault, nothing changes after parsing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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

    def settings(self, _: Absolute) -> DocumentSettings:
        """Return the delivery."""
        return DocumentSettings(self.to, self.store, DocumentKind(self.document))


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


Deliver = Annotated[DeliverFiles | DeliverStore, Field(discriminator="to")]
Publish = Annotated[PublishFile | PublishStore, Field(discriminator="to")]
DELIVERIES: Final[tuple[type[Model], ...]] = (DeliverFiles, DeliverStore)
PUBLICATIONS: Final[tuple[type[Model], ...]] = (PublishFile, PublishStore)
"""The same kinds one by one, in the order of the documentation."""
