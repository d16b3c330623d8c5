"""moto's Secrets Manager, made as strict as AWS is: run as `python -m tests.servers.strict_aws PORT`.

moto lets a few things pass that AWS refuses (`tests/aws/test_moto_gaps.py` states each of them against bare
moto). This layer stands in the same process before moto's own application and closes them. It also makes
each call atomic, lets IAM decide by resource (`strict_iam`), and keeps a list of the calls: `GET /strict/calls`
tells them, `DELETE /strict/calls` forgets them.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.secretsmanager.models import FakeSecret, secretsmanager_backends

from tests.servers.strict_iam import (
    ACCOUNT,
    DENIALS,
    Environ,
    Refusal,
    check_permission,
    region_of,
    simulated,
    teach_moto,
)

Start = Callable[..., Any]

LIMIT: Final = 65_536
VERSIONS: Final = 100
DAY: Final = float(os.environ.get("ROTATOR_STRICT_AWS_DAY") or 86_400)
"""For so many seconds a version without a label is kept; less where time is accelerated."""
CURRENT: Final = "AWSCURRENT"
_NAME: Final = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_OF_THE_LIVING: Final = frozenset(
    {"CreateSecret", "PutSecretValue", "UpdateSecretVersionStage", "ReplicateSecretToRegions"}
)


class Strict:
    """A WSGI application before moto's."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self._calls: list[tuple[str, str]] = []

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        """Answer one request; its body is handed on as it came, for it is signed."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        service, _, operation = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")
        with self._lock:
            try:
                if environ["PATH_INFO"] == "/strict/calls":
                    return _json(start, self._told(environ["REQUEST_METHOD"]))
                if service == "secretsmanager":
                    return self._answered(environ, start, operation, json.loads(body))
                if b"Action=SimulatePrincipalPolicy" in body:
                    return _sent(start, simulated(environ, body.decode()), "text/xml")
            except Refusal as refusal:
                said = {"__type": refusal.code, "message": str(refusal)}
                return _json(start, said, "400 Bad Request")
            return list(self._moto(environ, start))

    def _told(self, method: str) -> list[tuple[str, str]]:
        if method == "DELETE":
            self._calls.clear()
        return self._calls

    def _answered(
        self, environ: Environ, start: Start, operation: str, asked: dict[str, Any]
    ) -> Iterable[bytes]:
        name = asked.get("SecretId") or asked.get("Name") or ""
        self._calls.append((operation, name))
        check_permission(environ, operation, name)
        _check_fields(operation, asked, name)
        secret = _find(environ, name)
        if secret is not None:
            own = _checked(operation, asked, secret)
            if own is not None:
                return _json(start, own)
        held: list[Any] = []
        answer = list(self._moto(environ, lambda *given: held.extend(given)))
        if secret is not None:
            _settle(secret)
        denied = re.search(rb"<Code>(\w+)</Code>", b"".join(answer))
        if denied is not None:  # IAM's refusals, which moto gives in the XML of other services
            code = denied[1].decode()
            raise Refusal(DENIALS.get(code, code), "refused by IAM")
        start(*held)
        return answer


def _check_fields(operation: str, asked: dict[str, Any], name: str) -> None:
    given = [asked[key] for key in ("SecretString", "SecretBinary") if key in asked]
    if len(given) > 1:
        raise Refusal("InvalidParameterException", "not both SecretString and SecretBinary")
    if any(not 0 < _size(asked, value) <= LIMIT for value in given):
        raise Refusal("ValidationException", "a value has 1 to 65536 bytes")
    if len(asked.get("SecretIdList", ())) > 20:
        raise Refusal("ValidationException", "at most 20 ids")
    if operation == "CreateSecret" and _NAME.fullmatch(name) is None:
        raise Refusal("ValidationException", "no such name is allowed")


def _size(asked: dict[str, Any], value: str) -> int:
    return len(value) * 3 // 4 if "SecretBinary" in asked else len(value.encode())


def _find(environ: Environ, name: str) -> FakeSecret | None:
    """Return a secret that is no replica, by its name or ARN."""
    backend = secretsmanager_backends[ACCOUNT][region_of(environ)]
    found = backend.secrets.get(name) if name and name in backend.secrets else None
    return found if isinstance(found, FakeSecret) else None


def _checked(operation: str, asked: dict[str, Any], secret: FakeSecret) -> dict[str, Any] | None:
    """Refuse what AWS refuses of an existing secret; return an answer that moto would give wrongly."""
    if secret.is_deleted() and operation in _OF_THE_LIVING:
        raise Refusal("InvalidRequestException", "scheduled for deletion")
    token = asked.get("ClientRequestToken")
    if operation == "PutSecretValue" and token not in secret.versions:
        if len(secret.versions) >= VERSIONS:
            _forget_old(secret)
        if len(secret.versions) >= VERSIONS:
            raise Refusal("LimitExceededException", "too many versions of the last 24 hours")
    elif operation == "ListSecretVersionIds":
        return _versions(secret, deprecated=bool(asked.get("IncludeDeprecated")))
    elif operation == "UpdateSecretVersionStage":
        return _moved(asked, secret)
    return None


def _forget_old(secret: FakeSecret) -> None:
    """Drop versions that no label is on, which AWS does with those of more than a day."""
    old = time.time() - DAY
    for token, version in list(secret.versions.items()):
        if not version["version_stages"] and version["createdate"] < old:
            del secret.versions[token]


def _versions(secret: FakeSecret, *, deprecated: bool) -> dict[str, Any]:
    listed = [
        {"VersionId": key, "VersionStages": version["version_stages"]}
        for key, version in secret.versions.items()
        if version["version_stages"] or deprecated
    ]
    return {"ARN": secret.arn, "Name": secret.name, "Versions": listed}


def _moved(asked: dict[str, Any], secret: FakeSecret) -> dict[str, Any] | None:
    """Refuse a move that would leave AWSCURRENT nowhere; carry out one from nowhere, which moto cannot."""
    target = asked.get("MoveToVersionId")
    if target is not None and target not in secret.versions:
        raise Refusal("InvalidParameterException", "no such version to move to")
    if asked["VersionStage"] != CURRENT:
        return None
    if target is None:
        raise Refusal("InvalidParameterException", "AWSCURRENT cannot be removed")
    stages = [version["version_stages"] for version in secret.versions.values()]
    if "RemoveFromVersionId" in asked or any(CURRENT in labels for labels in stages):
        return None
    secret.versions[target]["version_stages"].append(CURRENT)
    _settle(secret)
    return {"ARN": secret.arn, "Name": secret.name}


def _settle(secret: FakeSecret) -> None:
    """Let a read that names no stage return what AWSCURRENT is on."""
    for key, version in secret.versions.items():
        if CURRENT in version["version_stages"]:
            secret.set_default_version_id(key)


def _json(start: Start, said: Any, status: str = "200 OK") -> list[bytes]:
    return _sent(start, json.dumps(said).encode(), "application/x-amz-json-1.1", status)


def _sent(start: Start, body: bytes, kind: str, status: str = "200 OK") -> list[bytes]:
    start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def main(port: int) -> None:
    """Serve on loopback until the end."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Handler(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open, as those to AWS do
        disable_nagle_algorithm = (
            True  # or half the answers wait 40 ms for the ACK of their first half
        )

        def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  # werkzeug's name
            """Say nothing of requests."""

    teach_moto()
    with contextlib.suppress(KeyboardInterrupt):
        make_server(
            "127.0.0.1", port, Strict(), threaded=True, request_handler=Handler
        ).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
