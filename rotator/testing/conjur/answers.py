"""What the server says to each request: the routes, and the answers as they were measured on a real one."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from typing import Any

from rotator.testing.conjur.logins import Logins
from rotator.testing.conjur.messages import (
    JSON,
    OCTETS,
    Answer,
    Request,
    not_found,
    read_only,
)
from rotator.testing.conjur.policy import Invalid, Load, Unknown
from rotator.testing.conjur.roles import Roles
from rotator.testing.conjur.variables import Taken, Variables


class Answers:
    """One account: its roles, variables and tokens, and what it answers.

    Args:
        account: its name.
        token_ttl: seconds for which an access token is good.
        variables: where the values are.
        read_only: whether writes are refused, as by a follower.
    """

    def __init__(
        self, account: str, *, token_ttl: float, variables: Variables, read_only: bool = False
    ) -> None:
        self.roles = Roles(account)
        self.variables = variables
        self.read_only = read_only
        self._lock = threading.RLock()
        self.logins = Logins(self.roles, variables, token_ttl=token_ttl, lock=self._lock)
        self._loads = 0

    def answer(self, request: Request) -> Answer:
        """Return what the server says to a request."""
        match [request.method, *request.path]:
            case ["GET" | "HEAD", ""]:
                return Answer(200, b"<title>Conjur Status</title> Version 1.22.3", "text/html")
            case [method, kind, *parts] if kind.startswith("authn"):
                return self.logins.authenticate(method, kind, parts, request)
        login = self.logins.login(request)
        if isinstance(login, Answer):
            return login
        if request.path == ["whoami"]:
            account = self.roles.account
            return Answer.of(200, {"account": account, "username": login, "client_ip": "127.0.0.1"})
        return self._authorized(self.roles.role_of(login), request)

    def _authorized(self, role: str, request: Request) -> Answer:
        match [request.method, *request.path]:
            case ["GET", "secrets"]:
                return self._batch(role, request)
            case ["GET", "secrets", account, "variable", *name]:
                return self._value(role, f"{account}:variable:{'/'.join(name)}", request)
            case ["POST", "secrets", account, "variable", *name]:
                return self._store(role, f"{account}:variable:{'/'.join(name)}", request)
            case ["GET" | "HEAD", "resources", account]:
                return self._list(role, account, request.query)
            case ["GET" | "HEAD", "resources", account, kind, *name]:
                return self._resource(role, f"{account}:{kind}:{'/'.join(name)}", request.query)
            case ["POST" | "PUT" | "PATCH", "policies", account, "policy", *name]:
                return self._load(role, f"{account}:policy:{'/'.join(name)}", request)
        return Answer(404)

    def load_policy(self, text: str, *, branch: str = "root") -> dict[str, str]:
        """Load policy as the administrator, deletions included; return the new API keys by login.

        Raises:
            Invalid, Unknown: see `rotator.testing.conjur.policy`.
        """
        with self._lock:
            load = Load(self.roles, self.roles.full("policy", branch), changing=True)
            load.read(text)
            created = load.apply()
            self._delete(load.deleted)
        return {self.roles.login_of(role): found["api_key"] for role, found in created.items()}

    def _refused(self, role: str, privilege: str, resource: str) -> Answer | None:
        """Return "not found" for what a role cannot see, "forbidden" where it lacks the privilege."""
        with self._lock:
            if not self.roles.sees(role, resource):
                return not_found(resource)
            return None if self.roles.may(role, privilege, resource) else Answer(403)

    def _value(self, role: str, variable: str, request: Request) -> Answer:
        refused = self._refused(role, "execute", variable)
        if refused is not None:
            return refused
        version = request.query.get("version")
        if version is not None and not version.lstrip("-").isdigit():
            return Answer.error(422, "argument_error", "invalid type for parameter 'version'")
        value = self.variables.value(variable, None if version is None else int(version))
        if value is None:
            return not_found(variable)
        mime = self.roles.records[variable].annotations.get("conjur/mime_type", OCTETS)
        return Answer(200, value, mime, {"Content-Disposition": "attachment"})

    def _store(self, role: str, variable: str, request: Request) -> Answer:
        if self.read_only:
            return read_only()
        refused = self._refused(role, "update", variable)
        if refused is not None:
            if refused.status == 404:
                more = {"target": "variable", "details": {"code": "not_found", "target": "id"}}
                return Answer.error(404, "not_found", f"Variable '{variable}' not found", **more)
            return refused
        # Without a type the body is parsed as a form, of which nothing is left here.
        value = request.body if "content-type" in request.headers else b""
        if not value.strip():
            return Answer.error(422, "argument_error", "'value' may not be empty")
        try:
            self.variables.add(variable, value)
        except Taken:
            return Answer(500)
        return Answer(201)

    def _batch(self, role: str, request: Request) -> Answer:
        names = [name for name in request.query.get("variable_ids", "").split(",") if name]
        if not names:
            return Answer.error(422, "argument_error", "variable_ids")
        if len(set(names)) < len(names):
            return Answer(500)
        found = {}
        for name in names:
            with self._lock:
                if name in self.roles.records and not self.roles.may(role, "execute", name):
                    return Answer(403)  # also where it is invisible, as on a real server
            value = self.variables.value(name)
            if name not in self.roles.records or value is None:
                return not_found(name)
            found[name] = value
        if request.headers.get("accept-encoding") == "base64":
            encoded = {name: base64.encodebytes(value).decode() for name, value in found.items()}
            answer = Answer.of(200, encoded)
            return Answer(200, answer.body, JSON, {"Content-Encoding": "base64"})
        try:
            return Answer.of(200, {name: value.decode() for name, value in found.items()})
        except UnicodeDecodeError:
            return Answer.error(
                406, "not_acceptable", "CONJ00074E Issue encoding secret into JSON format"
            )

    def _list(self, role: str, account: str, query: Mapping[str, str]) -> Answer:
        kind, search = query.get("kind"), query.get("search")
        with self._lock:
            found = [
                self._shown(name)
                for name in sorted(self.roles.records)
                if name.startswith(f"{account}:{kind or ''}{':' if kind else ''}")
                and (search is None or search in name)
                and self.roles.sees(role, name)
            ]
        if query.get("count") == "true":
            return Answer.of(200, {"count": len(found)})
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", len(found)))
        return Answer.of(200, found[offset : offset + limit])

    def _resource(self, role: str, name: str, query: Mapping[str, str]) -> Answer:
        if query.get("check") == "true":
            with self._lock:
                asked = query.get("role") or role
                return Answer(
                    204 if self.roles.may(asked, query.get("privilege", ""), name) else 404
                )
        refused = self._refused(role, "read", name)
        if refused is not None:
            return refused
        with self._lock:
            return Answer.of(200, self._shown(name))

    def _shown(self, name: str) -> dict[str, Any]:
        record = self.roles.records[name]
        shown: dict[str, Any] = {
            "created_at": "2026-11-01T00:00:00.000+00:00",
            "id": name,
            "owner": record.owner,
            "policy": record.policy,
            "permissions": self.roles.permissions(name),
            "annotations": [
                {"name": key, "value": value, "policy": record.policy}
                for key, value in record.annotations.items()
            ],
        }
        if name.split(":", 2)[1] == "variable":
            numbers = self.variables.numbers(name)
            shown["secrets"] = [{"version": number, "expires_at": None} for number in numbers]
        return shown

    def _load(self, role: str, branch: str, request: Request) -> Answer:
        if self.read_only:
            return read_only()
        with self._lock:
            privilege = "create" if request.method == "POST" else "update"
            if not self.roles.may(role, privilege, branch):
                return not_found(branch)
            load = Load(self.roles, branch, changing=request.method != "POST")
            try:
                load.read(request.body.decode("utf-8", "replace"))
            except Invalid as error:
                details = {"line": error.line, "column": error.column}
                return Answer.error(422, "policy_invalid", error.message, innererror=details)
            except Unknown as error:
                return not_found(str(error))
            if request.query.get("dryRun") == "true":
                return Answer.of(200, {"status": "Valid YAML"})
            created = load.apply()
            gone = load.deleted
            if request.method == "PUT":
                kept = {record.id for record in load.declared}
                gone = gone | (self._within(branch) - kept)
            self._delete(gone)
            self._loads += 1
            return Answer.of(201, {"created_roles": created, "version": self._loads})

    def _within(self, branch: str) -> set[str]:
        """Return all that a policy and those in it declared."""
        records = self.roles.records.values()
        found = {record.id for record in records if record.policy == branch and record.id != branch}
        found -= {self.roles.admin, self.roles.root}
        for name in [name for name in found if name.split(":", 2)[1] == "policy"]:
            found |= self._within(name)
        return found

    def _delete(self, names: set[str]) -> None:
        """Delete records; with a policy goes all that it declared."""
        policies = [name for name in names if name.split(":", 2)[1] == "policy"]
        for name in names.union(*(self._within(policy) for policy in policies)):
            self.roles.delete(name)
            self.variables.drop(name)
