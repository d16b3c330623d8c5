"""The built-in HTTP server: a child process without key material, and the parent's hand on it."""

from rotator.server.process import ServerProcess
from rotator.server.serve import serve
from rotator.server.site import Site

__all__ = ["ServerProcess", "Site", "serve"]
