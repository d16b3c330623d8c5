"""Who may do what: the records, roles, grants and permissions of one Conjur account.

A role has a privilege on a resource when it, or a role that was granted to it, was permitted it or owns the
resource. A resource on which a role has no privilege at all is invisible to it: the server says "not found".
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final

ROLE_KINDS: Final = frozenset({"user", "host", "group", "layer", "policy"})


@dataclass(slots=True)
class Record:
    """One thing that a policy declares.

    Attributes:
        id: in full, `ACCOUNT:KIND:NAME`.
        owner: the role that has every privilege on it.
        policy: the policy that declared it.
    """

    id: str
    owner: str
    policy: str
    annotations: dict[str, str] = field(default_factory=dict)


class Roles:
    """Records and permissions; not locked: the server holds its own lock around every use."""

    def __init__(self, account: str) -> None:
        self.account = account
        self.admin = self.full("user", "admin")
        self.root = self.full("policy", "root")
        self.records: dict[str, Record] = {
            self.admin: Record(self.admin, self.admin, self.root),
            self.root: Record(self.root, self.admin, self.root),
        }
        self.api_keys: dict[str, str] = {self.admin: new_api_key()}
        self._granted: dict[str, set[str]] = {self.admin: {self.root}}  # member -> its roles
        self._permitted: dict[str, set[tuple[str, str]]] = {}  # resource -> (privilege, role)

    def full(self, kind: str, name: str) -> str:
        """Return the full id of a record."""
        return f"{self.account}:{kind}:{name}"

    def role_of(self, login: str) -> str:
        """Return the role that logs in by a name: `host/NAME` or the name of a user."""
        kind, _, name = login.partition("/")
        return self.full("host", name) if kind == "host" and name else self.full("user", login)

    def login_of(self, role: str) -> str:
        """Return the name that a role logs in by."""
        _, kind, name = role.split(":", 2)
        return name if kind == "user" else f"{kind}/{name}"

    def declare(self, record: Record) -> str | None:
        """Add a record, or change the owner and annotations of the present one.

        Returns:
            The API key of a user or host that is new.
        """
        present = self.records.get(record.id)
        if present is not None:
            present.owner = record.owner
            present.annotations |= record.annotations
            return None
        self.records[record.id] = record
        kind = record.id.split(":", 2)[1]
        if kind in ROLE_KINDS:
            self.grant(record.id, record.owner)
        if kind in ("user", "host"):
            self.api_keys[record.id] = new_api_key()
            return self.api_keys[record.id]
        return None

    def delete(self, record: str) -> None:
        """Remove a record and every grant and permission that names it; harmless when it is not there."""
        self.records.pop(record, None)
        self.api_keys.pop(record, None)
        self._granted.pop(record, None)
        self._permitted.pop(record, None)
        for roles in self._granted.values():
            roles.discard(record)
        for pairs in self._permitted.values():
            pairs -= {pair for pair in pairs if pair[1] == record}

    def grant(self, role: str, member: str) -> None:
        """Give a role to a member."""
        self._granted.setdefault(member, set()).add(role)

    def revoke(self, role: str, member: str) -> None:
        """Take a role from a member."""
        self._granted.get(member, set()).discard(role)

    def permit(self, role: str, privilege: str, resource: str) -> None:
        """Permit a role a privilege on a resource."""
        self._permitted.setdefault(resource, set()).add((privilege, role))

    def deny(self, role: str, privilege: str, resource: str) -> None:
        """Take a privilege on a resource from a role."""
        self._permitted.get(resource, set()).discard((privilege, role))

    def all_of(self, role: str) -> set[str]:
        """Return a role and all that were granted to it, directly or not."""
        found: set[str] = set()
        waiting = [role]
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting += self._granted.get(one, ())
        return found

    def may(self, role: str, privilege: str, resource: str) -> bool:
        """Tell whether a role has a privilege on a resource."""
        record = self.records.get(resource)
        if record is None:
            return False
        roles = self.all_of(role)
        return record.owner in roles or any(
            said == privilege and to in roles for said, to in self._permitted.get(resource, ())
        )

    def sees(self, role: str, resource: str) -> bool:
        """Tell whether a role has any privilege on a resource."""
        record = self.records.get(resource)
        if record is None:
            return False
        roles = self.all_of(role)
        return (
            resource in roles
            or record.owner in roles
            or any(to in roles for _, to in self._permitted.get(resource, ()))
        )

    def permissions(self, resource: str) -> list[dict[str, str]]:
        """Return who was permitted what on a resource, as the server shows it."""
        record = self.records[resource]
        return [
            {"privilege": privilege, "role": role, "policy": record.policy}
            for privilege, role in sorted(self._permitted.get(resource, ()))
        ]


def new_api_key() -> str:
    """Return a new API key, of the letters and the length that real ones have."""
    letters = "0123456789abcdefghjkmnpqrstvwxyz"
    return "1" + "".join(secrets.choice(letters) for _ in range(52))
