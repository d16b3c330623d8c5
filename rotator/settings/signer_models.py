"""The shape of an entry of `signer_checks`, as a pydantic model."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from rotator.settings.model import Absolute, Model
from rotator.settings.signers import SignerCheckSettings
from rotator.settings.values import Duration, PositiveDuration, Text, Url

_LONGEST: Final = timedelta(minutes=1)
_TIMEOUT: Final = timedelta(seconds=10)
_HEADER: Final = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"  # RFC 9110 §5.6.2


class SignerCheck(Model):
    """One signer check."""

    url: Url | None = Field(
        None,
        description="The URL that gives out a fresh token to a plain GET. Either this or `command`.",
    )
    command: Annotated[list[Text], Field(min_length=1, max_length=64)] | None = Field(
        None,
        description="Program and arguments, no shell, that print a fresh token. It gets a minimal environment.",
    )
    every: PositiveDuration | None = Field(
        None,
        description="How often the signer is asked at most. Default: `resync`; and once more before a key is retired.",
    )
    hold: bool = Field(
        False,
        description="Whether a key stays published for as long as the signer is seen with it, or only a warning is given.",
    )
    timeout: PositiveDuration = Field(
        _TIMEOUT, description="How long one look may take; at most `1m`."
    )
    header: Annotated[str, Field(pattern=_HEADER, max_length=100)] | None = Field(
        None,
        description="The header of the URL's answer that is the token, with or without `Bearer`.",
    )
    field: Annotated[Text, Field(max_length=200)] | None = Field(
        None,
        description="The member of the JSON answer that is the token, `a.b` for a member of a member. Default: the whole answer, "
        "else its `access_token`, `id_token` or `token`.",
    )

    @field_validator("url", mode="before")
    @classmethod
    def _no_credentials(cls, value: object) -> object:
        if isinstance(value, str) and "@" in urlsplit(value).netloc:
            raise ValueError(
                "no user name or password is sent; take them out of the URL, or fetch the token with a `command`"
            )
        return value

    @field_validator("timeout")
    @classmethod
    def _bounded(cls, value: Duration) -> Duration:
        if value > _LONGEST:
            raise ValueError("a tick waits for it: `1m` at most")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.url is None) == (self.command is None):
            raise ValueError("needs a `url` or a `command`, one of the two")
        if self.header is not None and (self.url is None or self.field is not None):
            raise ValueError("`header` goes with a `url`, and without `field`")
        return self

    def settings(self, absolute: Absolute, resync: timedelta) -> SignerCheckSettings:
        """Return the check; a program named by a relative path is one below the configuration's directory."""
        command = tuple(self.command or ())
        if command and "/" in command[0]:
            command = (str(absolute(command[0])), *command[1:])
        return SignerCheckSettings(
            every=resync if self.every is None else self.every,
            timeout=self.timeout,
            hold=self.hold,
            url=self.url,
            command=command,
            header=self.header,
            field=self.field,
        )
