"""Which file is the configuration, and what is in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rotator.errors import ConfigError
from rotator.settings.document import MAX_BYTES, Document, decode
from rotator.settings.faults import Fault
from rotator.settings.faults import Path as KeyPath

SEARCHED: Final = (Path("rotator.yaml"), Path("/etc/rotator/rotator.yaml"))
FORMATS: Final = (".yaml", ".yml", ".json", ".toml")


def find(path: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the configuration to use: the one named, else `ROTATOR_CONFIG`, else the first that there is.

    Raises:
        ConfigError: there is none.
    """
    if path is not None:
        return path
    if named := environ.get("ROTATOR_CONFIG"):
        return Path(named)
    for candidate in SEARCHED:
        # Whatever stands there is meant, a dangling link too: reading it says what is wrong.
        if os.path.lexists(candidate):
            return candidate
    raise ConfigError(
        f"there is no configuration: neither ./{SEARCHED[0]} nor {SEARCHED[1]} exists",
        hint="`rotator init` writes one; `--config` or ROTATOR_CONFIG names another",
    )


def read(path: Path, faults: list[Fault], prefix: KeyPath = ()) -> Document:
    """Read a configuration, or one file of `key_sets_dir`, in the format that its name ends with.

    Raises:
        ConfigError: it cannot be read or parsed.
    """
    file = str(path)
    text = decode(_content(path), file)
    if path.suffix == ".json":
        from rotator.settings.read_plain import read_json

        return read_json(text, file, faults, prefix)
    if path.suffix == ".toml":
        from rotator.settings.read_plain import read_toml

        return read_toml(text, file, faults, prefix)
    if path.suffix in {".yaml", ".yml"}:
        from rotator.settings.read_yaml import read_yaml

        return read_yaml(text, file, faults, prefix)
    raise ConfigError(
        f"{file}: the name does not say which format it has", hint="end it in .yaml, .json or .toml"
    )


def _content(path: Path) -> bytes:
    """Return the bytes of a regular file, one more than allowed at most; a pipe must not hang the start."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such file", hint=f"`rotator init --path {path}` writes one"
        ) from None
    except PermissionError:
        raise ConfigError(
            f"{path}: may not be read by this user", hint=f"see `ls -l {path}` and `id`"
        ) from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
            raise ConfigError(
                f"{path}: is {what}", hint="name the file that holds the configuration"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from None
    finally:
        os.close(descriptor)


def _unreadable(path: Path, error: OSError | ValueError) -> ConfigError:
    why = error.strerror if isinstance(error, OSError) else error
    return ConfigError(f"{path}: cannot be read: {why}", hint="name another with `--config`")
