"""nginx as the cache that verifiers of a company read the JWKS through."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil

from tests.servers import free_port, launch, left_out

_CONFIG: Final = """
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr warn; {user}
events {{ worker_connections 512; }}
http {{
    log_format cache '$msec $request_uri $status $upstream_cache_status $upstream_addr';
    access_log {folder}/access.log cache; server_tokens off; {temporary}
    proxy_cache_path {folder}/cache keys_zone=jwks:1m inactive=1h use_temp_path=off;
    upstream edges {{ {edges} }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://edges;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache jwks;
            proxy_cache_lock on;
            proxy_cache_background_update on;
            proxy_connect_timeout {patience};
            proxy_read_timeout {patience};
            proxy_next_upstream error timeout http_404 http_500 http_502 http_503;
            {lifetime}
        }}
    }}
}}
"""


class Cache:
    """One nginx in front of the servers of all replicas; it keeps what their headers allow.

    Args:
        folder: an empty one for everything that it writes.
        edges: the ports of the servers.
        keep: how long it keeps each answer whatever the headers say, such as `10m`.
    """

    def __init__(self, folder: Path, edges: Sequence[int], *, keep: str | None = None) -> None:
        if shutil.which("nginx") is None:
            left_out("nginx")
        folder.mkdir(parents=True)
        self.folder, self.port = folder, free_port()
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        ignored = "proxy_ignore_headers Cache-Control Expires; proxy_cache_valid 200 {};"
        (folder / "nginx.conf").write_text(
            _CONFIG.format(
                folder=folder,
                port=self.port,
                # Started by root, its worker would be somebody who may not enter our directory.
                user="user root;" if os.geteuid() == 0 else "",
                temporary=" ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds),
                edges=" ".join(f"server 127.0.0.1:{port} fail_timeout=2s;" for port in edges),
                # For one that hangs another may answer; if there is none, its answer is waited for.
                patience="1s" if len(edges) > 1 else "60s",
                lifetime=ignored.format(keep) if keep is not None else "",
            )
        )
        self.process = launch(
            ["nginx", "-p", folder, "-c", folder / "nginx.conf"],
            folder / "log",
            self._answers,
            env=os.environ,
        )

    def url(self, key_set: str) -> str:
        """Where verifiers read the JWKS of a key set."""
        return f"http://127.0.0.1:{self.port}/{key_set}/jwks.json"

    @property
    def worker(self) -> int:
        """The process that serves."""
        [worker] = [
            child.pid
            for child in psutil.Process(self.process.pid).children()
            if "worker" in " ".join(child.cmdline())
        ]
        return worker

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url("nobody"), timeout=5):
                return True
        except urllib.error.HTTPError as error:  # nobody behind it serves yet
            error.close()
            return True
        except OSError:
            return False
