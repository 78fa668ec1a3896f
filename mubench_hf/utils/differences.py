"""What differs between two nested mappings, in words."""

from __future__ import annotations

from typing import Any


def differences(found: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> list[str]:
    """Return one phrase per leaf in which two nested identities differ."""
    phrases = []
    for key in sorted(found.keys() | wanted.keys()):
        there, asked = found.get(key, "default"), wanted.get(key, "default")
        if isinstance(there, dict) and isinstance(asked, dict):
            phrases += differences(there, asked, f"{prefix}{key}.")
        elif there != asked:
            phrases.append(f"{prefix}{key} is {there}, not {asked}")
    return phrases
