"""Certificate and key of the server: read when they change, and used only if they belong together.

The parent keeps the last good pair in memory and hands that down, not the names of its files: a child that is
started again while a bad pair lies there serves what the one before it did, and what was checked is what is used.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rotator.errors import ConfigError
from rotator.secret import Secret

_Seen = tuple[tuple[int, int, int], ...]

_FDS: Final = Path("/proc/self/fd")
_LARGEST: Final = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Tls:
    """Where certificate and key lie.

    Attributes:
        cert_file: PEM of the certificate, and of what lies between it and the root.
        key_file: PEM of its private key, without a password.
    """

    cert_file: Path
    key_file: Path

    def read(self) -> Pair:
        """Return both, as they are now.

        Raises:
            ConfigError: one cannot be read, is no PEM, or they do not belong together.
        """
        try:
            pair = Pair(self, _content(self.cert_file), Secret(_content(self.key_file)))
            with pair.handed_down() as held:
                # Without a function that answers, OpenSSL would ask the terminal for a password, and wait.
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(held.cert_file, held.key_file, password=lambda: "")
        except OSError as error:  # SSLError is one
            reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
            raise ConfigError(
                f"the server cannot use certificate {self.cert_file} with key {self.key_file}: {reason}",
                hint="`server.cert_file` and `server.key_file` are PEM files that belong together, readable "
                "for this user, the key without a password",
            ) from error
        return pair

    def seen(self) -> _Seen:
        """Return what tells one pair of files from another; nothing for a file that is not there now."""
        found = []
        for path in (self.cert_file, self.key_file):
            try:
                status = os.stat(path)  # noqa: PTH116 - follows the links that certificate tools switch
            except OSError:
                return ()
            found.append((status.st_mtime_ns, status.st_ino, status.st_size))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Held:
    """A pair as another process can open it.

    Attributes:
        descriptors: what that process must inherit.
    """

    cert_file: Path
    key_file: Path
    descriptors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key, in memory."""

    files: Tls
    cert: bytes
    key: Secret

    @contextmanager
    def handed_down(self) -> Iterator[Held]:
        """Hold the pair where a child that is started in this block can open it.

        That is memory which is in no file system (memfd_create(2), Linux). Elsewhere it is the files themselves, as
        they are when the child comes to read them.
        """
        if not hasattr(os, "memfd_create") or not _FDS.is_dir():
            yield Held(self.files.cert_file, self.files.key_file)
            return
        with ExitStack() as stack:
            numbers = []
            for name, content in (("cert", self.cert), ("key", self.key.reveal())):
                number = os.memfd_create(name)
                stack.callback(os.close, number)
                with os.fdopen(number, "wb", closefd=False) as file:
                    file.write(content)
                numbers.append(number)
            cert, key = (_FDS / str(number) for number in numbers)
            yield Held(cert, key, tuple(numbers))


class TlsWatch:
    """Keeps the last good pair, and notices that the files were replaced.

    Args:
        tls: what to look at; None never changes.

    Raises:
        ConfigError: see `Tls.read`.
    """

    def __init__(self, tls: Tls | None) -> None:
        self._tls = tls
        self._seen = tls.seen() if tls is not None else ()
        self.pair = tls.read() if tls is not None else None

    def changed(self) -> bool:
        """Return whether there is another good pair since the last call.

        Raises:
            ConfigError: there is another pair, and it cannot be used; raised once for each.
        """
        if self._tls is None or not (seen := self._tls.seen()) or seen == self._seen:
            return False
        self._seen = seen
        self.pair = self._tls.read()
        return True

    @contextmanager
    def handed_down(self) -> Iterator[tuple[list[str], tuple[int, ...]]]:
        """Yield how a child is told of the pair, and the descriptors that it must inherit for that."""
        if self.pair is None:
            yield [], ()
            return
        with self.pair.handed_down() as held:
            words = ["--cert", str(held.cert_file), "--key", str(held.key_file)]
            yield words, held.descriptors


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LARGEST)
