"""What must hold between key sets: one default, and combined documents that make sense."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from rotator.settings.document import Document
from rotator.settings.faults import Fault, nearest
from rotator.settings.models import Root
from rotator.settings.result import KeySetSettings

WELL_KNOWN = "/.well-known/jwks.json"
_OWN = ("/healthz", "/readyz")
_EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+", re.ASCII)


def check_together(
    root: Root,
    key_sets: Mapping[str, KeySetSettings],
    main: Document,
    faults: list[Fault],
    *,
    known: Collection[str],
) -> None:
    """Add the faults that are nobody's alone.

    Args:
        known: the names of all key sets, those with faults too.
    """
    defaults = [name for name, item in key_sets.items() if item.default]
    for name in defaults[1:]:
        text = f"`{defaults[0]}` is the default already, and {WELL_KNOWN} has room for one; remove one of the two"
        faults.append(main.fault(("key_sets", name, "default"), text))
    _listeners(root, main, faults)
    for path, names in root.combine.items():
        _address(path, root, key_sets, main, faults)
        _members(path, names, key_sets, known=known, main=main, faults=faults)


def _listeners(root: Root, main: Document, faults: list[Fault]) -> None:
    """Two listeners cannot share an address; one that names every address takes the port everywhere."""
    if root.server is None or root.admin is None:
        return
    admin, (host, port) = root.admin.settings(), root.server.listen
    if port and port == admin.port and (host == admin.host or {host, admin.host} & _EVERYWHERE):
        text = f"port {port} is that of `server.listen`; give the admin listener another one"
        faults.append(main.fault(("admin", "listen"), text))


def _address(
    path: str,
    root: Root,
    key_sets: Mapping[str, KeySetSettings],
    main: Document,
    faults: list[Fault],
) -> None:
    at = ("combine", path)
    if not _PATH.fullmatch(path) or "/../" in f"{path}/" or "/./" in f"{path}/":
        faults.append(main.fault(at, "must be a path of the server, such as `/all/jwks.json`"))
    elif owner := _owner(path, key_sets):
        text = f"{path} is already {owner}; one address belongs to one document"
        faults.append(main.fault(at, text))
    if root.server is None:
        text = "is served by the built-in server, and there is no `server`; add one"
        faults.append(main.fault(at, text))


def _members(
    path: str,
    names: list[str],
    key_sets: Mapping[str, KeySetSettings],
    *,
    known: Collection[str],
    main: Document,
    faults: list[Fault],
) -> None:
    def fault(text: str, *position: int) -> None:
        faults.append(main.fault(("combine", path, *position), text))

    if not names:
        fault("combines nothing; name the key sets, or remove it")
    members = []
    for position, name in enumerate(names):
        member = key_sets.get(name)
        if name in names[:position]:
            fault(f"`{name}` is named twice", position)
        elif member is None:
            # One that has faults of its own is not missing.
            if name not in known:
                fault(f"there is no key set `{name}`{nearest(name, known)}", position)
        elif member.policy.kind.symmetric:
            fault(f"`{name}` is an HMAC key set; its keys never reach a JWKS", position)
        else:
            members.append(member)
    _one_kty(members, fault)


def _one_kty(members: list[KeySetSettings], fault: Callable[..., None]) -> None:
    """Refuse key types side by side, unless each of the key sets says that its verifiers can bear it."""
    types = sorted({member.policy.kind.kty for member in members})
    if len(types) > 1 and not all(member.policy.allow_mixed_kty for member in members):
        fault(
            f"mixes key types ({', '.join(types)}), which breaks several libraries; serve them apart, or set `allow_mixed_kty: true` for each of its key sets"
        )


def _owner(path: str, key_sets: Mapping[str, KeySetSettings]) -> str:
    if path in _OWN:
        return "a path of the server itself"
    if path == WELL_KNOWN:
        named = next((name for name, item in key_sets.items() if item.default), None)
        return f"the JWKS of the default key set `{named}`" if named else ""
    name = path.removesuffix("/jwks.json").removeprefix("/")
    return (
        f"the JWKS of the key set `{name}`"
        if path.endswith("/jwks.json") and name in key_sets
        else ""
    )
