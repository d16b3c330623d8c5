"""Publications: one small module per way of making a JWKS readable."""

from rotator.publication.combined import Combined, Published, combine
from rotator.publication.file import FilePublication
from rotator.publication.server import ServerPublication
from rotator.publication.whitelist import Refused, checked_jwks

__all__ = [
    "Combined",
    "FilePublication",
    "Published",
    "Refused",
    "ServerPublication",
    "checked_jwks",
    "combine",
]
