"""An issuer: a process that reads `signing.json` and gives out tokens over HTTP. Run as a program.

It reads the document again for each token, until it is told to `stay` with what it has; `follow` ends that,
and `back` begins it again with the key of then. `lie` puts the kid of the document on tokens of the key that it stays with.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt


class Issuer:
    """What signs, and how."""

    def __init__(self, document: Path) -> None:
        self._path = document
        self._kept: dict[str, Any] = {}
        self._stays = self.lies = False

    def stay(self) -> None:
        """Go on with the key of now."""
        self._kept, self._stays = json.loads(self._path.read_bytes()), True

    def follow(self) -> None:
        """Sign with what is delivered."""
        self._stays = self.lies = False

    def back(self) -> None:
        """Sign with the key of before again."""
        self._stays = True

    def lie(self) -> None:
        """Say the kid of what is delivered, whatever signs."""
        self.lies = True

    def token(self) -> str:
        """Return a fresh token."""
        delivered: dict[str, Any] = json.loads(self._path.read_bytes())
        document = self._kept if self._stays else delivered
        now = int(time.time())
        kid = delivered["kid"] if self.lies else document["kid"]
        key = jwt.PyJWK(document["jwk"]).key
        claims = {"iat": now, "exp": now + 60, "sub": "secret-subject"}
        return jwt.encode(claims, key, document["alg"], headers={"kid": kid})


def say(what: object) -> None:
    """Print one line at once."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until stdin ends; the first line of output is the port."""
    issuer = Issuer(Path(sys.argv[1]))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                body = json.dumps({"access_token": issuer.token(), "token_type": "Bearer"}).encode()
                self.send_response(200)
            except OSError:
                body = b"no key yet"
                self.send_response(503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say(server.server_address[1])
    for line in sys.stdin:
        getattr(issuer, line.strip())()
        say("done")


if __name__ == "__main__":
    main()
