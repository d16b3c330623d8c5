"""`rotator` owns the life of JWT signing keys."""

from __future__ import annotations

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """Look the version up only when asked for: reading package metadata costs start-up time."""
    if name == "__version__":
        from importlib.metadata import version

        return version("jwks-rotator")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
