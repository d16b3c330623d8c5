"""What is left of the store: material by policy, names, the trial, fetching, options, forks and threads."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rotator.errors import BackendMissing, ConfigError, StoreCorrupt, StoreDenied, StoreUnavailable
from rotator.inspection import SCRATCH, Exercisable, Inspectable, Role, Scope
from rotator.secret import Secret
from rotator.stores import Document, Fetching, find_backend
from rotator.testing.contract import MaterialStoreContract, Place
from rotator_conjur.settings import ConjurSettings
from tests.conjur.places import RING, Ground
from tests.servers import running
from tests.servers.conjur import ConjurProcess


class TestVariables(MaterialStoreContract):
    """Material in a variable for each kid, which the store declares and deletes by itself."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        """A branch that the host owns, for each key set of the contract."""
        server = running("conjur")
        assert isinstance(server, ConjurProcess)
        settings = {**server.settings(f"variables/{tmp_path.name}"), "material": "variables"}
        branches = "".join(
            f"    - !policy\n      id: {name}/material\n      owner: !host /rotator\n"
            for name in ("orders", "billing")
        )
        server.load_policy(f"- !policy\n  id: {settings['prefix']}\n  body:\n{branches}")
        return Place.of_backend("conjur", {**settings, "slots": None}, racers=3)


def test_a_deleted_variable_leaves_nothing(conjur: Ground) -> None:
    """Its history goes with it."""
    conjur.server.load_policy(
        "- !policy {id: orders/material, owner: !host /rotator}\n", branch="rotator"
    )
    material = conjur.store(material="variables").material("orders")
    material.put("kid", "kid", Secret(b"key"))
    assert len(conjur.server.versions("rotator/orders/material/kid")) == 1
    material.destroy("kid", "kid")
    assert conjur.server.versions("rotator/orders/material/kid") == {}
    assert material.get("kid", "kid") is None


def test_the_walls(conjur: Ground) -> None:
    """It can be inspected, tried out, and read from."""
    store = conjur.store()
    assert isinstance(store, Inspectable)
    assert isinstance(store, Exercisable)
    assert isinstance(store, Fetching)


def test_the_trial_leaves_nothing(conjur: Ground) -> None:
    """Ring, material and documents are written over; twice is harmless, and so is nothing."""
    store = conjur.store()
    store.erase_scratch()
    store.rings(SCRATCH).save(b"ring", replacing=None)
    store.material(SCRATCH).put("slot-02", "kid", Secret(b"secret"))
    store.documents().write(
        f"{SCRATCH}/signing", Document(b'{"a": "secret"}', SCRATCH, 1), replacing=None
    )
    store.erase_scratch()
    store.erase_scratch()
    assert store.rings(SCRATCH).load() is None
    assert store.material(SCRATCH).get("slot-02", "kid") is None
    assert store.documents().read(f"{SCRATCH}/signing") is None
    for variable in conjur.client().variables(f"rotator/{SCRATCH}/"):
        kept = conjur.server.versions(variable).values()
        assert not any(b"secret" in value or b"c2VjcmV0" in value for value in kept)
    store.rings(SCRATCH).save(b"again", replacing=None)


def test_fetch(conjur: Ground) -> None:
    """Any variable that the identity may read, by its name or its full id."""
    store = conjur.store()
    assert store.fetch(RING) is None
    conjur.server.set(RING, b"\xff\x00live")
    for address in (RING, f"dev:variable:{RING}"):
        assert store.fetch(address) == Secret(b"\xff\x00live")
    with pytest.raises(StoreDenied, match="is not declared"):
        store.fetch("elsewhere")
    for address in ("", "a\nb", "x" * 501):
        with pytest.raises(ConfigError, match="no variable of Conjur"):
            store.fetch(address)


def test_allocate_takes_the_first_free_slot(conjur: Ground) -> None:
    """Until there is none."""
    material = conjur.store(slots=3).material("orders")
    taken = frozenset({"slot-01", "slot-03"})
    assert material.allocate("kid", taken) == "slot-02"
    with pytest.raises(StoreUnavailable, match="all 3 slots") as caught:
        material.allocate("kid", taken | {"slot-02"})
    assert caught.value.lasting
    assert conjur.store().material("orders").allocate("kid", taken | {"slot-02"}) == "slot-04"


@pytest.mark.parametrize("locator", ["slot-1", "kid", "../ring", "slot-01/x", ""])
def test_a_locator_that_was_never_allocated(conjur: Ground, locator: str) -> None:
    """Somebody changed the ring, or `material`."""
    with pytest.raises(StoreCorrupt, match="none of this store's"):
        conjur.store().material("orders").get(locator, "kid")


def test_a_slot_with_something_else_in_it(conjur: Ground) -> None:
    """Not ours: not used, and written over only when the key of that slot is to be gone."""
    conjur.server.set("rotator/orders/material/slot-01", b"-----BEGIN PRIVATE KEY-----")
    material = conjur.store().material("orders")
    with pytest.raises(StoreCorrupt, match="holds something that is no material"):
        material.get("slot-01", "kid")
    with pytest.raises(StoreCorrupt, match="holds something that is no material"):
        material.put("slot-01", "kid", Secret(b"key"))
    material.destroy("slot-01", "kid")
    kept = conjur.server.versions("rotator/orders/material/slot-01")
    assert not any(b"PRIVATE" in value for value in kept.values())


@pytest.mark.parametrize("name", ["Upper", "a/b", "", "x" * 64, "-a"])
def test_key_sets_that_are_none(conjur: Ground, name: str) -> None:
    """Their name could not be part of a variable's."""
    for wall in (conjur.store().rings, conjur.store().material):
        with pytest.raises(ConfigError, match="cannot hold a key set"):
            wall(name)


BASE: dict[str, Any] = {
    "url": "https://conjur.example.com",
    "account": "a",
    "auth": {"method": "api-key", "login": "host/x", "api_key_file": "/k"},
}


@pytest.mark.parametrize(
    "change",
    [
        {"url": "conjur.example.com"},
        {"url": "https://user:pass@conjur.example.com"},
        {"url": "https://conjur.example.com/?a=b"},
        {"account": ""},
        {"prefix": "/rotator"},
        {"prefix": "a//b"},
        {"slots": 2},
        {"material": "files"},
        {"api_key": "in the configuration"},
        {"auth": {"method": "api-key", "login": "host/x"}},
        {"auth": {"method": "api-key", "login": "x", "api_key_file": "/k", "api_key_env": "K"}},
        {"auth": {"method": "api-key", "login": "x", "api_key": "in the configuration"}},
        {"auth": {"method": "jwt", "service_id": "s"}},
        {"auth": {"method": "ldap", "login": "x", "service_id": "s"}},
        {"auth": {"method": "cert"}},
    ],
    ids=repr,
)
def test_options_that_are_refused(change: dict[str, Any]) -> None:
    """No secret in the text, exactly one source of each, and an address that is one."""
    ConjurSettings.model_validate(BASE)
    with pytest.raises(ValidationError):
        ConjurSettings.model_validate({**BASE, **change})


def test_the_report_of_a_login_that_fails(conjur: Ground) -> None:
    """A finding, with the exit code; the rest cannot be known."""
    (conjur.scratch / "wrong").write_text("wrong", encoding="ascii")
    auth = {
        "method": "api-key",
        "login": "host/rotator",
        "api_key_file": str(conjur.scratch / "wrong"),
    }
    report = conjur.store(auth=auth).inspect([Scope("orders")])
    first = report.findings[0]
    assert (first.level, first.exit_code) == ("fault", 77)
    assert "refused the login" in first.text


def test_what_check_says_of_rings(conjur: Ground) -> None:
    """Not there yet, there, among void versions, and not a ring."""
    store = conjur.store(slots=4)
    scope = Scope("orders", 2)

    def said() -> str:
        return " ".join(one.text for one in store.inspect([scope]).findings)

    assert "no ring yet" in said()
    store.rings("orders").save(b"one", replacing=None)
    assert "the ring is version 1" in said()
    kept = json.loads(conjur.server.versions(RING)[1])
    for number in range(8):
        conjur.server.set(RING, json.dumps({**kept, "nonce": str(number)}).encode())
    assert "8 void ones stand above it" in said()
    conjur.server.forget_everything()
    conjur.server.set(RING, b"by hand")
    assert "none of the versions" in said()


def test_threads_share_one_pool(conjur: Ground) -> None:
    """Saves of many threads through one handle, each after a load of its own."""
    store = conjur.store()
    names = ["orders", SCRATCH]

    def work(number: int) -> bytes:
        store.material(names[number % 2]).put(f"slot-{number // 2 + 1:02}", "kid", Secret(b"key"))
        return b"done"

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(6))) == [b"done"] * 6


def test_a_store_that_nobody_closed_says_nothing(conjur: Ground) -> None:
    """Its connections are closed when it is forgotten; warnings are errors here."""
    store = conjur.store()
    store.rings("orders").load()
    conjur.opened.remove(store)
    del store
    gc.collect()


def test_a_program_ends_in_silence(conjur: Ground) -> None:
    """A store left open at the end of a process prints nothing."""
    options = {
        "url": conjur.server.url,
        "account": "dev",
        "auth": {**conjur.host("rotator")},
    }
    code = (
        "import json, sys\n"
        "from rotator.stores import find_backend\n"
        "backend = find_backend('conjur')\n"
        "store = backend.open(backend.settings()(**json.loads(sys.argv[1])))\n"
        "import structlog\n"
        "structlog.configure(logger_factory=structlog.ReturnLoggerFactory())\n"
        "assert store.rings('orders').load() is None\n"
    )
    ended = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", code, json.dumps(options)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_fork_ends_in_silence(conjur: Ground) -> None:
    """A child that inherits an open store uses its own connections, and leaves the parent's alone."""
    code = (
        "import json, os, sys\n"
        "import structlog\n"
        "structlog.configure(logger_factory=structlog.ReturnLoggerFactory())\n"
        "from rotator.stores import find_backend\n"
        "backend = find_backend('conjur')\n"
        "store = backend.open(backend.settings()(**json.loads(sys.argv[1])))\n"
        "rings = store.rings('orders')\n"
        "assert rings.load() is None\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    assert rings.load() is None\n"
        "    sys.exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert rings.load() is None\n"
    )
    options = {"url": conjur.server.url, "account": "dev", "auth": conjur.host("rotator")}
    ended = subprocess.run(
        [sys.executable, "-P", "-c", code, json.dumps({**options, "attempts": 1})],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_naming_the_backend_loads_no_sdk() -> None:
    """Neither its settings nor its policies need it."""
    code = (
        "import sys\n"
        "from rotator.stores import find_backend\n"
        "backend = find_backend('conjur')\n"
        "settings = backend.settings()(url='https://c.example', account='a', "
        "auth={'method': 'jwt', 'service_id': 's', 'jwt_file': '/t'})\n"
        "from rotator.inspection import Role\n"
        "backend.open(settings).policy(Role.ROTATOR)\n"
        "assert not {'aiohttp', 'conjur_api', 'botocore', 'urllib3'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)


def test_without_the_sdk_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line that installs it."""
    monkeypatch.setitem(sys.modules, "conjur_api", None)
    backend = find_backend("conjur")
    with pytest.raises(BackendMissing, match="not installed") as caught:
        backend.open(backend.settings().model_validate(BASE))
    assert caught.value.hint == "pip install 'jwks-rotator[conjur]'"


def test_roles_have_policies(conjur: Ground) -> None:
    """Without scopes too."""
    for role in Role:
        assert "KEY_SET" in conjur.store().policy(role)
