"""Loading policy: the statements that records, grants and permissions are made of.

Known are `!policy !user !host !group !layer !variable !webservice !permit !deny !grant !revoke !delete`. A load is
checked as a whole before anything of it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from rotator.testing.conjur.roles import ROLE_KINDS, Record, Roles

_KINDS: Final = frozenset({*ROLE_KINDS, "variable", "webservice"})
_RECORD_KEYS: Final = frozenset({"id", "owner", "annotations", "body", "restricted_to"})


class Invalid(Exception):
    """The text is no policy; `line` and `column` begin with 1."""

    def __init__(self, message: str, mark: Any) -> None:
        super().__init__(message)
        self.message = message
        self.line = mark.line + 1 if mark is not None else 0
        self.column = mark.column + 1 if mark is not None else 0


class Unknown(Exception):
    """A statement names a record that neither exists nor is declared; the argument is its full id."""


@dataclass(slots=True)
class Load:
    """One policy on its way in: what it declares, what it refers to, what there is to do."""

    roles: Roles
    branch: str
    changing: bool
    declared: list[Record] = field(default_factory=list)
    referred: set[str] = field(default_factory=set)
    later: list[Callable[[], None]] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)

    def read(self, text: str) -> None:
        """Read the statements; changes nothing yet.

        Raises:
            Invalid: the text is no policy.
            Unknown: it refers to what is not there.
        """
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        try:
            node = YAML(typ="safe", pure=True).compose(text)
        except MarkedYAMLError as error:
            raise Invalid(error.problem or "not YAML", error.problem_mark) from error
        except YAMLError as error:
            raise Invalid(str(error), None) from error
        if node is None:
            return
        if not _is_list(node):
            raise Invalid("a policy is a list of statements", node.start_mark)
        self._statements(node, self.branch, self.branch)
        known = {record.id for record in self.declared}
        for name in self.referred:
            if name not in known and name not in self.roles.records:
                raise Unknown(name)

    def apply(self) -> dict[str, dict[str, str]]:
        """Do all that was read; return the roles that are new, with their API keys."""
        created = {}
        for record in self.declared:
            api_key = self.roles.declare(record)
            if api_key is not None:
                created[record.id] = {"id": record.id, "api_key": api_key}
        for step in self.later:
            step()
        return created

    def _statements(self, node: Any, policy: str, owner: str) -> None:
        for item in node.value:
            if _is_list(item):  # the list behind an anchor
                self._statements(item, policy, owner)
                continue
            kind = item.tag.removeprefix("!")
            if kind in _KINDS:
                self._declare(item, kind, policy, owner)
            elif kind in ("permit", "deny"):
                self._permission(item, kind, policy)
            elif kind in ("grant", "revoke"):
                self._membership(item, kind, policy)
            elif kind == "delete":
                self._delete(item, policy)
            else:
                raise Invalid(f"unrecognized data type '{item.tag}'", item.start_mark)

    def _declare(self, item: Any, kind: str, policy: str, owner: str) -> None:
        members = _members(item)
        unknown = members.keys() - _RECORD_KEYS
        if unknown:
            raise Invalid(f"no such attribute '{min(unknown)}' on type {kind}", item.start_mark)
        record = Record(self._id(item, kind, policy, new=True), owner, policy)
        if "owner" in members:
            record.owner = self._reference(members["owner"], policy)
        if "annotations" in members:
            record.annotations = {
                key: value.value for key, value in _members(members["annotations"]).items()
            }
        self.declared.append(record)
        if kind == "policy" and "body" in members:
            self._statements(members["body"], record.id, record.id)

    def _permission(self, item: Any, kind: str, policy: str) -> None:
        members = _members(item)
        act = self.roles.permit if kind == "permit" else self.roles.deny
        for role in self._each(item, members, "role", policy):
            for node in _one_or_many(_required(item, members, "privilege")):
                for resource in self._each(item, members, "resource", policy):
                    self.later.append(_bound(act, role, node.value, resource))

    def _membership(self, item: Any, kind: str, policy: str) -> None:
        members = _members(item)
        act = self.roles.grant if kind == "grant" else self.roles.revoke
        for role in self._each(item, members, "role", policy):
            for member in self._each(item, members, "member", policy):
                self.later.append(_bound(act, role, member))

    def _delete(self, item: Any, policy: str) -> None:
        if not self.changing:
            raise Invalid("!delete needs PATCH or PUT", item.start_mark)
        record = _required(item, _members(item), "record")
        for node in _one_or_many(record):
            self.deleted.add(self._id(node, node.tag.removeprefix("!"), policy))

    def _each(self, item: Any, members: dict[str, Any], name: str, policy: str) -> Iterator[str]:
        for node in _one_or_many(_required(item, members, name)):
            yield self._reference(node, policy)

    def _reference(self, node: Any, policy: str) -> str:
        name = self._id(node, node.tag.removeprefix("!"), policy)
        self.referred.add(name)
        return name

    def _id(self, node: Any, kind: str, policy: str, *, new: bool = False) -> str:
        """Return the full id of a record; names are relative to the policy that they stand in."""
        if kind not in _KINDS:
            raise Invalid(f"expecting a record, got '{node.tag}'", node.start_mark)
        named = _members(node).get("id") if isinstance(node.value, list) else node
        name = "" if named is None else str(named.value)
        branch = policy.split(":", 2)[2]
        if name.startswith("/") and not new:
            return self.roles.full(kind, name[1:])
        if not name and kind != "policy" and branch != "root":
            return self.roles.full(kind, branch)  # a record of the name of its policy
        if not name:
            raise Invalid(f"a {kind} needs an id", node.start_mark)
        if branch == "root":
            return self.roles.full(kind, name)
        if kind == "user":
            return self.roles.full(kind, f"{name}@{branch.replace('/', '-')}")
        return self.roles.full(kind, f"{branch}/{name}")


def _bound(act: Callable[..., None], *arguments: str) -> Callable[[], None]:
    return lambda: act(*arguments)


def _is_list(node: Any) -> bool:
    return str(node.tag) == "tag:yaml.org,2002:seq"


def _members(node: Any) -> dict[str, Any]:
    """Return the members of a mapping; none for a scalar."""
    if not isinstance(node.value, list):
        return {}
    if node.value and not isinstance(node.value[0], tuple):
        raise Invalid("expecting a mapping", node.start_mark)
    return {str(key.value): value for key, value in node.value}


def _required(item: Any, members: dict[str, Any], name: str) -> Any:
    found = members.get(name) or members.get(f"{name}s")
    if found is None:
        raise Invalid(f"{item.tag} needs '{name}'", item.start_mark)
    return found


def _one_or_many(node: Any) -> list[Any]:
    return list(node.value) if _is_list(node) else [node]
