"""Unlearning methods, one file each: a trainer with a ``key``. Others come from outside, see ``get_method``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mubench_hf.utils.declarations import Declaration, declared_classes
from mubench_hf.utils.registry import Registry

if TYPE_CHECKING:
    from mubench_hf.trainers._base import UnlearningTrainer

__all__ = ["METHODS", "UnlearningConfig", "UnlearningTrainer", "declared_methods", "get_method", "list_methods"]


@cache
def declared_methods() -> Mapping[str, Declaration]:
    """Return what this package's methods say of themselves, by key, without importing torch."""
    found = declared_classes(Path(__file__).parent, "key")
    return MappingProxyType({each.constants["key"]: each for each in found})


@cache
def _own() -> Mapping[str, Callable[[], type[UnlearningTrainer]]]:
    return MappingProxyType({key: partial(_load, each) for key, each in declared_methods().items()})


def _load(declared: Declaration) -> type[UnlearningTrainer]:
    return getattr(import_module(f"{__name__}.{declared.file.stem}"), declared.name)


def _aliases() -> dict[str, str]:
    return {alias: key for key, each in declared_methods().items() for alias in each.constants.get("aliases", ())}


def _accept(found: object) -> type[UnlearningTrainer] | None:
    from mubench_hf.trainers._base import UnlearningTrainer

    is_method = isinstance(found, type) and issubclass(found, UnlearningTrainer) and hasattr(found, "config_class")
    return found if is_method else None


METHODS: Registry[type[UnlearningTrainer]] = Registry(
    "method",
    group="mubench_hf.methods",
    own=_own,
    accept=_accept,
    key=lambda method: method.method_key(),
    aliases=_aliases,
    reserved=("original",),
)
"""All methods: those of this package, those that installed packages add, and what was brought to this process."""


def list_methods() -> list[str]:
    """Return the keys of all registered methods, sorted."""
    return METHODS.names()


def get_method(reference: str | Path | type[UnlearningTrainer]) -> type[UnlearningTrainer]:
    """Return the trainer class of a method; its config is the class's ``config_class``.

    Args:
        reference: The method's key or an alias of it, the class itself, ``"package.module:Trainer"``,
            ``"path/to/file.py:Trainer"`` or the name of an entry point of the group ``mubench_hf.methods``.

    Raises:
        BadInput: If there is no such method; the nearest name is suggested.
    """
    return METHODS.get(reference)


def __getattr__(name: str) -> Any:
    """Import torch only when a trainer is asked for."""
    if name == "UnlearningTrainer":
        return import_module(f"{__name__}._base").UnlearningTrainer
    if name == "UnlearningConfig":
        return import_module(f"{__name__}._config").UnlearningConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
