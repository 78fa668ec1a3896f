"""Errors that a person can act on: what was found, what is allowed, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


class BadInput(ValueError):
    """An input that cannot be used. The command line prints its message alone and exits with code 2."""


def unknown_name(what: str, found: object, allowed: Iterable[str] | Mapping[str, str], how: str = "") -> BadInput:
    """Return the error for a name that is not known, with the nearest known name suggested.

    Args:
        what: Kind of thing that was named, such as ``"task"``.
        found: The name as it was given.
        allowed: Every name that would have worked; of a mapping, the values are what is listed and suggested, and the
            keys, aliases included, are what is compared with.
        how: What else is allowed, as a sentence.
    """
    names = dict(allowed) if isinstance(allowed, Mapping) else {name: name for name in allowed}
    near = difflib.get_close_matches(str(found).lower(), names, n=1, cutoff=0.5)
    hint = f" Did you mean {names[near[0]]!r}?" if near else ""
    listed = ", ".join(sorted(set(names.values())))
    return BadInput(f"Unknown {what} {str(found)!r}.{hint} Allowed: {listed}.{' ' + how if how else ''}")
