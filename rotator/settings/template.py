"""The commented configuration that `rotator init` writes, and the directories that it needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from textwrap import indent
from typing import Final

from rotator.algorithms import kind_of
from rotator.durations import parse_duration
from rotator.policy import format_duration

_SCHEMA: Final = "# yaml-language-server: $schema={schema}\n#\n"
_NO_SCHEMA: Final = """\
# For editors: `rotator config schema > rotator.schema.json`, and here as the first line
# `# yaml-language-server: $schema=rotator.schema.json`.
#
"""
_BEYOND: Final = timedelta(minutes=15)

_KEY_SIZE: Final = """\
    # 2048, 3072 or 4096 bits. AWS load balancers and old hardware want 2048.
    key_size: {size}
"""
_PUBLICATION: Final = """
    # Where the JWKS is written, for a web server or a CDN to serve.
    publish:
      - to: file
        path: {root}/jwks/{key_set}/jwks.json
      # Or, and besides, as the document {key_set}/jwks in a store:
      # - {{to: store, store: {store}}}
      # Or as an object in S3, or in a ConfigMap: docs/targets/.
      # - {{to: s3, bucket: jwks-example, region: eu-central-1}}

    # The URLs at which verifiers really read it: looked at before a key signs.
    # probes:
    #   - https://issuer.example/.well-known/jwks.json
"""
_VERIFICATION: Final = """
      # Where HMAC verifiers get the keys; they are as secret as the signer's.
      - to: files
        path: {root}/verification/{key_set}
        document: verification
"""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a configuration is made from.

    Args:
        root: the directory of store, deliveries and publication, as written into the configuration.
        backend: the kind of secrets manager that the store is.
        options: the backend's own example of its options.
        schema: where an editor finds the JSON Schema, relative to the configuration; empty when it is not there.
    """

    token_ttl: str
    signer_lag: str
    algorithm: str = "RS256"
    key_set: str = "web"
    root: str = ".rotator"
    schema: str = ""
    backend: str = "file"
    options: str = "path: @ROOT@/store\n"

    @property
    def store(self) -> str:
        """The name of the store."""
        return "local" if self.backend == "file" else self.backend


def render(answers: Answers) -> str:
    """Return the commented configuration.

    Raises:
        ValueError: unknown algorithm, or no duration.
    """
    # The contract with the template's own leeway and clock_skew: token_ttl + 5m + signer_lag + 2 × 5m.
    grace = parse_duration(answers.token_ttl) + parse_duration(answers.signer_lag) + _BEYOND
    kind = kind_of(answers.algorithm)
    names = {"root": answers.root, "key_set": answers.key_set, "store": answers.store}
    values = {
        "SCHEMA": _SCHEMA.format(schema=answers.schema) if answers.schema else _NO_SCHEMA,
        "GRACE": f"{format_duration(grace):<14}",
        "ROOT": answers.root,
        "STORE": answers.store,
        "BACKEND": answers.backend,
        "OPTIONS": indent(answers.options.replace("@ROOT@", answers.root), "    "),
        "TOKEN_TTL": answers.token_ttl,
        "SIGNER_LAG": answers.signer_lag,
        "KEY_SET": answers.key_set,
        "ALGORITHM": answers.algorithm,
        "KEY_SIZE": _KEY_SIZE.format(size=kind.size) if kind.kty == "RSA" else "",
        "VERIFICATION": _VERIFICATION.format(**names) if kind.symmetric else "",
        "PUBLICATION": "" if kind.symmetric else _PUBLICATION.format(**names),
    }
    template = (files("rotator") / "templates" / "rotator.yaml.in").read_text(encoding="utf-8")
    return re.sub(r"@([A-Z_]+)@", lambda found: values[found[1]], template)


def directories(answers: Answers, beside: Path) -> dict[Path, int]:
    """Return the directories to make, each with its mode, parents first.

    What holds keys is 0700. Signers that run as another user need a delivery elsewhere, or a group.
    """
    root = beside / answers.root
    made = {root: 0o755} | ({root / "store": 0o700} if answers.backend == "file" else {})
    made[root / "signing"] = 0o700
    if kind_of(answers.algorithm).symmetric:
        return made | {root / "verification": 0o700}
    return made | {root / "jwks": 0o755, root / "jwks" / answers.key_set: 0o755}
