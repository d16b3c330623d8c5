"""What only one server knows, or only TLS: done to it by its own API, for real, while a rotation is due.

As in `tests.servers_e2e.test_faults`: refused with class, exit code and words; documents as they were; and
when it is mended, the next run finishes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import running
from tests.servers.misdeeds import telling
from tests.servers.proxy import Proxy
from tests.servers_e2e.certificates import authority
from tests.servers_e2e.ground import DUE, IMPATIENT, REMOTE, Ground
from tests.servers_e2e.leftovers import Administrator, aws_client
from tests.servers_e2e.warm import Ran, Refusal, Warm


@pytest.fixture
def ready(tmp_path: Path, warm: Warm) -> Iterator[Any]:
    """Return what makes a key set on a server, a rotation of which is due."""
    with contextlib.ExitStack() as stack:

        def make(backend: str, **options: Any) -> Ground:
            proxy = stack.enter_context(Proxy(running(backend).url))
            ground = Ground(backend, tmp_path / backend, proxy, IMPATIENT | options)
            stack.callback(ground.close)
            assert warm.run(ground.config, "rotate").code == 0
            ground.shift = DUE
            return ground

        yield make


def refused(ground: Ground, warm: Warm, kind: str, code: int, *words: str) -> Refusal:
    """Run `rotate`, which must refuse so, and change nothing that anybody reads."""
    before = ground.documents()
    ran: Ran = warm.run(ground.config, "rotate", shift=ground.shift)
    assert [(item.kind, item.code) for item in ran.refusals] == [(kind, code)], ran.err
    assert ran.code == code
    (refusal,) = ran.refusals
    assert refusal.hint
    for word in words:
        assert word in f"{refusal.message} {refusal.hint}", refusal
    assert ground.documents() == before
    ground.signs_and_verifies()
    return refusal


def finished(ground: Ground, warm: Warm) -> None:
    """The next run does what was due."""
    before = ground.signs_and_verifies()
    ran = warm.run(ground.config, "rotate", shift=ground.shift)
    assert ran.code == 0, ran.err
    ground.assert_sound()
    assert ground.signs_and_verifies() != before


@pytest.mark.parametrize("backend", REMOTE)
def test_tls(backend: str, tmp_path: Path, warm: Warm) -> None:
    """A wrong authority, no TLS at all where it was expected, and the right one."""
    ours, other = authority(tmp_path, "ours"), authority(tmp_path, "other")
    with Proxy(running(backend).url, tls=ours.context) as proxy:
        ground = Ground(backend, tmp_path / backend, proxy, IMPATIENT)
        ground.configure(ca_file=str(ours.ca_file))
        assert warm.run(ground.config, "rotate").code == 0
        ground.shift = DUE
        with proxy.greeting(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"):
            refused(ground, warm, "StoreUnavailable", 69, "TLS")
        ground.configure(ca_file=str(other.ca_file))
        connections = proxy.connections
        refused(ground, warm, "StoreUnavailable", 69, "certificate", "ca_file")
        assert proxy.connections == connections + 1, "tried again, which is no use"
        ground.configure(ca_file=str(ours.ca_file))
        finished(ground, warm)
        ground.close()


def test_aws_a_ring_scheduled_for_deletion(ready: Any, warm: Warm) -> None:
    """It is there and not to be read: no first run, and the hint is the command that restores it."""
    ground = ready("aws")
    client = aws_client(ground.server.url, ground.settings["region"])
    ring = f"{ground.settings['prefix']}/{ground.name}/ring"
    client.delete_secret(SecretId=ring, RecoveryWindowInDays=7)
    refused(ground, warm, "StoreUnavailable", 69, "scheduled for deletion", "restore-secret", ring)
    client.restore_secret(SecretId=ring)
    finished(ground, warm)


def test_aws_a_ring_that_was_deleted(ready: Any, warm: Warm) -> None:
    """For good: a ring that vanished is not a first run."""
    ground = ready("aws")
    client = aws_client(ground.server.url, ground.settings["region"])
    ring = f"{ground.settings['prefix']}/{ground.name}/ring"
    client.delete_secret(SecretId=ring, ForceDeleteWithoutRecovery=True)
    refused(ground, warm, "StoreCorrupt", 65, "recover", "nothing was changed")


def test_aws_every_version_that_it_keeps(ready: Any, warm: Warm) -> None:
    """A hundred versions in a day are all that AWS takes: said so, and the keys go on."""
    ground = ready("aws")
    client = aws_client(ground.server.url, ground.settings["region"])
    ring = f"{ground.settings['prefix']}/{ground.name}/ring"
    with contextlib.suppress(client.exceptions.LimitExceededException):
        for number in range(120):
            client.put_secret_value(
                SecretId=ring, SecretString=f"{number}", VersionStages=["somebody-else"]
            )
    refused(ground, warm, "StoreUnavailable", 69, "quota", "24 hours")


def test_vault_a_ring_soft_deleted(ready: Any, warm: Warm) -> None:
    """`vault kv delete` on the ring: the hint is the command that brings it back."""
    ground = ready("vault")
    server: Any = ground.server
    ring = f"{ground.settings['prefix']}/{ground.name}/ring"
    server.do("DELETE", f"secret/data/{ring}")
    refusal = refused(ground, warm, "StoreCorrupt", 65, "deleted", "undelete", ring)
    latest = server.do("GET", f"secret/metadata/{ring}")["data"]["current_version"]
    assert f"-versions={latest}" in refusal.hint
    server.do("POST", f"secret/undelete/{ring}", {"versions": [latest]})
    finished(ground, warm)


def test_vault_a_ring_destroyed(ready: Any, warm: Warm) -> None:
    """The latest version is gone for good; what is before it is not taken for the truth."""
    ground = ready("vault")
    server: Any = ground.server
    ring = f"{ground.settings['prefix']}/{ground.name}/ring"
    latest = server.do("GET", f"secret/metadata/{ring}")["data"]["current_version"]
    server.do("POST", f"secret/destroy/{ring}", {"versions": [latest]})
    refused(ground, warm, "StoreCorrupt", 65, "destroyed")


def test_vault_one_version_kept(ready: Any, warm: Warm) -> None:
    """A history of one is enough for us: compare-and-set counts on."""
    ground = ready("vault")
    server: Any = ground.server
    ring = f"{ground.settings['prefix']}/{ground.name}/ring"
    server.do("POST", f"secret/metadata/{ring}", {"max_versions": 1, "cas_required": True})
    finished(ground, warm)


def test_vault_a_quota(ready: Any, warm: Warm) -> None:
    """A real rate limit, with its Retry-After of an hour: not waited for."""
    ground = ready("vault")
    server: Any = ground.server
    limit = {"path": "secret/", "rate": 1, "interval": "1h"}
    server.do("POST", "sys/quotas/rate-limit/e2e", limit)
    try:
        server.do("GET", f"secret/data/{ground.settings['prefix']}/{ground.name}/ring")  # the one
        refused(ground, warm, "StoreUnavailable", 69, "429")
    finally:
        server.do("DELETE", "sys/quotas/rate-limit/e2e")
    finished(ground, warm)


def test_vault_credentials_revoked(ready: Any, warm: Warm, tmp_path: Path) -> None:
    """A token that is revoked; a new one in its file is taken up by the next run."""
    ground = ready("vault")
    server: Any = ground.server
    token_file = tmp_path / "token"
    login = {"auth": {"method": "token", "token_file": str(token_file)}}
    for mended in (False, True):
        token = server.do("POST", "auth/token/create", {"policies": ["root"]})["auth"]
        token_file.write_text(token["client_token"])
        token_file.chmod(0o600)
        if mended:
            finished(ground, warm)
            return
        ground.configure(**login)
        server.do("POST", "auth/token/revoke-accessor", {"accessor": token["accessor"]})
        refused(ground, warm, "StoreDenied", 77, "token")


def test_vault_a_token_that_ends_in_mid_run(ready: Any, warm: Warm, tmp_path: Path) -> None:
    """AppRole with tokens of five uses each: logged in again, as often as it takes."""
    ground = ready("vault")
    server: Any = ground.server
    server.request("POST", "sys/auth/approle", {"type": "approle"})
    policy = 'path "secret/*" { capabilities = ["create", "read", "update", "delete", "list"] }'
    server.do("POST", "sys/policies/acl/e2e", {"policy": policy})
    role = {"token_policies": "e2e", "token_num_uses": 5}
    server.do("POST", "auth/approle/role/e2e", role)
    secret_id = tmp_path / "secret-id"
    made = server.do("POST", "auth/approle/role/e2e/secret-id")
    secret_id.write_text(made["data"]["secret_id"])
    secret_id.chmod(0o600)
    role_id = server.do("GET", "auth/approle/role/e2e/role-id")["data"]["role_id"]
    ground.configure(
        auth={"method": "approle", "role_id": role_id, "secret_id_file": str(secret_id)}
    )
    seen = len(ground.between.seen)
    finished(ground, warm)
    logins = [one for one in ground.between.seen[seen:] if one.path.endswith("approle/login")]
    assert len(logins) > 1


def test_conjur_a_token_that_ends_in_mid_run(ready: Any, warm: Warm) -> None:
    """Every token becomes worthless after the third answer: logged in again, once."""
    ground = ready("conjur")
    server: Any = ground.server
    ended = telling(lambda _: server.expire_tokens())
    seen = len(ground.between.seen)
    with ground.between.misbehaving(ended, skip=3, times=1):
        finished(ground, warm)
    logins = [one for one in ground.between.seen[seen:] if one.path.endswith("/authenticate")]
    assert len(logins) == 2


def test_conjur_credentials_revoked(ready: Any, warm: Warm, tmp_path: Path) -> None:
    """An API key that was rotated; the new one in its file is taken up by the next run."""
    ground = ready("conjur")
    server: Any = ground.server
    old = tmp_path / "api-key"
    old.write_bytes(server.api_key_file.read_bytes())
    login = ground.settings["auth"] | {"api_key_file": str(old)}
    ground.configure(auth=login)
    with contextlib.closing(Administrator(server)) as administrator:
        new = administrator.rotate_api_key("host:rotator")
    server.api_key_file.write_bytes(new)
    refused(ground, warm, "StoreDenied", 77, "API key", "host/rotator")
    old.write_bytes(new)
    finished(ground, warm)


def test_conjur_a_history_full_of_what_is_not_ours(ready: Any, warm: Warm) -> None:
    """Void versions up to the guard: refused before the window of twenty loses the ring, and mended by hand."""
    ground = ready("conjur")
    ring = f"{ground.settings['prefix']}/{ground.name}/ring"
    with contextlib.closing(Administrator(ground.server)) as administrator:
        for number in range(9):
            administrator.write(ring, f"somebody's {number}".encode())
    finished(ground, warm)
    with contextlib.closing(Administrator(ground.server)) as administrator:
        for number in range(25):
            administrator.write(ring, f"somebody's {number}".encode())
    ground.shift += DUE
    refused(ground, warm, "StoreCorrupt", 65, "orders")
