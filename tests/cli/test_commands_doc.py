"""`docs/commands.md` shows the help of every command as it is."""

from __future__ import annotations

import re

from rotator.cli.root import COMMANDS
from tests.cli.bench import ROOT, Bench

INNER = ("config show", "config validate", "config schema")


def test_help_texts(bench: Bench) -> None:
    """Each help text is there, word for word."""
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```text help\n(.*?)```", text, re.DOTALL)
    shown = {bench.good(*name.split(), "--help").out for name in ("", *COMMANDS, *INNER)}
    assert set(blocks) == shown
