"""Words of the command line that click alone would misread."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

import click

from rotator.errors import UsageError

# A kid is base64url (DESIGN §2) of 32 or 16 bytes, and one in 64 begins with a dash.
_KID: Final = re.compile(r"-[A-Za-z0-9_-]{42}|-[A-Za-z0-9_-]{21}|-[A-Za-z0-9_-]{5,41}…")
_BEGINNING: Final = re.compile(r"-[A-Za-z0-9_][A-Za-z0-9_-]{4,41}")


class KidCommand(click.Command):
    """Takes a kid that begins with a dash for a kid and not for an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put such kids behind a `--`, after every other word."""
        kids = [word for word in args if _KID.fullmatch(word)]
        if kids:
            others = [word for word in args if word not in kids]
            args = [*others, *([] if "--" in others else ["--"]), *kids]
        try:
            return super().parse_args(ctx, list(args))
        except click.NoSuchOption:
            # The beginning of such a kid cannot be told from options: it may be `-c` with its file.
            for word in filter(_BEGINNING.fullmatch, args):
                hint = f"if that is the beginning of a kid, write `-- {word}` at the end"
                raise UsageError(f"{word} is no option", hint=hint) from None
            raise


class NowCommand(click.Command):
    """Takes a kid after `--now` only with `=`: in `rotate --now web`, web is a key set."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give `--now` its empty value, so that it does not take the next word."""
        for before, word in pairwise(args):
            if before == "--now" and _KID.fullmatch(word):
                raise UsageError(f"{word} is no option", hint=f"a kid follows `=`: `--now={word}`")
        return super().parse_args(ctx, ["--now=" if word == "--now" else word for word in args])
