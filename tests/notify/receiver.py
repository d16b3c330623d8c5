"""Receivers of webhooks that do as they are told: real servers on the loopback."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
BOUND = 60.0  # seconds; only a test that fails waits so long


@dataclass(frozen=True)
class Post:
    """One request as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def event(self) -> str:
        """The event, and the first letters of its state."""
        data = self.json["data"]
        return " ".join(word for word in (data["event"], data.get("state", "")) if word)

    def signed_by(self, secret: str = SECRET) -> bool:
        """Check a signature as a receiver does: on its own, from the specification."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        content = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        return f"v1,{expected}" in self.headers["webhook-signature"].split(" ")


Answer = Callable[[BaseHTTPRequestHandler], None]


def status(code: int, **headers: str) -> Answer:
    """Answer with a status and nothing else."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def endless(handler: BaseHTTPRequestHandler) -> None:
    """Answer 200 with a gigabyte, as far as anybody reads it."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(1 << 30))
    handler.end_headers()
    piece = b"x" * (1 << 20)
    try:
        for _ in range(1 << 10):
            handler.wfile.write(piece)
    except OSError:
        return


@dataclass
class Receiver:
    """What came, in order, and what is answered."""

    port: int
    posts: list[Post] = field(default_factory=list)
    answer: Answer = field(default_factory=lambda: status(204))
    arrived: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=notforlogs"

    @property
    def ids(self) -> list[str]:
        """The ids in the order in which they first came."""
        return list(dict.fromkeys(post.id for post in self.posts))

    @property
    def events(self) -> list[str]:
        """The events in the order in which they first came, repeats left out."""
        found = {post.id: post.event for post in self.posts}
        return [found[one] for one in self.ids]

    def wait_for(self, true: Callable[[], bool]) -> None:
        with self.arrived:
            assert self.arrived.wait_for(true, BOUND), [post.event for post in self.posts]


@contextmanager
def receiving(port: int = 0, answer: Answer | None = None) -> Iterator[Receiver]:
    """Run a receiver until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            named = {name.lower(): value for name, value in self.headers.items()}
            with receiver.arrived:
                receiver.posts.append(Post(named, body))
            receiver.answer(self)
            with receiver.arrived:
                receiver.arrived.notify_all()

        def log_message(self, *_: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            return

    server = Server(("127.0.0.1", port), Handler)
    receiver = Receiver(server.server_address[1])
    if answer is not None:
        receiver.answer = answer
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
