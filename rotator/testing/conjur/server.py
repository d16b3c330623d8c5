"""The server itself: threads, HTTP/1.1, TLS where asked for."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from rotator.testing.conjur.answers import Answers
from rotator.testing.conjur.exchanges import Elsewhere
from rotator.testing.conjur.messages import Request
from rotator.testing.conjur.variables import RETENTION, Variables


class ConjurServer:
    """A Conjur of one account, in memory, that answers while it is entered or between `start` and `stop`.

    Args:
        account: the account's name.
        host: the address to listen on.
        port: 0 for any that is free.
        token_ttl: seconds for which an access token is good.
        retention: how many versions of a variable are kept.
        commit_delay: seconds that a write takes; the longer, the more races are lost with a 500.
        read_only: answer writes as a follower does.
        certificate: a PEM file of certificate and key, for TLS.
    """

    def __init__(
        self,
        *,
        account: str = "dev",
        host: str = "127.0.0.1",
        port: int = 0,
        token_ttl: float = 480,
        retention: int = RETENTION,
        commit_delay: float = 0.002,
        read_only: bool = False,
        certificate: Path | None = None,
    ) -> None:
        self._variables = Variables(retention=retention, commit_delay=commit_delay)
        self._answers = Answers(
            account, token_ttl=token_ttl, variables=self._variables, read_only=read_only
        )
        self._http = _Http((host, port), self._answers)
        scheme = "http"
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            self._http.tls = context
            scheme = "https"
        self.account = account
        self.url = f"{scheme}://{host}:{self._http.server_address[1]}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.02,), name="conjur-server", daemon=True
        )

    @property
    def admin_key(self) -> str:
        """The API key of the user `admin`, who may do everything."""
        return self._answers.roles.api_keys[self._answers.roles.admin]

    @admin_key.setter
    def admin_key(self, value: str) -> None:
        self._answers.roles.api_keys[self._answers.roles.admin] = value

    def give_api_key(self, login: str, key: str) -> None:
        """Give a host or user this API key, instead of the one that was made for it."""
        roles = self._answers.roles
        roles.api_keys[roles.role_of(login)] = key

    @property
    def elsewhere(self) -> Elsewhere:
        """What AWS and the directory would answer."""
        return self._answers.logins.elsewhere

    @property
    def read_only(self) -> bool:
        """Whether it answers writes as a follower does."""
        return self._answers.read_only

    @read_only.setter
    def read_only(self, value: bool) -> None:
        self._answers.read_only = value

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and close the port."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def load_policy(self, text: str, *, branch: str = "root") -> dict[str, str]:
        """Load policy as the administrator, deletions included; return the new API keys by login.

        Raises:
            Invalid, Unknown: see `rotator.testing.conjur.policy`; nothing was changed.
        """
        return self._answers.load_policy(text, branch=branch)

    def set(self, variable: str, value: bytes) -> None:
        """Give a variable a value, whoever may."""
        self._variables.add(f"{self.account}:variable:{variable}", value)

    def versions(self, variable: str) -> dict[int, bytes]:
        """Return every version of a variable that is kept."""
        name = f"{self.account}:variable:{variable}"
        found = {
            number: self._variables.value(name, number) for number in self._variables.numbers(name)
        }
        return {number: value for number, value in found.items() if value is not None}

    def expire_tokens(self) -> None:
        """Make every access token worthless, as time would; a new login helps."""
        self._answers.logins.tokens.expire_all()

    def forget_everything(self) -> None:
        """Forget every value of every variable; policy, roles and API keys stay."""
        self._variables.drop_all()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], answers: Answers) -> None:
        self.answers = answers
        self.tls: ssl.SSLContext | None = None
        super().__init__(address, _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if (
            self.tls is not None
        ):  # in the thread of the connection: a slow client keeps nobody waiting
            request.settimeout(30)
            request = self.tls.wrap_socket(request, server_side=True)
        try:
            super().finish_request(request, client_address)
        finally:
            if self.tls is not None:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_WR)
                request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "nginx"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Http

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, self.rfile.read(length))
        answer = self.server.answers.answer(request)
        self.send_response(answer.status)
        if answer.status != 204:
            self.send_header("Content-Type", answer.type)
            self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and answer.status != 204:
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - as http.server calls them

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as http.server calls it
        """Log nothing: addresses and names are nobody's business here."""
