"""What one `rotator exec` was told to do, checked."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rotator.errors import ConfigError, UsageError
from rotator.exec.document import forms
from rotator.policy import format_duration

FILE_FORMS: Final = ("signing", "pem", "jwk", "none")
AGAIN: Final = 1.0
"""Seconds that a command must have lived to count as ready, where nothing better was named."""


@dataclass(frozen=True, slots=True)
class Ready:
    """When a command counts as ready: one of the three. Durations in seconds.

    Attributes:
        url: it answers with 2xx there.
        notify: it says READY=1 to the socket that it is given (sd_notify(3)).
        after: it has lived so long.
        timeout: how long any of it may take.
    """

    url: str | None = None
    notify: bool = False
    after: float = AGAIN
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Orders:
    """All that the supervisor needs to know. Durations in seconds.

    Attributes:
        command: the program and its arguments.
        key_set: whose key.
        signer_lag: how long a signer may go on with a key after a new one was delivered.
        every: how often the document is read.
        wait: how long a first document is waited for.
        file: the form of the memory file; `none` gives none.
        environ: environment variables to fill, by name: the form.
        replace: a text in the arguments that is replaced by the path of the file.
        notify_by: the signal that tells the command to open its file again; None restarts it.
        stop_signal, stop_timeout: how it is asked to end, and when it is killed.
        ready: when it counts as ready.
        fall_back: whether the key before may be used again, for as long as that is lawful, when the
            command does not become ready with a new one.
    """

    command: tuple[str, ...]
    key_set: str
    signer_lag: float
    every: float
    wait: float
    file: str
    environ: Mapping[str, str]
    replace: str | None
    notify_by: signal.Signals | None
    stop_signal: signal.Signals
    stop_timeout: float
    ready: Ready
    fall_back: bool

    def check(self, *, symmetric: bool) -> None:
        """Refuse what cannot work.

        Args:
            symmetric: whether it is an HMAC key set.

        Raises:
            UsageError: the words do not fit together, or not this kind of key.
            ConfigError: the key set's `signer_lag` leaves no time for it.
        """
        known = forms(symmetric=symmetric)
        if self.file not in (*known, "none"):
            raise UsageError(
                f"key set {self.key_set} has HMAC keys, which have no {self.file}",
                hint="use `--file jwk`, or `--env NAME=secret-base64`",
            )
        for name, form in self.environ.items():
            if form not in known:
                raise UsageError(
                    f"--env {name}={form}: a key of key set {self.key_set} has no such form",
                    hint=f"it has {', '.join(known)}",
                )
        if self.notify_by is not None and (self.environ or self.file == "none"):
            raise UsageError(
                "an environment cannot be changed from outside: a signal would find the old key in it",
                hint="use the file only, or `--on-change restart`",
            )
        if self.replace is not None and self.file == "none":
            raise UsageError(
                "--replace names a file, and there is none with --file none",
                hint="leave out one of the two",
            )
        self._check_time()

    def _check_time(self) -> None:
        # A signal is acted on at once, a restart lets the old command finish first.
        end = 0.0 if self.notify_by is not None else self.stop_timeout
        if self.signer_lag >= self.every + end:
            return
        parts = f"--every {duration(self.every)}"
        parts += f" + --stop-timeout {duration(end)}" if end else ""
        raise ConfigError(
            f"signer_lag of key set {self.key_set} is {duration(self.signer_lag)}, and the old key could be in "
            f"use for {duration(self.every + end)} after a new one was delivered ({parts})",
            hint=f"read more often, let it end faster, or set signer_lag to {duration(self.every + end)} or more",
        )


def duration(seconds: float) -> str:
    """Return seconds as configurations write them."""
    from datetime import timedelta

    return format_duration(timedelta(seconds=seconds))
