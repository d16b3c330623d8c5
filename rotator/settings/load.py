"""From files and environment to `Settings`, with every fault found on the way."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rotator.errors import ConfigError
from rotator.inspection import SCRATCH
from rotator.settings.addresses import Addresses
from rotator.settings.document import Document
from rotator.settings.environment import NAMED, Override, names_in, overrides, path_of, value_of
from rotator.settings.faults import Fault, InvalidSettings, Place, fault_of
from rotator.settings.faults import Path as KeyPath
from rotator.settings.find import FORMATS, find, read
from rotator.settings.key_sets import Checked, Context
from rotator.settings.locations import keys_at
from rotator.settings.models import Defaults, KeySet, Root, Store
from rotator.settings.names import KEY_SET_NAME, NAME_RULE
from rotator.settings.notify import Receiver, check_receivers
from rotator.settings.result import KeySetSettings, Settings, StoreSettings
from rotator.settings.stores import check_store, option_names
from rotator.settings.together import check_together
from rotator.settings.validate import validate, without_nulls
from rotator.settings.values import path_problem


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a key set was written, and what profiles made of it, for `config show`."""

    document: Document
    path: KeyPath
    changed: Mapping[str, str]


class Loader:
    """Reads one configuration.

    Args:
        keep: keep the documents, so that the origin of values can be told.
        unsafe: take policies that break the timing contract; for a rehearsal, and nothing else.
    """

    def __init__(
        self,
        path: Path | None,
        environ: Mapping[str, str],
        *,
        keep: bool = False,
        unsafe: bool = False,
    ) -> None:
        self.source = find(path, environ)
        self.directory = Path(os.path.abspath(self.source)).parent  # noqa: PTH100  # a mounted file's own directory, symlinks kept
        self.faults: list[Fault] = []
        self.origins: dict[str, Origin] = {}
        self.stores: dict[str, StoreSettings | None] = {}
        self._key_sets: dict[str, KeySetSettings] = {}
        self._keep = keep
        self._unsafe = unsafe
        self._key_sets_dir: Path | None = None
        self._addresses = Addresses(self.faults)
        self._pending = overrides(environ)
        self.main = read(self.source, self.faults)
        without_nulls(self.main, self.faults)

    def load(self) -> Settings:
        """Return the settings.

        Raises:
            InvalidSettings: with every fault.
        """
        self._override_sections()
        files = self._key_set_files()
        self._override_names(files)
        root, _ = validate(Root, self.main, (), self.faults)
        root = root or Root()
        if "version" not in self.main.data:
            self._missing("version", "write `version: 1`")
        defaults, cut = validate(
            Defaults, self.main, ("defaults",), self.faults, values=root.defaults
        )
        state_dir = self._state_dir(root)
        self._addresses.reserve(
            state_dir / "public",
            "what everybody may read (`public` in `state_dir`)",
            self.main,
            ("state_dir",),
        )
        for name, value in root.stores.items():
            self._store(name, value)
        if not root.stores:
            self._missing(
                "stores", "name at least one, such as `local: {backend: file, path: store}`"
            )
        context = Context(
            main=self.main,
            directory=self.directory,
            defaults=defaults or Defaults(),
            defaults_cut=cut,
            stores=self.stores,
            served=root.server is not None,
            faults=self.faults,
            unsafe=self._unsafe,
        )
        for name in root.key_sets:
            self._key_set(name, self.main, ("key_sets", name), root, context)
        for name, file in files.items():
            self._key_set_file(name, file, root, context)
        if not (root.key_sets or files):
            self._missing("key_sets", "there must be a key set")
        known = {*root.key_sets, *files}
        check_together(root, self._key_sets, self.main, self.faults, known=known)
        receivers = check_receivers(root.notify, self.main, self.directory, self.faults, known)
        self.faults += [
            Fault(item.place, item.parts, "sets nothing that there is") for item in self._pending
        ]
        if self.faults:
            raise InvalidSettings(self.faults)
        return Settings(
            source=self.directory / self.source.name,
            state_dir=state_dir,
            stores={name: store for name, store in self.stores.items() if store is not None},
            key_sets=self._key_sets,
            combine={path: tuple(names) for path, names in root.combine.items()},
            server=root.server.settings(self.directory) if root.server else None,
            admin=root.admin.settings() if root.admin else None,
            shutdown_timeout=root.shutdown_timeout,
            key_sets_dir=self._key_sets_dir,
            notify=receivers,
        )

    def _missing(self, key: str, text: str) -> None:
        """Add the fault of a key that is needed, unless something was said of it already."""
        if not any(fault.path[:1] == (key,) for fault in self.faults):
            self.faults.append(self.main.fault((key,), f"is missing or empty; {text}"))

    def _state_dir(self, root: Root) -> Path:
        if root.state_dir is not None:
            return Path(os.path.normpath(self.directory / Path(root.state_dir).expanduser()))
        if self.directory.is_relative_to("/etc"):
            return Path("/var/lib/rotator")
        return self.directory / ".rotator"

    def _names(self, section: str) -> Collection[str]:
        named = self.main.data.get(section)
        return list(named) if isinstance(named, dict) else []

    def _override_sections(self) -> None:
        """Apply what the environment says outside stores and key sets; `key_sets_dir` must be known early."""
        rest = []
        for item in self._pending:
            if item.parts[0] in NAMED and len(item.parts) > 1:
                rest.append(item)
            else:
                self._apply(item, self.main, {})
        self._pending = rest

    def _override_names(self, files: Mapping[str, Path]) -> None:
        """Apply what the environment says of stores and key sets; those in files wait until they are read."""
        names = {section: self._names(section) for section in NAMED}
        names["key_sets"] = [*names["key_sets"], *files]
        rest = []
        for item in self._pending:
            if names_in(item, "key_sets", names["key_sets"]) in files:
                rest.append(item)
            else:
                self._apply(item, self.main, names)
        self._pending = rest

    def _apply(
        self, item: Override, document: Document, names: Mapping[str, Collection[str]]
    ) -> None:
        path = path_of(item, names, self.faults)
        found = value_of(item, path, self._fields, self.faults) if path is not None else None
        if found is None:
            return
        inside, value = found[0][len(document.prefix) :], found[1]
        if not inside or not document.override(inside, value, item.variable):
            self.faults.append(
                Fault(item.place, found[0], "a value stands where this path needs a mapping")
            )

    def _fields(self, path: KeyPath) -> Collection[str]:
        if path[:1] == ("key_sets",):
            return keys_at(KeySet, path[2:])
        if path[:1] == ("defaults",):
            return keys_at(Defaults, path[1:])
        if path[:1] == ("stores",) and len(path) > 1:
            return option_names(self.main.data["stores"][path[1]], path[2:])
        if path[:1] == ("notify",) and len(path) > 1:
            return keys_at(Receiver, path[2:])
        return keys_at(Root, path)

    def _store(self, name: str, value: Any) -> None:
        path: KeyPath = ("stores", name)
        if not KEY_SET_NAME.fullmatch(name):
            self.faults.append(self.main.fault(path, NAME_RULE))
        found, _ = validate(Store, self.main, path, self.faults, values=value, secret=True)
        self.stores[name] = None
        if found is not None:
            self.stores[name] = store = check_store(
                name, found, self.main, self.directory, self.faults
            )
            directory = getattr(store.options, "path", None) if store else None
            if isinstance(directory, Path):
                self._addresses.reserve(
                    directory, f"the store `{name}`", self.main, (*path, "path")
                )

    def _key_set_files(self) -> dict[str, Path]:
        """Return the files of `key_sets_dir` by the name of their key set."""
        named = self.main.data.get("key_sets_dir")
        if not isinstance(named, str) or not named or path_problem(named):
            return {}  # the model says why
        self._key_sets_dir = directory = self.directory / Path(named).expanduser()
        files: dict[str, Path] = {}
        try:
            entries = sorted(entry.name for entry in os.scandir(directory) if entry.name[0] != ".")
        except OSError as error:
            self.faults.append(
                self.main.fault(
                    ("key_sets_dir",), f"{directory}: cannot be listed: {error.strerror}"
                )
            )
            return {}
        for entry in entries:
            name, suffix = os.path.splitext(entry)  # noqa: PTH122  # ten thousand names
            if suffix not in FORMATS:
                continue
            taken = f"{files[name]}" if name in files else str(self.source)
            if name in files or name in self._names("key_sets"):
                place = Place(str(directory / entry))
                self.faults.append(
                    Fault(place, ("key_sets", name), f"is in {taken} too; remove one of the two")
                )
            else:
                files[name] = directory / entry
        return files

    def _key_set_file(self, name: str, file: Path, root: Root, context: Context) -> None:
        prefix: KeyPath = ("key_sets", name)
        try:
            document = read(file, self.faults, prefix)
        except ConfigError as error:
            self.faults.append(fault_of(error, str(file), prefix))
            return
        without_nulls(document, self.faults)
        mine = [item for item in self._pending if names_in(item, "key_sets", [name])]
        for item in mine:
            self._pending.remove(item)
            self._apply(item, document, {"key_sets": [name]})
        self._key_set(name, document, (), root, context)

    def _key_set(
        self, name: str, document: Document, path: KeyPath, root: Root, context: Context
    ) -> None:
        if not KEY_SET_NAME.fullmatch(name):
            self.faults.append(
                document.fault(path, f"{name!r} cannot be the name of a key set; {NAME_RULE}")
            )
        elif name == SCRATCH:
            text = (
                f"{name!r} is what `rotator check --write` writes and removes; choose another name"
            )
            self.faults.append(document.fault(path, text))
        model, cut = validate(KeySet, document, path, self.faults)
        if model is None:
            return
        checked = Checked(name, model, cut, document, path=path, context=context)
        settings = checked.settings()
        self._key_sets[name] = settings
        if self._keep:
            self.origins[name] = Origin(document, path, checked.changed)
        self._claim(settings, document, path, root)

    def _claim(
        self, settings: KeySetSettings, document: Document, path: KeyPath, root: Root
    ) -> None:
        """Take the addresses of a key set."""
        full = document.prefix + path
        for name, items in (("deliver", settings.deliver), ("publish", settings.publish)):
            for position, item in enumerate(items):
                at = (*full, name, position)
                self._addresses.claim_target(settings.name, item, document, at)
        shared = tuple(address for address, names in root.combine.items() if settings.name in names)
        for position, probe in enumerate(settings.probes):
            self._addresses.claim_probe(probe.url, shared, document, (*full, "probes", position))
