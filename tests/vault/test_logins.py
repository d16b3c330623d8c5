"""Every way to log in that the built server has, for real."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from rotator.errors import StoreDenied
from tests.servers.proxy import Proxy
from tests.vault.bench import Bench
from tests.vault.roles import approle, revoke, secret_id, works, wrapped, wrapped_secret_id


def test_token_from_a_file(bench: Bench) -> None:
    """It is read again as soon as it is refused, so whoever renews the file is heard."""
    policy = bench.policy(bench.store())
    made = [
        bench.server.do("POST", "auth/token/create", {"policies": [policy]})["auth"]["client_token"]
        for _ in range(2)
    ]
    file = bench.secret("token", made[0])
    store = bench.store(auth={"method": "token", "token_file": str(file)})
    works(store)
    bench.server.do("POST", "auth/token/revoke", {"token": made[0]})
    with pytest.raises(StoreDenied, match="does not accept the token in the file"):
        store.rings("orders").load()
    bench.secret("token", made[1])
    assert store.rings("orders").load() is not None


def test_token_from_the_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is read because it is named; unset, the message says so."""
    monkeypatch.setenv("MY_TOKEN", bench.server.token)
    auth = {"method": "token", "token_env": "MY_TOKEN"}
    works(bench.store(auth=auth))
    monkeypatch.delenv("MY_TOKEN")
    with pytest.raises(StoreDenied, match="the environment variable MY_TOKEN is not set"):
        bench.store(auth=auth).rings("orders").load()


def test_wrapped_token(bench: Bench) -> None:
    """A wrapping token is unwrapped once, and the token in it is ours to end."""
    policy = bench.policy(bench.store())
    with Proxy(bench.server.url) as proxy:
        made = wrapped(bench, "auth/token/create", {"policies": [policy]})
        file = bench.secret("wrapping", made)
        auth = {"method": "token", "token_file": str(file), "wrapped": True}
        works(bench.store(address=proxy.url, auth=auth))
        assert sum(request.path.endswith("unwrap") for request in proxy.seen) == 1
    with pytest.raises(StoreDenied, match="was unwrapped before") as refused:
        bench.store(auth=auth).rings("orders").load()
    assert "somebody else has the secret" in refused.value.hint


def test_approle(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Role-id in the configuration or a file; secret-id in a file or the environment."""
    mount, role_id = approle(bench)
    file = bench.secret("secret-id", secret_id(bench, mount))
    auth = {"method": "approle", "mount": mount, "role_id": role_id, "secret_id_file": str(file)}
    works(bench.store(auth=auth))
    monkeypatch.setenv("MY_SECRET_ID", secret_id(bench, mount))
    auth = {
        "method": "approle",
        "mount": mount,
        "role_id_file": str(bench.secret("role-id", role_id)),
        "secret_id_env": "MY_SECRET_ID",
    }
    assert bench.store(auth=auth).rings("orders").load() is not None


def test_approle_refused(bench: Bench) -> None:
    """The message names the method and its mount, never the secret-id."""
    mount, role_id = approle(bench)
    file = bench.secret("secret-id", "not-the-secret-id")
    auth = {"method": "approle", "mount": mount, "role_id": role_id, "secret_id_file": str(file)}
    with pytest.raises(StoreDenied, match="refuses the login by approle") as refused:
        bench.store(auth=auth).rings("orders").load()
    assert f"auth/{mount}" in refused.value.message
    assert "secret-id expired" in refused.value.hint
    assert "not-the-secret-id" not in str(refused.value)
    with pytest.raises(StoreDenied, match="refuses the login") as refused:
        bench.store(auth=auth | {"mount": "elsewhere"}).rings("orders").load()
    assert "is the method mounted at auth/elsewhere" in refused.value.hint
    with pytest.raises(StoreDenied, match=r"the secret-id cannot be read from .*gone"):
        bench.store(auth=auth | {"secret_id_file": str(bench.home / "gone")}).rings("o").load()


def test_wrapped_secret_id(bench: Bench) -> None:
    """Unwrapped once, and kept for the next login; a new wrapping token in the file is unwrapped too."""
    mount, role_id = approle(bench, token_ttl="1h")
    file = bench.secret("wrapped", wrapped_secret_id(bench, mount))
    auth = {
        "method": "approle",
        "mount": mount,
        "role_id": role_id,
        "secret_id_file": str(file),
        "wrapped": True,
    }
    store = bench.store(auth=auth)
    works(store)
    for replaced in (False, True):
        if replaced:
            bench.secret("wrapped", wrapped_secret_id(bench, mount))
        revoke(bench, store)
        assert store.rings("orders").load() is not None
    assert bench.home.joinpath("wrapped").read_text().startswith("hvs.")


def test_a_wrapping_token_of_another_origin_is_not_unwrapped(bench: Bench) -> None:
    """Who put his own in the place of the real one is found by the path that made it."""
    mount, role_id = approle(bench)
    forged = wrapped(bench, "sys/wrapping/wrap", {"secret_id": "of-the-thief"})
    auth = {
        "method": "approle",
        "mount": mount,
        "role_id": role_id,
        "secret_id_file": str(bench.secret("wrapped", forged)),
        "wrapped": True,
    }
    with pytest.raises(StoreDenied, match="was made at sys/wrapping/wrap") as refused:
        bench.store(auth=auth).rings("orders").load()
    assert "investigate" in refused.value.hint


def jwt_role(bench: Bench) -> tuple[str, Callable[[str], str]]:
    """Mount JWT login with a key of our own; return the mount, and what signs a JWT for an audience."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from joserfc import jwt
    from joserfc.jwk import ECKey

    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    mount = bench.enable("jwt")
    bench.server.do(
        "POST",
        f"auth/{mount}/config",
        {"jwt_validation_pubkeys": public.decode(), "jwt_supported_algs": "ES256"},
    )
    bench.server.do(
        "POST",
        f"auth/{mount}/role/rotator",
        {
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": "vault",
            "token_policies": bench.policy(bench.store()),
        },
    )
    signer = ECKey.import_key(key)

    def sign(audience: str) -> str:
        now = int(time.time())
        claims = {"sub": "ci", "aud": audience, "iat": now, "nbf": now - 60, "exp": now + 600}
        return jwt.encode({"alg": "ES256"}, claims, signer)

    return mount, sign


def test_jwt(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is read anew at each login, for the platform replaces it."""
    mount, sign = jwt_role(bench)
    file = bench.secret("jwt", sign("vault"))
    auth = {"method": "jwt", "mount": mount, "role": "rotator", "jwt_file": str(file)}
    store = bench.store(auth=auth)
    works(store)
    bench.secret("jwt", sign("somebody else"))
    revoke(bench, store)
    with pytest.raises(StoreDenied, match="refuses the login by jwt") as refused:
        store.rings("orders").load()
    assert "audience" in refused.value.hint
    monkeypatch.setenv("CI_JWT", sign("vault"))
    auth = {"method": "jwt", "mount": mount, "role": "rotator", "jwt_env": "CI_JWT"}
    assert bench.store(auth=auth).rings("orders").load() is not None


def test_userpass(bench: Bench) -> None:
    """A user of Vault itself; the mount is named like the method unless said otherwise."""
    mount = bench.enable("userpass")
    policy = bench.policy(bench.store())
    body = {"password": "corréct horse", "token_policies": policy}
    bench.server.do("POST", f"auth/{mount}/users/rota", body)
    file = bench.secret("password", "corréct horse")
    auth = {"method": "userpass", "mount": mount, "username": "rota", "password_file": str(file)}
    works(bench.store(auth=auth))
    bench.secret("password", "wrong")
    with pytest.raises(StoreDenied, match="refuses the login by userpass") as refused:
        bench.store(auth=auth).rings("orders").load()
    assert "locks the user" in refused.value.hint
