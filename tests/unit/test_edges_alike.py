"""One verifier's questions, asked of the built-in edge and of nginx with the rendered configuration."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from rotator.publication import FilePublication
from rotator.server import ServerProcess, Site
from rotator.server.nginx import PublishedFile, nginx_locations
from rotator.stores import Document
from tests.servers import free_port, launch
from tests.unit.test_server import jwks, next_look

ROOT = Path(__file__).parents[2]


@dataclass
class Edge:
    """A server of one key set, `web`, the default one."""

    port: int
    file: Path

    def publish(self, revision: int, *kids: str) -> None:
        """Publish a document."""
        target = FilePublication(self.file, "web")
        seen = target.look().document
        document = Document(jwks(*kids), "web", revision, max_age=300, stale=600)
        target.write(document, replacing=seen.token if seen else None)

    def ask(
        self, path: str = "/web/jwks.json", method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one request; header names are written with underscores."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers=named)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.headers.items()}
            return response.status, found, response.read()
        finally:
            connection.close()


@contextmanager
def built_in(directory: Path) -> Iterator[Edge]:
    """Run the built-in edge."""
    public = directory / "public"
    public.mkdir()
    server = ServerProcess("127.0.0.1", 0, Site(public, ("web",), "web"))
    server.start()
    try:
        yield Edge(server.address[1], public / "web" / "jwks.json")
    finally:
        server.stop()


@contextmanager
def nginx(directory: Path) -> Iterator[Edge]:
    """Run nginx with what `rotator edge-config nginx` prints."""
    if shutil.which("nginx") is None:
        text = "nginx is not installed here: apt-get install nginx-light"
        if os.environ.get("CI") == "true":
            pytest.fail(f"left out under CI=true: {text}")
        pytest.skip(text)
    file, port = directory / "jwks" / "web.json", free_port()
    file.parent.mkdir()
    rendered = nginx_locations([PublishedFile("web", file, 300, 600, default=True)])
    (directory / "rotator-jwks.conf").write_text(rendered, encoding="utf-8")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
    # Started by root, its worker would be somebody who may not enter our directory.
    user = "user root;" if os.geteuid() == 0 else ""
    (directory / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {directory}/pid; error_log stderr warn; {user}\n"
        f"events {{ worker_connections 64; }}\nhttp {{ access_log off; server_tokens off; {temporary}\n"
        f"server {{ listen 127.0.0.1:{port}; include {directory}/rotator-jwks.conf;\n"
        "location / { return 404; } } }\n"
    )
    edge = Edge(port, file)

    def answers() -> bool:
        try:
            return edge.ask("/")[0] == 404
        except OSError:
            return False

    command: list[str | Path] = ["nginx", "-p", directory, "-c", directory / "nginx.conf"]
    process = launch(command, directory / "log", answers, env=os.environ)
    try:
        yield edge
    finally:
        process.terminate()
        process.wait(60)


EDGES: dict[str, Callable[[Path], AbstractContextManager[Edge]]] = {
    "built-in": built_in,
    "nginx": nginx,
}


@pytest.fixture(scope="module", params=EDGES)
def edges(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Edge]:
    """Each edge in turn, with something published."""
    with ExitStack() as stack:
        make = EDGES[request.param]
        yield stack.enter_context(make(tmp_path_factory.mktemp("edge")))


@pytest.fixture
def edge(edges: Edge) -> Edge:
    """An edge that serves revision 3 or a later one."""
    if not edges.file.exists():
        status, headers, body = edges.ask()
        assert (status, headers["cache-control"]) == (404, "no-store")
        assert body == b'{"error": "no document yet"}\n'
        edges.publish(3, "a")
    return edges


def test_a_document_comes_with_the_same_headers(edge: Edge) -> None:
    for path in ("/web/jwks.json", "/.well-known/jwks.json"):
        status, headers, body = edge.ask(path)
        assert (status, body) == (200, edge.file.read_bytes())
        assert headers["content-type"] == "application/jwk-set+json"
        assert headers["cache-control"] == (
            "public, max-age=300, stale-while-revalidate=600, stale-if-error=600"
        )
        assert headers["access-control-allow-origin"] == "*"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["rotator-key-set"] == "web"
        assert headers["content-length"] == str(len(body))
        assert headers["etag"].startswith('"')
        assert {"last-modified", "date"} <= headers.keys()
        assert not {"set-cookie", "vary", "content-encoding", "accept-ranges"} & headers.keys()


def test_head_is_get_without_the_body(edge: Edge) -> None:
    (_, got, _), (status, headers, body) = edge.ask(), edge.ask(method="HEAD")
    got.pop("date")
    headers.pop("date")
    assert (status, headers, body) == (200, got, b"")


@pytest.mark.parametrize(
    ("asked", "status"),
    [("{}", 304), ("W/{}", 304), ("*", 304), ('"other", {}', 304), ('"other"', 200)],
)
def test_if_none_match(edge: Edge, asked: str, status: int) -> None:
    etag = edge.ask()[1]["etag"]
    for method in ("GET", "HEAD"):
        found, headers, body = edge.ask(method=method, If_None_Match=asked.format(etag))
        assert found == status
        if status == 304:
            assert body == b""
            assert headers["etag"] == etag
            assert "max-age=300" in headers["cache-control"]


def test_a_date_and_a_range_change_nothing(edge: Edge) -> None:
    assert edge.ask(If_Modified_Since="Fri, 31 Dec 2100 23:59:59 GMT")[0] == 200
    status, _, body = edge.ask(Range="bytes=0-9")
    assert (status, body) == (200, edge.file.read_bytes())
    status, _, body = edge.ask(Accept_Encoding="gzip, br", Accept="application/json")
    assert (status, body) == (200, edge.file.read_bytes())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_any_other_method_is_refused(edge: Edge, method: str) -> None:
    status, headers, _ = edge.ask(method=method)
    assert (status, headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert headers["cache-control"] == "no-store"


def test_a_browser_may_ask_with_headers_of_its_own(edge: Edge) -> None:
    status, headers, body = edge.ask(
        method="OPTIONS",
        Origin="https://app.example",
        Access_Control_Request_Method="GET",
        Access_Control_Request_Headers="if-none-match",
    )
    assert (status, body) == (204, b"")
    assert headers["access-control-allow-origin"] == "*"
    assert headers["access-control-allow-headers"] == "*"
    assert headers["access-control-allow-methods"] == "GET, HEAD"


def test_two_documents_of_one_second_and_one_length_are_told_apart(edge: Edge) -> None:
    seen = FilePublication(edge.file, "web").look().document
    assert seen is not None
    assert seen.revision is not None
    etags = set()
    for number in range(5):
        edge.publish(seen.revision + 1 + number, "abcde"[number])
        wanted = (200, jwks("abcde"[number]))
        next_look()  # of the built-in edge
        status, headers, body = edge.ask()
        assert (status, body) == wanted
        etags.add(headers["etag"])
    assert len(etags) == 5


def test_any_other_path_is_unknown(edge: Edge) -> None:
    for path in ("/", "/web", "/web/jwks.json/", "/web/jwks.json.meta.json", "/jobs/jwks.json"):
        assert edge.ask(path)[0] == 404


def test_the_example_is_what_the_command_prints() -> None:
    example = ROOT / "deploy" / "nginx"
    said = subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "rotator",
            "--config",
            example / "rotator.yaml",
            "edge-config",
            "nginx",
        ],
        capture_output=True,
        check=True,
        text=True,
    )
    assert said.stdout == (example / "rotator-jwks.conf").read_text(encoding="utf-8")
