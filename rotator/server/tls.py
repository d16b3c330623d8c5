"""Certificate and key of the server: read when they change, and used only if they belong together."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from rotator.errors import ConfigError

_Seen = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Tls:
    """Where certificate and key lie.

    Attributes:
        cert_file: PEM of the certificate, and of what lies between it and the root.
        key_file: PEM of its private key, without a password.
    """

    cert_file: Path
    key_file: Path

    def check(self) -> None:
        """Read both.

        Raises:
            ConfigError: one cannot be read, is no PEM, or they do not belong together.
        """
        try:
            # Without a function that answers, OpenSSL would ask the terminal for a password, and wait.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.cert_file, self.key_file, password=lambda: "")
        except OSError as error:  # SSLError is one
            reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
            raise ConfigError(
                f"the server cannot use certificate {self.cert_file} with key {self.key_file}: {reason}",
                hint="`server.cert_file` and `server.key_file` are PEM files that belong together, readable "
                "for this user, the key without a password",
            ) from error

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


class TlsWatch:
    """Notices that the files were replaced.

    Args:
        tls: what to look at; None never changes.
    """

    def __init__(self, tls: Tls | None) -> None:
        self._tls = tls
        self._seen = tls.seen() if tls is not None else ()

    def changed(self) -> bool:
        """Return whether there is another good pair since the last call.

        Raises:
            ConfigError: there is another pair, and it cannot be used; raised once for each.
        """
        if self._tls is None or not (seen := self._tls.seen()) or seen == self._seen:
            return False
        self._seen = seen
        self._tls.check()
        return True
