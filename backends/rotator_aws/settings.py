"""How this store is configured."""

from __future__ import annotations

from rotator.plugin import RemoteSettings


class AwsSettings(RemoteSettings):
    """The options of this store."""
