"""How a checkpoint's splits are measured: the outputs that scores are computed from, one file per kind of task."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from mubench_hf.errors import BadInput, unknown_name
from mubench_hf.kinds import list_kinds
from mubench_hf.kinds.measures._base import Measure, RowAnswer, incompetent, truth_logits
from mubench_hf.utils.declarations import Declaration, declared_classes

__all__ = ["Measure", "RowAnswer", "get_measure", "incompetent", "truth_logits"]


@cache
def _declared() -> Mapping[str, Declaration]:
    found = declared_classes(Path(__file__).parent, "key")
    return MappingProxyType({each.constants["key"]: each for each in found})


@cache
def get_measure(kind: str) -> Measure:
    """Return how splits of tasks of a kind are measured; ``kind`` is its key.

    Raises:
        BadInput: If splits of the kind are not measured, or there is no such kind.
    """
    if kind in list_kinds() and kind not in _declared():
        raise BadInput(
            f"Models of the kind {kind} can be trained, but there are no scores for them yet. Measured: "
            f"{', '.join(sorted(_declared()))}."
        )
    if kind not in _declared():
        raise unknown_name("kind", kind, sorted(_declared()))
    declared = _declared()[kind]
    return getattr(import_module(f"{__name__}.{declared.file.stem}"), declared.name)()
