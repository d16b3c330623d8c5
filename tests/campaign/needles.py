"""Every way in which a private key might be written down, and a search for them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import OctKey, import_key

PRIVATE: Final = ("d", "p", "q", "dp", "dq", "qi", "k")  # RFC 7518 §6.2.2, §6.3.2, §6.4
_SHORTEST: Final = 16  # bytes; a shorter needle would be found by chance


def forms_of(jwk: Mapping[str, Any]) -> dict[str, bytes]:
    """Every form of every private member of a JWK, by what it is called in a message."""
    found: dict[str, bytes] = {}
    for member in PRIVATE:
        if member not in jwk:
            continue
        value = str(jwk[member])
        raw = _bytes(value)
        number = int.from_bytes(raw, "big")
        found |= {
            f"{member} raw": raw,
            f"{member} reversed": raw[::-1],
            f"{member} base64url": value.encode(),
            f"{member} hex": raw.hex().encode(),
            f"{member} HEX": raw.hex().upper().encode(),
            f"{member} hex, as Python says it": f"{number:x}".encode(),
            f"{member} decimal": str(number).encode(),
            f"{member} repr": repr(raw)[2:-1].encode(),
            f"{member} list": ", ".join(str(byte) for byte in raw).encode(),
        }
        # Inside a longer text it may begin at any of three places; only whole groups stay the same.
        for start in range(3):
            middle = raw[start : start + (len(raw) - start) // 3 * 3]
            plain = base64.b64encode(middle)
            found[f"{member} base64 from {start}"] = plain
            found[f"{member} base64url from {start}"] = base64.urlsafe_b64encode(middle)
            found[f"{member} base64 from {start}, JSON-escaped"] = plain.replace(b"/", b"\\/")
    found |= {f"PEM line {n}": line for n, line in enumerate(_pem_lines(jwk))}
    return {name: needle for name, needle in found.items() if len(needle) >= _SHORTEST}


def _pem_lines(jwk: Mapping[str, Any]) -> list[bytes]:
    key = import_key(dict(jwk))
    if isinstance(key, OctKey):
        return []
    private: Any = key.private_key
    formats = [PrivateFormat.PKCS8]
    if jwk["kty"] != "OKP":
        formats.append(PrivateFormat.TraditionalOpenSSL)
    lines: list[bytes] = []
    for form in formats:
        text = private.private_bytes(Encoding.PEM, form, NoEncryption())
        lines += text.splitlines()[1:-1]
    # A line in the middle of a large modulus is the same in the public half.
    public = [_bytes(jwk[name]) for name in ("n", "x", "y") if name in jwk]
    return [ln for ln in lines if not any(base64.b64decode(ln) in half for half in public)]


def _bytes(value: object) -> bytes:
    text = str(value)
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def needles_of(materials: Iterable[bytes]) -> dict[bytes, str]:
    """The forms of many keys: needle to what it is. Kids tell them apart, and no key is in a message."""
    found: dict[bytes, str] = {}
    for count, material in enumerate(materials):
        for name, needle in forms_of(json.loads(material)).items():
            found[needle] = f"key {count}: {name}"
    return found


def search(needles: Mapping[bytes, str], places: Mapping[str, bytes]) -> Iterator[str]:
    """Yield where which needle was found."""
    # Each place of the content is looked up once: to search for each needle alone takes minutes, and a
    # pattern of all of them almost as long.
    by_prefix: dict[bytes, list[bytes]] = {}
    for needle in needles:
        by_prefix.setdefault(needle[:_SHORTEST], []).append(needle)
    if not by_prefix:
        return
    for place, content in places.items():
        for start in range(len(content) - _SHORTEST + 1):
            for needle in by_prefix.get(content[start : start + _SHORTEST], ()):
                if content.startswith(needle, start):
                    yield f"{place}: {needles[needle]}"
