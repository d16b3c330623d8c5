"""A signer: reads `signing.json`, signs with PyJWT, prints one token a line. Run as a program.

As slow as its contract allows: it goes on with a document that it has for almost `signer_lag`, whatever
was delivered meanwhile.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import jwt


def main() -> None:
    """Sign until stdin ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("document", type=Path)
    parser.add_argument("--lag", type=float, required=True, help="seconds a document is kept")
    parser.add_argument("--ttl", type=float, required=True, help="seconds a token lives")
    parser.add_argument("--pause", type=float, required=True, help="seconds between two tokens")
    given = parser.parse_args()
    stop = threading.Event()

    def watch() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=watch, daemon=True).start()
    document: dict[str, Any] = {}
    key: Any = None

    def read() -> bytes:
        path: Path = given.document
        try:
            return path.read_bytes()
        except FileNotFoundError:  # switched between two steps of the way there
            return path.read_bytes()

    read_at = float("-inf")
    while not stop.wait(given.pause):
        # Half a second is left for a machine that is busy between this look and the signature.
        if time.monotonic() - read_at > given.lag - 0.5:
            began = time.monotonic()
            document, read_at = json.loads(read()), began
            key = jwt.PyJWK(document["jwk"]).key
        now = int(time.time())  # PyJWT reads whole seconds
        claims = {"iat": now, "exp": now + given.ttl, "sub": "campaign"}
        token = jwt.encode(claims, key, document["alg"], headers={"kid": document["kid"]})
        if time.monotonic() - read_at > given.lag:
            continue  # it stood still after its look: what it signed now is nobody's token
        said = {"kid": document["kid"], "exp": claims["exp"], "token": token}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
