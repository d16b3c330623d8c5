"""What a published JWKS is called, and how long caches may use it: the same words wherever it is served from."""

from __future__ import annotations

from typing import Final

MEDIA_TYPE: Final = "application/jwk-set+json"  # RFC 7517 §8.5.2
PLAIN_JSON: Final = "application/json"


def cache_control(max_age: int, stale: int) -> str:
    """Return how long, in seconds, a cache may use a JWKS, and go on with it while it cannot get another.

    Sources: RFC 9111 §5.2.2; RFC 5861 §3, §4.
    """
    fresh = f"public, max-age={max_age}"
    return f"{fresh}, stale-while-revalidate={stale}, stale-if-error={stale}" if stale else fresh
