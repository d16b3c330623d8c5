"""The server that a configuration asks for, and what it serves."""

from __future__ import annotations

from rotator.profiles import wants_plain_json
from rotator.server.process import Options, ServerProcess
from rotator.server.site import Site
from rotator.server.tls import Tls
from rotator.settings.result import ServerSettings, Settings


def configured_server(settings: ServerSettings, site: Site) -> ServerProcess:
    """Return the server of a configuration, not started yet."""
    tls = None
    if settings.cert_file is not None and settings.key_file is not None:
        tls = Tls(settings.cert_file, settings.key_file)
    options = Options(tls=tls, connections=settings.connections)
    return ServerProcess(settings.host, settings.port, site, options)


def configured_site(settings: Settings) -> Site:
    """Return what is served: every key set that has a JWKS, which HMAC has not."""
    asymmetric = {
        n: item for n, item in settings.key_sets.items() if not item.policy.kind.symmetric
    }
    return Site(
        settings.public_dir,
        tuple(asymmetric),
        next((name for name, item in asymmetric.items() if item.default), None),
        dict(settings.combine),
        issuers={n: item.issuer for n, item in asymmetric.items() if item.issuer is not None},
        json=tuple(n for n, item in asymmetric.items() if wants_plain_json(item.verifiers)),
    )
