"""A real Chromium without a window, behind a proxy that counts: what it shows of a page, and what it asks for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest

BOUND = 120.0  # seconds
_OWN = re.compile(r"[A-Z]+ (https?://)?([a-z0-9-]+\.)+(google|googleapis|gvt1)\.com[:/].*")
_QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--disable-features=OptimizationHints,MediaRouter,AutofillServerCommunication,NetworkTimeServiceQuerying",
    "--metrics-recording-only",
    "--no-first-run",
    "--no-pings",
    "--no-service-autorun",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-lcd-text",
)


def chromium() -> str:
    """Return the program; a test that needs it is left out, in so many words, where it is missing."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is not None:
        return found
    text = "chromium is not installed here: make servers installs it as root (apt-get install chromium)"
    if os.environ.get("CI") == "true":
        pytest.fail(f"left out under CI=true: {text}")
    pytest.skip(text)


@dataclass
class Counted:
    """What went through the proxy: `METHOD URL`, or `CONNECT HOST:PORT`."""

    url: str = ""
    asked: list[str] = field(default_factory=list)

    @property
    def by_the_page(self) -> list[str]:
        """What the page asked for: all but what the browser asks its maker for, whatever it shows."""
        return [asked for asked in self.asked if not _OWN.fullmatch(asked)]


@contextmanager
def counting_proxy(origin: str) -> Iterator[Counted]:
    """Pass on requests to one origin, and refuse and note all others."""
    found = Counted()
    opener = build_opener(ProxyHandler({}))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(f"GET {self.path}")
            if not self.path.startswith(f"{origin}/"):
                self.send_error(403)
                return
            with opener.open(self.path, timeout=BOUND) as answer:
                body = answer.read()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        def do_CONNECT(self) -> None:
            found.asked.append(f"CONNECT {self.path}")
            self.send_error(403)

        def do_POST(self) -> None:
            found.asked.append(f"POST {self.path}")
            self.send_error(403)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def shown(url: str, profile: Path, proxy: Counted, *options: str) -> str:
    """Open a page and return the document that the browser made of it.

    Args:
        profile: a directory of its own.
        options: more for the browser, a `--screenshot=FILE` for one.
    """
    done = subprocess.run(
        [
            chromium(),
            "--headless",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            *_QUIET,
            f"--user-data-dir={profile}",
            f"--proxy-server={proxy.url}",
            "--proxy-bypass-list=<-loopback>",  # this machine's addresses too
            *options,
            "--dump-dom",
            url,
        ],
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=True,
        env={**os.environ, "HOME": str(profile), "XDG_RUNTIME_DIR": str(profile)},
    )
    return done.stdout
