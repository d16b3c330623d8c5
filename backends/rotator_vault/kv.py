"""The KV secrets engine, version 2: what its answers mean, and nothing about keys.

Facts that the code stands on, each held by a test against a real server: a path that never was is a 404 with an
empty list of errors, and so is any path of a version 1 engine; a deleted or destroyed latest version is a 404
with metadata; a missing engine is a 404 with a text; a missing capability is a 403; a `cas` that does not fit is a
400 with a text, or a 403 where the identity may create and not update.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rotator.plugin import ConfigError, ServerTime, StoreDenied, StoreUnavailable, still_time
from rotator_vault.connection import Answer
from rotator_vault.identity import Identity
from rotator_vault.meaning import denied, quoted

_MISFIT: Final = "check-and-set parameter did not match"
_NO_ENGINE: Final = ("no handler for route", "route entry not found")


@dataclass(frozen=True, slots=True)
class Found:
    """The latest version of a path; `data` may hold key material."""

    data: Mapping[str, Any] = field(repr=False)
    version: int
    expires: str = ""
    server_time: ServerTime | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """A path whose latest version was deleted (it can be undeleted) or destroyed (it cannot)."""

    version: int
    destroyed: bool


class Engine:
    """One KV engine, as one identity sees it.

    Args:
        identity: who calls.
        address: of Vault, for messages.
        mount: where the engine is mounted.
        namespace: where it is, for messages.
    """

    def __init__(self, identity: Identity, address: str, mount: str, namespace: str | None) -> None:
        self.identity = identity
        self.address = address
        self.mount = mount
        self.namespace = namespace
        self._where = f"{address}, namespace {namespace}" if namespace else address
        self._is_looked_at = False

    def read(
        self, path: str, *, version: int | None = None, whole: str = ""
    ) -> Found | Gone | None:
        """Return the latest version of a path, or a given one; None when it never was.

        Args:
            whole: the capabilities that rotating needs there, for the hint of a refusal.

        Raises:
            StoreDenied: not allowed, or the login is refused.
            StoreUnavailable: no answer, or no engine there.
            ConfigError: the engine is of version 1, or mounted elsewhere.
        """
        query = None if version is None else {"version": str(version)}
        answer = self.identity.send("GET", f"{self.mount}/data/{path}", query=query)
        metadata = answer.data.get("metadata")
        number = metadata.get("version") if isinstance(metadata, dict) else None
        if answer.status == 200:
            return self._found(path, answer, metadata, number)
        if answer.status == 404 and isinstance(metadata, dict) and isinstance(number, int):
            return Gone(number, bool(metadata.get("destroyed")))
        if answer.status == 404 and answer.plain and not answer.errors:
            self.require_version_2()
            return None
        raise self._failure(answer, f"data/{path}", "read", whole)

    def _found(self, path: str, answer: Answer, metadata: Any, number: object) -> Found:
        data = answer.data.get("data")
        if not isinstance(data, dict) or not isinstance(number, int):
            self.require_version_2()
            raise StoreUnavailable(
                f"Vault at {self._where} gave no version of {self.mount}/{path}",
                hint="is something between here and Vault that changes its answers?",
            )
        return Found(data, number, str(metadata.get("deletion_time") or ""), answer.server_time)

    def write(self, path: str, data: Mapping[str, Any], *, cas: int, needs: str) -> int | None:
        """Write a version if the latest one is `cas` (0: if the path never was); return its number.

        Args:
            needs: the capabilities that the identity needs for the path, for the hint of a refusal.

        Returns:
            None when the latest version is another one: nothing was written.

        Raises:
            StoreDenied, ConfigError: as `read`.
            StoreUnavailable: as `read`; whether it was written is for the next read. Also when the write
                window of this tick has passed: nothing was sent.
        """
        # A version 1 engine would take it, and compare nothing; with a `mount` that goes too deep it would
        # be written, and could never be destroyed.
        self.require_version_2()
        body = {"options": {"cas": cas}, "data": data}
        still_time()
        answer = self.identity.send("POST", f"{self.mount}/data/{path}", body)
        number = answer.data.get("version")
        if answer.status == 200 and isinstance(number, int):
            return number
        if answer.status == 400 and answer.says(_MISFIT):
            return None
        raise self._failure(answer, f"data/{path}", needs)

    def destroy(self, path: str, versions: Sequence[int]) -> None:
        """Destroy versions of a path for good; harmless for those that are not there.

        Raises:
            StoreDenied, StoreUnavailable, ConfigError: they may still be there.
        """
        answer = self.identity.send(
            "POST", f"{self.mount}/destroy/{path}", {"versions": list(versions)}
        )
        if answer.status not in (200, 204):
            raise self._failure(answer, f"destroy/{path}", "update")

    def erase(self, path: str) -> None:
        """Remove a path with every version and its metadata; harmless when it is not there.

        Raises:
            StoreDenied, StoreUnavailable, ConfigError: it may still be there.
        """
        answer = self.identity.send("DELETE", f"{self.mount}/metadata/{path}")
        if answer.status not in (200, 204):
            raise self._failure(answer, f"metadata/{path}", "delete")

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names directly below a path; those with something below themselves end in a slash.

        Raises:
            StoreDenied, StoreUnavailable, ConfigError: as `read`.
        """
        answer = self.identity.send("LIST", f"{self.mount}/metadata/{path}")
        if answer.status == 404 and answer.plain and not answer.errors:
            return ()
        keys = answer.data.get("keys")
        if answer.status == 200 and isinstance(keys, list):
            return tuple(str(key) for key in keys)
        raise self._failure(answer, f"metadata/{path}/", "list")

    def read_version_1(self, path: str) -> dict[str, Any] | None:
        """Return the fields of a path of a version 1 engine, None when it is not there; for adopting only.

        Raises:
            StoreDenied, StoreUnavailable: no answer.
        """
        answer = self.identity.send("GET", f"{self.mount}/{path}")
        if answer.status == 404 and answer.plain and not answer.errors:
            return None
        if answer.status != 200:
            raise self._failure(answer, path, "read")
        return dict(answer.data)

    def require_version_2(self) -> None:
        """Make sure, once, that the engine is there, mounted at `mount` itself, and of version 2.

        Raises:
            ConfigError: it is of version 1, no KV engine, or mounted above `mount`.
            StoreDenied, StoreUnavailable: that cannot be learned, or there is none.
        """
        if self._is_looked_at:
            return
        answer = self.identity.send("GET", f"sys/internal/ui/mounts/{self.mount}")
        if answer.status == 403:
            raise self._unseen()
        if answer.status != 200:
            raise self._failure(answer, "", "read")
        options = answer.data.get("options")
        version = options.get("version") if isinstance(options, dict) else None
        kind = answer.data.get("type")
        if kind != "kv":
            raise self._unfit(f"of the kind {kind}", is_kv=False)
        if version != "2":
            raise self._unfit(f"{kind} version {version or 1}")
        mounted = str(answer.data.get("path", "")).strip("/")
        if mounted and mounted != self.mount:
            raise ConfigError(
                f"no engine of Vault at {self._where} is mounted at {self.mount!r}: it is mounted at {mounted!r}",
                hint=f"write `mount: {mounted}`; "
                + (
                    "the `data` of the API's paths is no part of it"
                    if self.mount == f"{mounted}/data"
                    else "what is below it belongs into `prefix`"
                ),
            )
        self._is_looked_at = True

    def _unseen(self) -> StoreDenied | StoreUnavailable | ConfigError:
        """Tell an engine that is not there from one that is not shown: Vault refuses both alike."""
        answer = self.identity.send("GET", f"{self.mount}/config")
        if answer.status == 404:
            return self._failure(answer, "config", "read")
        return StoreDenied(
            f"Vault at {self._where} shows this identity no secrets engine at {self.mount!r}",
            hint="there is none, or the policy grants nothing below it: `rotator policy` prints a whole one",
        )

    def _failure(
        self, answer: Answer, path: str, needs: str, whole: str = ""
    ) -> StoreDenied | StoreUnavailable | ConfigError:
        place = f"{self.mount}/{path}".rstrip("/")
        if answer.status == 403:
            return denied(self._where, place, needs, whole)
        if answer.status == 404 and any(answer.says(text) for text in _NO_ENGINE):
            return StoreUnavailable(
                f"Vault at {self._where} has no secrets engine at {self.mount!r}",
                hint=f"`vault secrets enable -path={self.mount} -version=2 kv`, or mend `mount`; if it was "
                "there before, this is another Vault, or an emptied one: restore it",
                lasting=True,
            )
        if answer.status == 404 and answer.says("unsupported path"):
            return self._unfit("of another kind", is_kv=False)
        if answer.status == 400 and answer.says("pgrading from non-versioned"):
            return StoreUnavailable(
                f"the engine at {self.mount!r} of Vault at {self._where} is being upgraded to version 2",
                hint="it takes seconds",
            )
        if not answer.plain:
            return StoreUnavailable(
                f"what answers at {self._where} is not Vault ({answer.status} without its JSON)",
                hint="does the address lead to a proxy, or to another server?",
                lasting=True,
            )
        reason = f": {quoted(answer.errors)}" if path.startswith(("destroy", "metadata")) else ""
        return StoreUnavailable(
            f"Vault at {self._where} answered {answer.status} for {place}{reason}",
            hint="see its log and its audit log",
            lasting=True,
        )

    def _unfit(self, kind: str, *, is_kv: bool = True) -> ConfigError:
        way = (
            f"version 1 cannot compare before it writes: `vault kv enable-versioning {self.mount}`"
            if is_kv
            else "make one, such as `vault secrets enable -path=secret -version=2 kv`"
        )
        return ConfigError(
            f"the engine at {self.mount!r} of Vault at {self._where} is {kind}, not KV version 2",
            hint=f"{way}, or name another `mount`",
        )
