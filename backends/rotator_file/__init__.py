"""The file store: rings, material and documents as files of one directory on a local file system.

Importing this package costs nothing but `rotator.plugin`; pydantic is loaded by `backend.settings()` and
the store itself by `backend.open()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotator.plugin import Backend, Store

if TYPE_CHECKING:
    from rotator_file.settings import FileSettings

__all__ = ["backend"]


def _settings() -> type[FileSettings]:
    from rotator_file.settings import FileSettings

    return FileSettings


def _open(settings: FileSettings) -> Store:
    from rotator_file.store import FileStore

    return FileStore(settings.path, lock_timeout=settings.lock_timeout, create=settings.create)


def _removal(settings: FileSettings, name: str) -> str:
    import shlex

    from rotator_file.names import document_file

    key_set, file = document_file(name)
    return f"rm -- {shlex.quote(str(settings.path / key_set / 'documents' / file))}"


backend = Backend(
    name="file",
    settings=_settings,
    open=_open,
    removal=_removal,
    example="""\
# A directory of this host, which only its owner may enter. Nothing in it is encrypted at rest.
path: @ROOT@/store
""",
)
