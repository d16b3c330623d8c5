"""What the commands have in common: settings, chosen key sets, one result per key set, the exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rotator.cli.console import Console, error_view
from rotator.errors import RotatorError, UsageError, worst_exit_code

if TYPE_CHECKING:
    from rotator.assemble import Assembly
    from rotator.settings import Settings
    from rotator.shard import Shard


@dataclass(slots=True)
class Result:
    """What a command did with, or knows of, one key set.

    Attributes:
        view: its part of the JSON document.
        changed: something was written.
        error: why it failed; the view is then what was known before.
    """

    key_set: str
    view: dict[str, Any] = field(default_factory=dict)
    exit_code: int = 0
    changed: bool = False
    error: RotatorError | None = None

    def document(self) -> dict[str, Any]:
        """Return what `--json` prints of this key set."""
        error = error_view(self.error) if self.error is not None else None
        return {"key_set": self.key_set, **self.view, "exit_code": self.exit_code, "error": error}


class Events:
    """Collects the events of a command for its result, and passes them on to the log."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self.seen: list[dict[str, Any]] = []

    def emit(self, level: str, event: str, **fields: Any) -> None:
        """Take one event; implements `rotator.reconcile.site.Emit`."""
        self.seen.append({"event": event, **fields})
        if not self._quiet:
            from rotator.logs import emit

            emit(level, event, **fields)

    def take(self) -> list[dict[str, Any]]:
        """Return the events since the last call."""
        seen, self.seen = self.seen, []
        return seen


class Session:
    """One run of one command.

    Args:
        options: what was said for all commands, see `rotator.cli.options.Options`.
        level: from which level up logs are shown unless `--log-level` says otherwise.
    """

    def __init__(self, options: Mapping[str, Any], *, level: str = "warning") -> None:
        from rotator.logs import configure

        self.options = options
        self.console = Console(options)
        configure(
            options.get("log_level") or level,
            options.get("log_format") or "auto",
            color=options.get("color") or "auto",
        )
        self.settings = load(options)

    @property
    def shard(self) -> Shard | None:
        """The part of all key sets that was asked for, None for all of them. Raises UsageError."""
        said, named = self.options.get("shard"), os.environ.get("ROTATOR_SHARD")
        if not (said or named):
            return None
        from rotator.shard import VARIABLE, Shard

        return Shard.parse(said, "--shard") if said else Shard.parse(named or "", VARIABLE)

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Return the key sets named; when none was, all of them, or those of the shard.

        Raises:
            UsageError: a name that the configuration does not have.
        """
        for name in names:
            self._known(name)
        if names:
            return list(dict.fromkeys(names))
        shard = self.shard
        return list(self.settings.key_sets) if shard is None else shard.of(self.settings.key_sets)

    def the_one(self, name: str | None) -> str:
        """Return the key set named, or the only one.

        Raises:
            UsageError: unknown, or none was named and there are several.
        """
        if name is not None:
            return self._known(name)
        known = list(self.settings.key_sets)
        if len(known) != 1:
            raise UsageError(
                "which key set is meant? the configuration has several",
                hint=f"name one of {_listed(known)}",
            )
        return known[0]

    def split(self, words: Sequence[str], *, what: str) -> tuple[str, tuple[str, ...]]:
        """Tell a key set, which may be left out where there is one, from the kids that follow it.

        Raises:
            UsageError: several key sets and none is named first, or nothing but its name was given.
        """
        known = self.settings.key_sets
        named = bool(words) and words[0] in known and (len(words) > 1 or len(known) > 1)
        name = self.the_one(words[0] if named else None)
        rest = tuple(dict.fromkeys(words[1:] if named else words))
        if not rest:
            raise UsageError(f"which {what}?", hint=f"`rotator status {name}` shows them")
        return name, rest

    def _known(self, name: str) -> str:
        if name in self.settings.key_sets:
            return name
        from rotator.settings.faults import nearest

        meant = nearest(name, self.settings.key_sets)
        if "did you mean" not in meant:
            meant = ""  # it lists them, and so does the hint
        hint = f"it has {_listed(list(self.settings.key_sets))}"
        raise UsageError(f"the configuration has no key set {name!r}{meant}", hint=hint)

    @contextmanager
    def assembly(self, events: Events | None = None) -> Iterator[Assembly]:
        """Give the key sets of the configuration; stores are closed at the end."""
        from rotator.assemble import Assembly

        with Assembly(self.settings, (events or Events(quiet=True)).emit) as assembly:
            yield assembly

    def each(self, names: Sequence[str], act: Callable[[str], Result]) -> list[Result]:
        """Do something for several key sets; one that fails never stops another."""
        return [self.guarded(name, act) for name in names]

    def guarded(self, name: str, act: Callable[[str], Result]) -> Result:
        """Do something for one key set; what it raises is printed and becomes its result."""
        try:
            return act(name)
        except RotatorError as error:
            failed: RotatorError = error
        except Exception as error:  # noqa: BLE001 - a fault with one key set must not stop the others
            from rotator.cli import report_unexpected

            failed = report_unexpected(error, self.options)
        if not self.console.json:
            self.console.refuse(failed)
        return Result(name, exit_code=failed.exit_code, error=failed)

    def finish(self, format_name: str, results: Sequence[Result], **more: Any) -> int:
        """Print the JSON document of all key sets, and return the worst exit code."""
        code = worst([result.exit_code for result in results])
        self.console.document(
            {
                "format": format_name,
                **more,
                "key_sets": [result.document() for result in results],
                "exit_code": code,
            }
        )
        return code


def load(options: Mapping[str, Any]) -> Settings:
    """Read the configuration that the options name; `unsafe` among them is for `rehearse` alone. Raises ConfigError."""
    from rotator.settings import load_settings

    unsafe = bool(options.get("unsafe"))
    return load_settings(options.get("config"), os.environ, unsafe=unsafe)


def worst(codes: Sequence[int]) -> int:
    """Return the worst exit code of several key sets; a refusal of the words given (2) counts as usage.

    Where only some key sets refused them, what the others did counts first if it failed.
    """
    others = [code for code in codes if code != 2]
    found = worst_exit_code(others)
    return 2 if 2 in codes and found in (0, 3) else found


def pause(duration: timedelta) -> None:
    """Wait, between two tries."""
    import time

    time.sleep(duration.total_seconds())


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10])
    return f"{shown}, … ({len(names)} in all)" if len(names) > 10 else shown
