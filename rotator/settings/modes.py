"""The modes of the files of a key set: none may let everybody at keys, or lock out rotator itself."""

from __future__ import annotations

from collections.abc import Iterator

from rotator.settings.faults import Path
from rotator.settings.models import KeySet
from rotator.settings.target_models import DeliverFiles, PublishFile


def mode_faults(model: KeySet) -> Iterator[tuple[Path, str]]:
    """Yield the path and what is wrong, for every mode that cannot be."""
    for position, item in enumerate(model.deliver):
        if not isinstance(item, DeliverFiles) or item.mode is None:
            continue
        at = ("deliver", position, "mode")
        if item.mode & 0o7:
            yield (
                at,
                f"'{item.mode:04o}' would let every user of this host at the keys; write '{item.mode & 0o770:04o}'",
            )
        elif item.mode & 0o600 != 0o600:
            yield (
                at,
                f"'{item.mode:04o}' would lock out rotator itself; write '{item.mode | 0o600:04o}'",
            )
    for position, target in enumerate(model.publish):
        if not isinstance(target, PublishFile) or target.mode is None:
            continue
        if target.mode & 0o600 != 0o600:
            yield (
                ("publish", position, "mode"),
                f"'{target.mode:04o}' would lock out rotator itself; write '{target.mode | 0o600:04o}'",
            )
