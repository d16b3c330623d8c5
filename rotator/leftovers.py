"""Targets that left the configuration: what may still lie there, what it holds back, how to clean it. Pure.

The ring remembers targets by name alone: each signing target, with the keys that it may hold (DESIGN §3,
rule 2), and each publication that showed a key which is still to be promoted (rule 1).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

from rotator.ring import KeyRing

_NOTHING_THERE: Final = ("probe", "server", "signer")
"""Kinds at whose names nothing of this key set's own lies."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """One target that left the configuration.

    Attributes:
        kids: the keys that its signers may hold and that therefore do not retire; empty for a publication.
        command: what removes what lies there; empty where nothing does.
    """

    name: str
    kids: tuple[str, ...]
    command: str

    @property
    def what(self) -> str:
        """What it means, as a sentence without its end."""
        if not self.kids:
            return f"{self.name} left the configuration"
        return f"{self.name} left the configuration and may hold {', '.join(self.kids)}, which cannot retire"

    def way_out(self, key_set: str) -> str:
        """Return what to do, in the imperative."""
        clean = f"clean it with `{self.command}`" if self.command else ""
        forget = f"`rotator recover {key_set} --forget {shlex.quote(self.name)}`"
        then = f"{clean}, then say {forget}" if clean else f"say {forget}"
        return f"once no signer reads it, {then}" if self.kids else then

    def words(self, key_set: str) -> str:
        """Return what it means and what to do, as a sentence without its end."""
        return f"{self.what}; {self.way_out(key_set)}"


def left_behind(
    ring: KeyRing, configured: Collection[str], cleaning: Callable[[str], str]
) -> Iterator[Leftover]:
    """Yield every target that the ring remembers and the configuration does not name.

    Args:
        configured: the names of all targets and signer checks of this process.
        cleaning: returns the command that cleans a target.
    """
    announced = {name for key in ring.keys for name in key.announced}
    for name in sorted({*ring.holders, *announced} - set(configured)):
        bare = name.partition(":")[0] in _NOTHING_THERE
        if name in ring.holders or not bare:
            yield Leftover(name, ring.holders.get(name, ()), "" if bare else cleaning(name))


def cleaning_command(target: str) -> str:
    """Return the command that removes what lies at a target, by its stable name."""
    kind, _, address = target.partition(":")
    if kind == "files":
        return f"rm -r -- {shlex.quote(address)}"
    if kind == "file":
        return f"rm -- {shlex.quote(address)} {shlex.quote(address + '.meta.json')}"
    if kind == "s3":
        return _object_removal(address)
    if kind in ("secret", "configmap"):
        return _cluster_removal(kind, address)
    if kind == "store":
        store, _, name = address.partition("/")
        return f"# delete the document {name} where the store {store} kept it"
    return f"# delete {target}"


def _object_removal(address: str) -> str:
    """Return the command for an object, whose address begins with a server where that is not AWS."""
    found = re.fullmatch(r"(https?://[^/]+)/(.+)", address)
    if found is None:
        return f"aws s3 rm {shlex.quote(f's3://{address}')}"
    return f"aws --endpoint-url {shlex.quote(found[1])} s3 rm {shlex.quote(f's3://{found[2]}')}"


def _cluster_removal(kind: str, address: str) -> str:
    """Return the command for `NAME`, `NAMESPACE/NAME` or `CONTEXT/NAMESPACE/NAME`; a context may have slashes."""
    *where, name = address.split("/")
    options = f"--context {shlex.quote('/'.join(where[:-1]))} " if where[:-1] else ""
    options += f"--namespace {shlex.quote(where[-1])} " if where else ""
    return f"kubectl {options}delete {kind} {shlex.quote(name)}"
