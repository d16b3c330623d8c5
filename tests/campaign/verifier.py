"""A verifier: checks each token with PyJWT when it comes, and again just before it expires. A program.

As stale as its contract allows: what it reads comes through a cache that keeps everything for
`jwks_max_age + jwks_stale`, it keeps the result for `verifier_cache`, and it never fetches early for a
kid that it does not know. Tokens come on stdin, a line each; at the end it prints what it found.
"""

from __future__ import annotations

import argparse
import heapq
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import jwt


class Cached:
    """What a source said, kept for as long as allowed."""

    def __init__(self, source: Any, keep: float) -> None:
        self._source, self._keep = source, keep
        self._at = float("-inf")
        self._value: Any = None

    def __call__(self) -> Any:
        if time.monotonic() - self._at > self._keep:
            began = time.monotonic()
            self._value, self._at = self._source(), began
        return self._value


def main() -> None:
    """Verify until stdin ends, then wait for the last token to expire."""
    parser = argparse.ArgumentParser()
    parser.add_argument("source", help="URL or path of a JWKS or verification document")
    parser.add_argument("--http-cache", type=float, required=True, help="seconds")
    parser.add_argument("--cache", type=float, required=True, help="seconds")
    parser.add_argument("--leeway", type=float, required=True, help="seconds after exp")
    given = parser.parse_args()
    keys = Cached(Cached(lambda: fetch(given.source), given.http_cache), given.cache)
    found: dict[str, Any] = {"checks": 0, "late": 0, "kids": [], "rejected": []}
    waiting: list[tuple[float, int, dict[str, Any]]] = []
    changed, ended = threading.Condition(), threading.Event()

    def read() -> None:
        for count, line in enumerate(sys.stdin):
            item = json.loads(line)
            with changed:
                heapq.heappush(waiting, (0.0, 2 * count, item))
                last = item["exp"] + given.leeway - 0.3
                heapq.heappush(waiting, (last, 2 * count + 1, item))
                changed.notify_all()
        ended.set()
        with changed:
            changed.notify_all()

    threading.Thread(target=read, daemon=True).start()
    while True:
        with changed:
            while not waiting or waiting[0][0] > time.time():
                if not waiting and ended.is_set():
                    sys.stdout.write(json.dumps(found))
                    return
                changed.wait(max(waiting[0][0] - time.time(), 0.001) if waiting else 5)
            _, _, item = heapq.heappop(waiting)
        check(item, keys(), given.leeway, found)


def fetch(source: str) -> list[dict[str, Any]]:
    """Read the keys of a document."""
    body = get(source) if source.startswith("http://") else Path(source).read_bytes()
    keys: list[dict[str, Any]] = json.loads(body)["keys"]
    return keys


def get(url: str) -> bytes:
    """Read a URL; a cache before busy servers may say for a while that none of them answered in time."""
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                body: bytes = answer.read()
                return body
        except urllib.error.HTTPError as error:
            with error:
                if error.code not in {502, 504} or time.monotonic() > until:
                    raise
        threading.Event().wait(0.1)


def check(item: dict[str, Any], keys: list[dict[str, Any]], leeway: float, found: Any) -> None:
    """Verify one token against what is known now, as a program in service would."""
    found["checks"] += 1
    if item["kid"] not in found["kids"]:
        found["kids"].append(item["kid"])
    try:
        key = next((key for key in keys if key["kid"] == item["kid"]), None)
        if key is None:
            raise jwt.InvalidKeyError("unknown kid")
        jwt.decode(item["token"], jwt.PyJWK(key).key, [key["alg"]], leeway=leeway)
    except jwt.ExpiredSignatureError:
        found["late"] += 1  # this machine was too busy to look in time; nobody is to blame
    except jwt.PyJWTError as error:
        if time.time() > item["exp"] + leeway:
            found["late"] += 1  # expired by now, so its key may be gone
            return
        known = [key["kid"] for key in keys]
        found["rejected"].append(
            {"at": time.time(), "exp": item["exp"], "kid": item["kid"], "known": known}
            | {"error": f"{type(error).__name__}: {error}"}
        )


if __name__ == "__main__":
    main()
