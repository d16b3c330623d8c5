"""The Conjur store: rings, material and documents as variables of CyberArk Conjur.

Importing this package costs nothing but `rotator.plugin`; pydantic is loaded by `backend.settings()`, the
store and its SDK by `backend.open()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotator.plugin import Backend, BackendMissing, Store

if TYPE_CHECKING:
    from rotator_conjur.settings import ConjurSettings

__all__ = ["backend"]


def _settings() -> type[ConjurSettings]:
    from rotator_conjur.settings import ConjurSettings

    return ConjurSettings


def _open(settings: ConjurSettings) -> Store:
    from importlib.util import find_spec

    if find_spec("conjur_api") is None or find_spec("aiohttp") is None:
        raise BackendMissing(
            "the Conjur store needs the package conjur-api, which is not installed",
            hint="pip install 'jwks-rotator[conjur]'",
        )
    from rotator_conjur.store import ConjurStore

    return ConjurStore(settings)


def _removal(settings: ConjurSettings, name: str) -> str:
    # A value cannot be deleted, only its variable can: by policy.
    gone = f"- !delete {{record: !variable {name}}}"
    return f"echo '{gone}' | conjur policy update -b {settings.prefix} -f /dev/stdin"


backend = Backend(
    name="conjur",
    settings=_settings,
    open=_open,
    removal=_removal,
    example="""\
# The Leader; followers refuse writes.
url: https://conjur.example.com
account: example
# ca_file: /etc/rotator/conjur-ca.pem
# How to log in. Secrets are in files or in the environment, never here.
auth: {method: api-key, login: host/rotator, api_key_env: CONJUR_AUTHN_API_KEY}
# auth: {method: jwt, service_id: kubernetes, jwt_file: /var/run/secrets/tokens/conjur}
""",
)
