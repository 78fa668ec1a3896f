"""Kinds of tasks: how a row's loss, its distribution and a random target are read from a model, one file per kind.

``mubench_hf.kinds.measures`` says what is measured on a whole split.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mubench_hf.errors import unknown_name
from mubench_hf.kinds._base import Kind
from mubench_hf.utils.declarations import Declaration, declared_classes

__all__ = ["Kind", "get_kind", "kind_of", "list_kinds"]


@cache
def _declared() -> Mapping[str, Declaration]:
    found = declared_classes(Path(__file__).parent, "key")
    return MappingProxyType({each.constants["key"]: each for each in found})


@cache
def _made(key: str) -> Kind:
    declared = _declared()[key]
    return getattr(import_module(f"{__name__}.{declared.file.stem}"), declared.name)()


def list_kinds() -> list[str]:
    """Return the keys of all kinds, sorted."""
    return sorted(_declared())


def get_kind(name: str) -> Kind:
    """Return the kind called ``name``, the same object each time.

    Raises:
        BadInput: If there is no such kind; the nearest name is suggested.
    """
    if name not in _declared():
        raise unknown_name("kind", name, list_kinds())
    return _made(name)


def kind_of(model: Any) -> Kind:
    """Return the kind of a model, with or without adapters: the one that knows its class, else classification."""
    from mubench_hf.models.bare import bare_model

    model = bare_model(model)
    kinds = (get_kind(name) for name in list_kinds() if name != "classification")
    return next((kind for kind in kinds if kind.reads(model)), get_kind("classification"))
