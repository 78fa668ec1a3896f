"""Readable names of methods."""

from __future__ import annotations

from mubench_hf.errors import BadInput
from mubench_hf.runs.record import ORIGINAL
from mubench_hf.trainers import get_method


def method_title(method: str) -> str:
    """Return a method's readable name, or its key if the method is not known here."""
    if method == ORIGINAL:
        return "Original"  # It unlearns nothing and has no class of its own.
    try:
        trainer = get_method(method)
    except BadInput:
        return method
    return trainer.title if trainer.method_key() == method else method  # An alias is no key.
