"""A sample issuer: `GET /token` answers with a JWT, signed with the key that rotator delivered.

Kid and key come from one document, read anew for each token: two files read one after the other could straddle a switch.
"""

from __future__ import annotations

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import import_key

SIGNING = Path(os.environ["SIGNING"])
LIFE = 30  # seconds; `token_ttl` of the policy


def token() -> str:
    """Sign a token with the key that is current now."""
    document = json.loads(SIGNING.read_text(encoding="utf-8"))
    now = int(time.time())
    claims = {"iss": "http://issuer:8090", "sub": "demo", "iat": now, "exp": now + LIFE}
    header = {"alg": document["alg"], "kid": document["kid"]}
    return jwt.encode(header, claims, import_key(document["jwk"]), algorithms=[document["alg"]])


class Answer(BaseHTTPRequestHandler):
    """Answers one request."""

    def do_GET(self) -> None:
        """Answer `/token`; 503 before the first key has arrived."""
        if self.path != "/token":
            self.answer(404, "not found")
            return
        try:
            self.answer(200, token())
        except FileNotFoundError:
            self.answer(503, "no key yet")

    def answer(self, status: int, text: str) -> None:
        """Send a line of text."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Keep quiet: the verifier talks."""


if __name__ == "__main__":
    host, port = os.environ["LISTEN"].rsplit(":", 1)
    ThreadingHTTPServer((host, int(port)), Answer).serve_forever()
