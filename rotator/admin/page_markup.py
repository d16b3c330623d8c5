"""HTML and SVG, made so that no text can become markup: every string is escaped unless it was made here. Pure."""

from __future__ import annotations

from html import escape
from typing import Final

_LONGEST: Final = 600  # characters of one text: servers say what they like, and as much of it
_VOID: Final = frozenset({"link", "meta"})


class Markup(str):
    """Markup that `element` made."""

    __slots__ = ()


Child = Markup | str | None
"""What an element holds: markup as it is, any other string as text, None as nothing."""


def element(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """Return one element.

    Args:
        name: of the element; ours, never somebody else's.
        attributes: `class_`, `for_` lose their underscore, `aria_label` is `aria-label`; None leaves one out.
            Values are escaped.
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{said}>")
    return Markup(f"<{name}{said}>{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    """Return several things one after the other."""
    return Markup(
        "".join(
            item if isinstance(item, Markup) else text(item)
            for item in children
            if item is not None
        )
    )


def text(words: str) -> Markup:
    """Return a text as it may stand in an element or between double quotes.

    What is invisible, turns the reading direction round or is no character at all is written as its code
    (`\\u202e`), for names and answers of others must not look like something else.
    """
    if len(words) > _LONGEST:
        words = words[:_LONGEST] + "…"
    if not words.isprintable():
        words = "".join(letter if letter.isprintable() else _code(letter) for letter in words)
    return Markup(escape(words))


def _code(letter: str) -> str:
    number = ord(letter)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
