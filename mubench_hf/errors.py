"""Errors that a person can act on: what was found, what is allowed, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

LONGEST_WORD, LONGEST_LINE = 200, 1500
"""Characters of a word and of a line beyond which ``shown`` leaves out the middle."""


class BadInput(ValueError):
    """An input that cannot be used. The command line prints only its message and exits with code 2."""


def shown(text: object) -> str:
    """Return text from people, files or a Hub as one line of bounded length that no terminal obeys.

    Whatever is not printable (control characters, escape codes, bidirectional marks, halves of surrogate pairs) is
    written as in a Python string, white space becomes single spaces, and the middle of what is very long is left out.
    """
    words = ("".join(map(_printable, word)) for word in str(text).split())
    return _shortened(" ".join(_shortened(word, LONGEST_WORD) for word in words), LONGEST_LINE)


def visible(text: object) -> str:
    """Return text of several lines as no terminal obeys it: what is not printable is written as in a Python string."""
    return "\n".join("".join(map(_printable, line)) for line in str(text).split("\n"))


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _shortened(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]}…{text[len(text) - longest // 2 + 1 :]}"


def unknown_name(
    what: str,
    found: object,
    allowed: Iterable[str],
    *,
    aliases: Mapping[str, str] = MappingProxyType({}),
    how: str = "",
) -> BadInput:
    """Return the error for an unknown name, which suggests the nearest known one.

    Args:
        what: Kind of thing that was named, such as ``"task"``.
        found: The name as it was given.
        allowed: Every name that would have worked.
        aliases: Other names that would have worked → the one to suggest in their place.
        how: What else is allowed, as a sentence.
    """
    allowed = sorted(allowed)
    near = difflib.get_close_matches(str(found).lower(), [*allowed, *aliases], n=1, cutoff=0.5)
    hint = f" Did you mean {aliases.get(near[0], near[0])!r}?" if near else ""
    return BadInput(f"Unknown {what} {str(found)!r}.{hint} Allowed: {', '.join(allowed)}.{' ' + how if how else ''}")
