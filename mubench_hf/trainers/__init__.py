"""Unlearning methods, one file each; the file's name is the method's key."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mubench_hf.errors import unknown_name

if TYPE_CHECKING:
    from mubench_hf.trainers._base import UnlearningTrainer

__all__ = ["UnlearningConfig", "UnlearningTrainer", "get_method", "list_methods"]


def list_methods() -> list[str]:
    """Return the keys of all registered methods, sorted."""
    return sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py"))


def get_method(name: str) -> type[UnlearningTrainer]:
    """Return the trainer class of the method called ``name``; its config is the class's ``config_class``.

    Raises:
        BadInput: If there is no such method; the nearest name is suggested.
    """
    if name not in list_methods():
        raise unknown_name("method", name, list_methods())
    from mubench_hf.trainers._base import UnlearningTrainer

    module = import_module(f"{__name__}.{name}")
    (trainer,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, UnlearningTrainer) and value.__module__ == module.__name__
    )
    return trainer


def __getattr__(name: str) -> Any:
    """Import torch only when a trainer is asked for."""
    if name == "UnlearningTrainer":
        return import_module(f"{__name__}._base").UnlearningTrainer
    if name == "UnlearningConfig":
        return import_module(f"{__name__}._config").UnlearningConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
