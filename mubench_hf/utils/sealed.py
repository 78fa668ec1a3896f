"""JSON objects that carry a hash of their own content, so that a later edit or a damaged byte is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SEAL = "content_sha256"
"""Field with the hash of all other fields."""


def content_sha256(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a JSON object's fields, however they are ordered and laid out; the seal does not count."""
    fields = {name: value for name, value in content.items() if name != SEAL}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with its seal."""
    return {**content, SEAL: content_sha256(content)}


def seal_holds(content: Mapping[str, Any]) -> bool:
    """Return whether an object is as it was sealed; true without a seal, since earlier versions wrote none."""
    return SEAL not in content or content[SEAL] == content_sha256(content)
