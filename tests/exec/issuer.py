"""An issuer: signs with the key that it was given, as fast as it may, with PyJWT. Run as a program.

Says READY=1 when it signs, opens its file again on SIGHUP, and ends on SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import jwt


def main() -> None:
    """Sign until the end."""
    again, end = threading.Event(), threading.Event()

    def on_hup(_number: int, _frame: FrameType | None) -> None:
        again.set()

    def on_term(_number: int, _frame: FrameType | None) -> None:
        end.set()

    signal.signal(signal.SIGHUP, on_hup)
    signal.signal(signal.SIGTERM, on_term)
    again.set()
    document: dict[str, Any] = {}
    key: Any = None
    while not end.wait(0.01):
        if again.is_set():
            again.clear()
            document = json.loads(Path(os.environ["ROTATOR_SIGNING_FILE"]).read_bytes())
            key = jwt.PyJWK(document["jwk"]).key
            _say_ready()
        now = int(time.time())
        claims = {"iat": now, "exp": now + 60}
        token = jwt.encode(claims, key, document["alg"], headers={"kid": document["kid"]})
        sys.stdout.write(token + "\n")
        sys.stdout.flush()


def _say_ready() -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"READY=1\nSTATUS=signing", "\0" + address[1:])


if __name__ == "__main__":
    main()
