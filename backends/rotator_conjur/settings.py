"""How this store is configured."""

from __future__ import annotations

from rotator.plugin import RemoteSettings


class ConjurSettings(RemoteSettings):
    """The options of this store."""
