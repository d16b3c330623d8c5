"""The configuration: found, read, checked, and turned into plain frozen classes.

Importing this package costs next to nothing; pydantic and ruamel.yaml are loaded when a configuration is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rotator.settings.faults import Fault, InvalidSettings, Place
from rotator.settings.result import (
    AdminSettings,
    KeySetSettings,
    ProbeSettings,
    ServerSettings,
    Settings,
    StoreSettings,
)
from rotator.settings.targets import (
    AuthenticatorSettings,
    DeliverSettings,
    DocumentSettings,
    ObjectSettings,
    PublishSettings,
    TargetSettings,
)

__all__ = [
    "AdminSettings",
    "AuthenticatorSettings",
    "DeliverSettings",
    "DocumentSettings",
    "Fault",
    "InvalidSettings",
    "KeySetSettings",
    "ObjectSettings",
    "Place",
    "ProbeSettings",
    "PublishSettings",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "TargetSettings",
    "load_settings",
]


def load_settings(
    path: Path | None, environ: Mapping[str, str], *, unsafe: bool = False
) -> Settings:
    """Read and check the configuration. Nothing is written, and no store is opened.

    Args:
        path: the file named by `--config`; None searches `ROTATOR_CONFIG`, `./rotator.yaml`,
            `/etc/rotator/rotator.yaml`.
        environ: the environment; `ROTATOR__…` in it overrides the file.
        unsafe: take policies that break the timing contract; for a rehearsal, and nothing else.

    Raises:
        ConfigError: there is no configuration, or it cannot be read or parsed.
        InvalidSettings: it has faults (a `ConfigError`); all of them are in it.
    """
    from rotator.settings.load import Loader

    return Loader(path, environ, unsafe=unsafe).load()
