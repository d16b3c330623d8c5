"""A sample verifier: takes a token from the issuer four times a second and verifies it as verifiers do.

It keeps the JWKS for CACHE seconds, and fetches it again at once for a kid that it does not know. It says, one JSON object a
line, which kids it meets, and every token that it has to reject.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import urllib.request
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

JWKS, ISSUER, CACHE = os.environ["JWKS"], os.environ["ISSUER"], float(os.environ["CACHE"])
ALGORITHMS = ["ES256", "RS256", "EdDSA"]
LEEWAY = 2  # seconds; `leeway` of the policy
PAUSE = 0.25


def fetched(url: str) -> str:
    """Return what a URL answers."""
    with urllib.request.urlopen(url, timeout=2) as answer:
        return str(answer.read().decode())


class Keys:
    """The JWKS as this verifier has it."""

    def __init__(self) -> None:
        self._keys: KeySet | None = None
        self._until = 0.0

    def for_kid(self, kid: str) -> KeySet:
        """Return a key set, fetched anew when it is too old or lacks this kid."""
        keys = self._keys
        known = keys is not None and any(key.kid == kid for key in keys.keys)
        if keys is None or not known or time.monotonic() > self._until:
            keys = KeySet.import_key_set(json.loads(fetched(JWKS)))
            self._keys, self._until = keys, time.monotonic() + CACHE
        return keys


def verify(token: str, keys: Keys) -> str:
    """Verify a token, and return its kid.

    Raises:
        JoseError: it does not verify.
    """
    kid = str(jws.extract_compact(token.encode()).headers()["kid"])
    claims = jwt.decode(token, keys.for_kid(kid), algorithms=ALGORITHMS).claims
    jwt.JWTClaimsRegistry(exp={"essential": True}, leeway=LEEWAY).validate(claims)
    return kid


def say(event: str, **fields: Any) -> None:
    """Print one line."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Verify for ever."""
    keys, last, verified, rejected = Keys(), "", 0, 0
    while True:
        try:
            kid = verify(fetched(ISSUER), keys)
        except OSError as error:  # nobody there, or no key yet
            say("waiting", why=str(error))
        except (JoseError, ValueError, KeyError) as error:
            rejected += 1
            say("rejected", why=repr(error), verified=verified, rejected=rejected)
        else:
            verified += 1
            if kid != last or verified % 100 == 0:
                say("verified", kid=kid, verified=verified, rejected=rejected)
            last = kid
        threading.Event().wait(PAUSE)


if __name__ == "__main__":
    main()
