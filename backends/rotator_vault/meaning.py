"""What failures of the transport and answers of Vault mean in the words of `rotator.errors`.

No message quotes a body: an answer of Vault may repeat what was sent. Its list of errors is quoted only where it
holds nothing of a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rotator.plugin import StoreDenied, StoreUnavailable

_SHOWN: Final = 200  # characters of an error text

_HINTS: Final[dict[int, str]] = {
    412: "a standby has not caught up yet; it is tried again",
    429: "raise its rate limit quota for this path, or ask less often (`resync`)",
    472: "this is a disaster-recovery secondary: name the address of the primary",
    473: "this is a performance standby: name the address of the active node",
    501: "initialise it: `vault operator init`",
    502: "see the proxy or load balancer in front of it, and whether Vault runs behind it",
    503: "unseal it: `vault operator unseal`; nothing is lost",
    504: "see the proxy or load balancer in front of it, and whether Vault runs behind it",
}


def no_answer(address: str, error: Exception) -> StoreUnavailable:
    """Return what a failure of the transport means; it carries nothing of the SDK's exception."""
    import requests

    what = f"no answer from Vault at {address}"
    text = _causes(error)
    if isinstance(error, requests.exceptions.InvalidURL):
        return StoreUnavailable(f"{what}: {error}", hint="mend the address", lasting=True)
    if isinstance(error, requests.exceptions.ProxyError):
        return StoreUnavailable(f"{what}: the proxy did not answer", hint="see the option `proxy`")
    if isinstance(error, requests.exceptions.SSLError) or "CERTIFICATE_VERIFY" in text:
        return _tls(what, text)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return StoreUnavailable(
            f"{what}: no connection in time",
            hint="is the address right, and does a firewall let it through? see `connect_timeout`",
        )
    if isinstance(error, requests.exceptions.ReadTimeout) or "timed out" in text.lower():
        return StoreUnavailable(
            f"{what}: it did not finish answering in time", hint="see its load, and `read_timeout`"
        )
    if "refused" in text.lower():
        return StoreUnavailable(f"{what}: connection refused", hint="start it, or mend the address")
    if "resolve" in text.lower() or "getaddrinfo" in text.lower():
        return StoreUnavailable(f"{what}: its name does not resolve", hint="mend the address")
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        return StoreUnavailable(
            f"{what}: {(error.strerror or str(error)).lower()}",
            hint="see `ca_file`, `cert_file` and `key_file`",
            lasting=True,
        )
    return StoreUnavailable(f"{what}: the connection broke", hint="it is tried again")


def _tls(what: str, text: str) -> StoreUnavailable:
    reason = "the TLS connection failed"
    for sign, meaning in (
        ("hostname mismatch", "its certificate is for another name"),
        ("IP address mismatch", "its certificate is for another address"),
        ("certificate has expired", "its certificate has expired"),
        ("CERTIFICATE_VERIFY", "its certificate is of no authority that is trusted here"),
        ("WRONG_VERSION", "it does not speak TLS there"),
        ("KEY_VALUES_MISMATCH", "`key_file` is not the key of `cert_file`"),
        ("bad certificate", "it refuses the client certificate"),
        ("certificate required", "it wants a client certificate"),
    ):
        if sign.lower() in text.lower():
            reason = meaning
            break
    return StoreUnavailable(
        f"{what}: {reason}",
        hint="see the options `ca_file`, `cert_file`, `key_file`, and the address",
        lasting=True,
    )


def _causes(error: BaseException) -> str:
    """Return the texts of an exception and of what it wraps; they are searched, never shown."""
    texts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(texts) < 8:
        texts.append(f"{type(seen).__name__} {seen}")
        inner = seen.args[0] if seen.args and isinstance(seen.args[0], BaseException) else None
        seen = inner or seen.__cause__ or seen.__context__
    return " ".join(texts)


def unusable(
    address: str, status: int, errors: tuple[str, ...], headers: Mapping[str, str]
) -> StoreUnavailable:
    """Return what an answer means that is neither a result nor a refusal."""
    if status == 200:
        return StoreUnavailable(
            f"what answers at {address} is not Vault: its answer is not JSON",
            hint="does the address lead to a proxy or a login page?",
        )
    said = {
        412: "it has not caught up yet (412)",
        429: "it asks for fewer calls (429)",
        501: "it is not initialised (501)",
        503: "it is sealed, or not ready (503)",
    }.get(status, f"it answered {status}")
    too_large = any("too large" in error for error in errors)
    if status == 413 or too_large:
        return StoreUnavailable(
            f"Vault at {address} takes no value of this size",
            hint="raise `max_request_size` of its listener or `max_entry_size` of its storage",
            lasting=True,
        )
    return StoreUnavailable(
        f"Vault at {address} cannot answer now: {said}",
        hint=_HINTS.get(status, "see its log"),
        retry_after=_seconds(headers.get("Retry-After")),
        lasting=status in (405, 472, 473, 501),
    )


def _seconds(value: str | None) -> float | None:
    """Return a `Retry-After` in seconds (RFC 9110 §10.2.3); a date, which Vault never sends, counts as none."""
    return float(value) if value is not None and value.isascii() and value.isdigit() else None


def quoted(errors: tuple[str, ...]) -> str:
    """Return what Vault gave as its reason, on one short line."""
    text = " ".join(" ".join(errors).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


_DOING: Final = {
    "read": "reading",
    "list": "listing",
    "delete": "removing",
    "update": "destroying",
}


def denied(address: str, path: str, needs: str, whole: str = "") -> StoreDenied:
    """Return the refusal of a path for want of a capability.

    Args:
        path: of the API, as a policy names it.
        needs: the capabilities that the identity needs there for this, separated by blanks.
        whole: those that rotating needs there, where they are more.
    """
    less = f" (only looking needs {_listed(needs)})" if whole and whole != needs else ""
    return StoreDenied(
        f"Vault at {address} does not permit {_DOING.get(needs, 'writing')} {path}",
        hint=f'the policy needs: path "{path}" {{ capabilities = {_listed(whole or needs)} }}{less}; '
        "`rotator policy` prints a whole one",
    )


def _listed(names: str) -> str:
    listed = ", ".join(f'"{name}"' for name in names.split())
    return f"[{listed}]"
