"""`server:` and `admin:` of a configuration: where this program listens."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rotator.settings.result import AdminSettings, ServerSettings
from rotator.settings.values import Listen, ListenOrUnix, PathText


class _Listening(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(_Listening):
    """The built-in HTTP server."""

    listen: ListenOrUnix = Field(
        description="HOST:PORT, an IPv6 address in brackets; or `unix:/PATH` for a Unix socket."
    )
    cert_file: PathText | None = Field(
        None,
        description="PEM of the certificate and of what lies between it and the root; with it the server speaks TLS "
        "(1.2 or 1.3) only. Read again when it is replaced; no connection is dropped for that.",
    )
    key_file: PathText | None = Field(
        None, description="PEM of the certificate's private key, without a password."
    )
    connections: Annotated[int, Field(ge=16, le=1_000_000)] = Field(
        10_240,
        description="How many connections at a time; more wait. Each needs a file descriptor and about 12 KiB.",
    )

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("`cert_file` and `key_file` belong together; give both, or none")
        if self.cert_file is not None and self.listen[0].startswith("unix:"):
            raise ValueError("a Unix socket speaks plain HTTP; take `cert_file` and `key_file` out")
        return self

    def settings(self, directory: Path) -> ServerSettings:
        """Return what the program uses of it, paths resolved against a directory."""

        def resolved(text: str | None) -> Path | None:
            return (
                None
                if text is None
                else Path(os.path.normpath(directory / Path(text).expanduser()))
            )

        return ServerSettings(
            *self.listen, resolved(self.cert_file), resolved(self.key_file), self.connections
        )


class Admin(_Listening):
    """The admin listener: metrics and health, for those who operate the daemon."""

    listen: Listen | None = Field(
        None,
        description="HOST:PORT of `/metrics`, `/healthz` and `/readyz` of `rotator run`; an IPv6 address in brackets. "
        "Default: `127.0.0.1:8081`, which only this machine reaches; any other address is open to all who can reach it, "
        "without a password: key sets, kids and addresses are in the metrics, key material never.",
    )
    metrics_key_sets: Annotated[int, Field(ge=0, le=100_000)] = Field(
        1000,
        description="With more key sets than this, only those that are overdue or failing have series of their own, as many as this at most.",
    )

    def settings(self) -> AdminSettings:
        """Return what the program uses of it."""
        if self.listen is None:
            return AdminSettings(metrics_key_sets=self.metrics_key_sets)
        return AdminSettings(*self.listen, self.metrics_key_sets)
