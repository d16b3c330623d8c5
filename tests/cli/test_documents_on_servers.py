"""Documents on real servers: what consumers read there, drift by hand, and a trial that leaves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from rotator.inspection import Role
from rotator.stores import find_backend
from tests.cli.bench import Bench
from tests.cli.forge import Forge
from tests.servers import running

BACKENDS: Final = ("aws", "conjur", "vault")


def _plainly(read: bytes) -> Any:
    return json.loads(read)


def _in_a_field(read: bytes) -> Any:
    return json.loads(json.loads(read)["document"])


READERS: Final[dict[str, tuple[str, Callable[[bytes], Any]]]] = {
    "aws": ("{prefix}/orders/signing", _plainly),
    "conjur": ("rotator/{prefix}/orders/signing", _plainly),
    "vault": ("rotator/{prefix}/orders/signing", _in_a_field),
}
"""By backend: what consumers call the signing document, and how they read it."""


@pytest.mark.parametrize("backend", BACKENDS)
def test_documents_on_a_server(
    tmp_path: Path, backend: str, request: pytest.FixtureRequest
) -> None:
    """The ring in a file, documents there and in a second store: written, changed by hand, mended, tried."""
    server = running(backend)
    forge: Forge = request.getfixturevalue("forge")  # a fork of it has the server's login
    prefix = f"documents-{backend}"
    options = server.settings(prefix)
    stores = {
        "local": {"backend": "file", "path": "store"},
        "there": {"backend": backend, **options},
    }
    targets = {
        "store": "local",
        "deliver": [{"to": "store", "store": "there"}, {"to": "store", "store": "local"}],
        "publish": [{"to": "store", "store": "there"}],
    }
    bench = Bench(tmp_path, names=("orders",), key_set=targets, more={"stores": stores})

    def run(*words: str, code: int = 0) -> str:
        ran = forge.run(bench, *words)
        assert ran.code == code, (words, ran)
        return ran.out + ran.err

    run("rotate")
    plug_in = find_backend(backend)
    store = plug_in.open(plug_in.settings()(**options))
    documents = store.documents()
    assert documents is not None
    before = documents.read("orders/signing")
    assert before is not None
    address, read = READERS[backend]
    fetched = getattr(store, "fetch")(address.format(prefix=prefix))  # noqa: B009 - `Fetching`
    signing = read(fetched.reveal())
    wanted = json.loads(before.body)
    assert {name: signing[name] for name in wanted} == wanted

    changed = before.body.replace(wanted["jwk"]["d"].encode(), b"A" * len(wanted["jwk"]["d"]))
    documents.delete("orders/signing")
    documents.write(
        "orders/signing", type(before)(changed, "orders", before.revision), replacing=None
    )
    said = run("check", code=75)
    assert "store:there/orders/signing" in said
    assert "the PEM is not the key of the JWK" in said
    run("rotate")
    after = documents.read("orders/signing")
    assert after is not None
    assert json.loads(after.body)["jwk"] == wanted["jwk"]

    said = run("check", "--write")
    assert "store there: on trial, rotator-check/signing: written, replaced" in said
    for role in (Role.ROTATOR, Role.SIGNER):
        assert "orders/signing" in run("policy", "there", "--role", role.value)
    store.close()
