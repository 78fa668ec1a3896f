"""Kinds of tasks: how a row's loss, its distribution and its prediction are read from a model, one file a kind."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from mubench_hf.errors import unknown_name
from mubench_hf.kinds._base import Kind

__all__ = ["Kind", "get_kind", "kind_of", "list_kinds"]


def list_kinds() -> list[str]:
    """Return the keys of all kinds, sorted."""
    return sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py"))


def get_kind(name: str) -> Kind:
    """Return the kind called ``name``.

    Raises:
        BadInput: If there is no such kind; the nearest name is suggested.
    """
    if name not in list_kinds():
        raise unknown_name("kind", name, list_kinds())
    return import_module(f"{__name__}.{name}").KIND


def kind_of(model: Any) -> Kind:
    """Return the kind of a model, with or without adapters: the one that knows its class, else classification."""
    # A `peft` model is of a class of its own around the model that it adapts.
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    kinds = (get_kind(name) for name in list_kinds() if name != "classification")
    return next((kind for kind in kinds if kind.reads(model)), get_kind("classification"))
