"""The calls that a store makes of Conjur, and what each answer means."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rotator.plugin import (
    ServerTime,
    StoreDenied,
    StoreError,
    StoreUnavailable,
    still_time,
)
from rotator_conjur.logins import Login
from rotator_conjur.wire import Answer, Wire

if TYPE_CHECKING:
    from rotator_conjur.settings import ConjurSettings

_OCTETS: Final = {"Content-Type": "application/octet-stream"}  # without one the body is lost
_PAGE: Final = 1000
_POLICY_HINT: Final = "load what `rotator policy` prints for its role, and grant its group to {}"


class Conjur:
    """One server, one login, one pool of connections; every method may be called by any thread."""

    def __init__(self, settings: ConjurSettings) -> None:
        self.url = settings.url
        self._account = settings.account
        self._wire = Wire(
            settings.url,
            ca_file=settings.ca_file,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
        )
        self._login = Login(self._wire, settings)

    def close(self) -> None:
        """Close every connection."""
        self._wire.close()

    def versions(self, variable: str) -> tuple[list[int], ServerTime | None]:
        """Return the numbers of the versions that are kept, ascending; none where it was never set.

        Raises:
            StoreDenied: it is not declared, or this identity may not read it: the server does not tell which.
            StoreUnavailable: no answer.
        """
        answer = self._call("GET", "resources", self._account, "variable", variable)
        if answer.status == 403:
            raise self._lacks("read", variable)
        if answer.status == 404:
            raise self.invisible(variable)
        found = self._json(answer)
        try:
            numbers = sorted(int(one["version"]) for one in found.get("secrets", ()))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise self._garbage() from None
        return numbers, self._wire.witness(answer)

    def value(self, variable: str, version: int | None = None) -> bytes | None:
        """Return one version of a variable, or the latest; None when it is "empty or not found".

        Raises:
            StoreDenied, StoreUnavailable: no answer.
        """
        query = None if version is None else {"version": str(version)}
        path = ("secrets", self._account, "variable", variable)
        answer = self._call("GET", *path, query=query)
        if answer.status == 404:
            return None
        if answer.status == 403:
            raise self._lacks("execute", variable)
        self._expect(answer, 200, f"read {variable}")
        return answer.body

    def put(self, variable: str, value: bytes) -> None:
        """Write a variable. Whether it was written is for whoever reads it again to say.

        Raises:
            StoreDenied: it may not be written, or not like this; nothing was written.
            StoreUnavailable: perhaps it was written, perhaps not. Also when the write window of this tick
                has passed: nothing was sent.
        """
        still_time()
        path = ("secrets", self._account, "variable", variable)
        answer = self._call("POST", *path, body=value, headers=_OCTETS)
        if answer.status == 500:  # a write of somebody else took the number of the version
            return
        if answer.status == 403:
            raise self._lacks("update", variable)
        if answer.status == 404:
            raise self.invisible(variable)
        self._expect(answer, 201, f"write {variable}")

    def declared(self, kind: str, name: str) -> bool:
        """Tell whether this identity sees a record; one that it does not see may exist all the same."""
        answer = self._call("HEAD", "resources", self._account, kind, name)
        if answer.status in (200, 403, 404):
            return answer.status != 404
        self._expect(answer, 200, f"look at {name}")
        return False

    def may(self, checks: Sequence[tuple[str, str, str]]) -> list[bool]:
        """Tell for each kind, name and privilege whether this identity has it; asked at once."""

        async def all_at_once() -> list[Answer]:
            return await asyncio.gather(
                *(
                    self._authorized(
                        "GET",
                        "resources",
                        self._account,
                        kind,
                        name,
                        query={"check": "true", "privilege": privilege},
                    )
                    for kind, name, privilege in checks
                )
            )

        answers = self._wire.run(all_at_once)
        for answer in answers:
            if answer.status not in (200, 204, 403, 404):
                self._expect(answer, 204, "look at privileges")
        return [answer.status in (200, 204) for answer in answers]

    def whoami(self) -> tuple[str, ServerTime | None]:
        """Return the login of this identity, and the server's time."""
        answer = self._call("GET", "whoami")
        found = self._json(answer)
        return str(found.get("username", "")), self._wire.witness(answer)

    def variables(self, prefix: str) -> list[str]:
        """Return the names of the variables that this identity sees below a prefix, sorted."""
        head = f"{self._account}:variable:"
        names: list[str] = []
        offset = 0
        while True:
            query = {"kind": "variable", "limit": str(_PAGE), "offset": str(offset)}
            answer = self._call("GET", "resources", self._account, query=query)
            self._expect(answer, 200, "list variables")
            page = self._parsed(answer)
            if not isinstance(page, list):
                raise self._garbage()
            names += [str(one.get("id", "")) for one in page if isinstance(one, dict)]
            if len(page) < _PAGE:
                break
            offset += _PAGE
        whole = f"{head}{prefix}"
        return sorted({name.removeprefix(head) for name in names if name.startswith(whole)})

    def load_policy(self, branch: str, text: str, *, deleting: bool = False) -> None:
        """Load policy into a branch.

        Raises:
            StoreDenied: this identity may not, or the server refuses the text.
        """
        method = "PATCH" if deleting else "POST"
        path = ("policies", self._account, "policy", branch)
        headers = {"Content-Type": "application/x-yaml"}
        answer = self._call(method, *path, body=text.encode(), headers=headers)
        if answer.status in (403, 404):
            privilege = "update" if deleting else "create"
            raise StoreDenied(
                f"{self._login.name} may not load policy into {branch!r} of Conjur at {self.url}",
                hint=f"it takes `{privilege}` on the policy {branch!r}: {_POLICY_HINT.format('it')}",
            )
        self._expect(answer, 201, f"load policy into {branch}")

    def invisible(self, variable: str) -> StoreDenied:
        """Return the refusal to take "not found" for an answer about a variable."""
        return StoreDenied(
            f"the variable {variable!r} is not declared in Conjur at {self.url}, "
            f"or {self._login.name} has no privilege on it",
            hint=_POLICY_HINT.format(self._login.name),
        )

    def _lacks(self, privilege: str, variable: str) -> StoreDenied:
        return StoreDenied(
            f"{self._login.name} lacks the privilege `{privilege}` on the variable {variable!r} "
            f"of Conjur at {self.url}",
            hint=_POLICY_HINT.format(self._login.name),
        )

    def _call(
        self,
        method: str,
        *path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        return self._wire.run(
            lambda: self._authorized(method, *path, query=query, body=body, headers=headers)
        )

    async def _authorized(
        self,
        method: str,
        *path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make a call as this identity, a second time with a new token where the first is refused."""
        token = await self._login.header()
        for last in (False, True):
            answer = await self._wire.send(
                method,
                *path,
                query=query,
                body=body,
                headers={**(headers or {}), "Authorization": token},
            )
            if answer.status != 401:
                return answer
            if not last:
                token = await self._login.header(refused=token)
        raise StoreDenied(
            f"Conjur at {self.url} refuses the token that it has just given {self._login.name}",
            hint="is there a proxy before it that removes the Authorization header?",
        )

    def _expect(self, answer: Answer, status: int, doing: str) -> None:
        if answer.status != status:
            raise self._unexpected(answer, doing)

    def _unexpected(self, answer: Answer, doing: str) -> StoreError:
        status = answer.status
        what = f"Conjur at {self.url} answered HTTP {status} to: {doing}"
        if status == 405:
            return StoreDenied(
                f"{what}; it is a follower, which takes no writes",
                hint="set `url` to the Leader's address",
            )
        if status == 413:
            return StoreDenied(
                f"{what}; a proxy before it takes no body of this size",
                hint="raise its limit (nginx: client_max_body_size) to 128 KiB",
            )
        if status in (403, 404, 406, 422):
            return StoreDenied(what, hint=f"see the server's log; {_POLICY_HINT.format('it')}")
        return StoreUnavailable(
            what,
            hint="it is tried again" if status >= 500 or status == 429 else "is `url` right?",
            retry_after=answer.retry_after,
            lasting=status < 500 and status != 429,
        )

    def _json(self, answer: Answer) -> dict[str, Any]:
        self._expect(answer, 200, "look at a resource")
        found = self._parsed(answer)
        if not isinstance(found, dict):
            raise self._garbage()
        return found

    def _parsed(self, answer: Answer) -> Any:
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError):
            raise self._garbage() from None

    def _garbage(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self.url} answered something that no Conjur says",
            hint="is `url` that of the server?",
        )
