"""Unlearning methods, one file each: a trainer with a ``key``. Others come from outside, see ``get_method``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mubench_hf.errors import BadInput
from mubench_hf.utils.declarations import Declaration, declared_classes
from mubench_hf.utils.registry import Registry

if TYPE_CHECKING:
    # For editors and type checkers; a method is found without being listed here.
    from mubench_hf.trainers._base import UnlearningTrainer as UnlearningTrainer
    from mubench_hf.trainers._batch import Batch as Batch
    from mubench_hf.trainers._config import UnlearningConfig as UnlearningConfig
    from mubench_hf.trainers._objective import over_batch as over_batch
    from mubench_hf.trainers._passes import Pass as Pass
    from mubench_hf.trainers._settings import setting as setting
    from mubench_hf.trainers.bad_teaching import BadTeachingConfig as BadTeachingConfig
    from mubench_hf.trainers.bad_teaching import BadTeachingTrainer as BadTeachingTrainer
    from mubench_hf.trainers.finetune import FinetuneConfig as FinetuneConfig
    from mubench_hf.trainers.finetune import FinetuneTrainer as FinetuneTrainer
    from mubench_hf.trainers.neggrad import NegGradConfig as NegGradConfig
    from mubench_hf.trainers.neggrad import NegGradTrainer as NegGradTrainer
    from mubench_hf.trainers.rand_label import RandLabelConfig as RandLabelConfig
    from mubench_hf.trainers.rand_label import RandLabelTrainer as RandLabelTrainer
    from mubench_hf.trainers.retrain import RetrainConfig as RetrainConfig
    from mubench_hf.trainers.retrain import RetrainTrainer as RetrainTrainer
    from mubench_hf.trainers.salun import SalUnConfig as SalUnConfig
    from mubench_hf.trainers.salun import SalUnTrainer as SalUnTrainer
    from mubench_hf.trainers.scrub import ScrubConfig as ScrubConfig
    from mubench_hf.trainers.scrub import ScrubTrainer as ScrubTrainer

_PARTS = {
    "Batch": "_batch",
    "Pass": "_passes",
    "UnlearningConfig": "_config",
    "UnlearningTrainer": "_base",
    "over_batch": "_objective",
    "setting": "_settings",
}
"""What a method is made of, and where it stands."""

__all__ = [
    "METHODS",
    "Batch",
    "Pass",
    "UnlearningConfig",
    "UnlearningTrainer",
    "declared_methods",
    "get_method",
    "list_methods",
    "over_batch",
    "setting",
]


@cache
def declared_methods() -> Mapping[str, Declaration]:
    """Return what this package's methods declare, by key, without importing torch.

    A method is a class that assigns ``key`` and ``title`` in its body. The registry ignores anything else in a file.

    Raises:
        BadInput: If two methods have the same key.
    """
    methods: dict[str, Declaration] = {}
    for found in declared_classes(Path(__file__).parent, "key"):
        if "title" not in found.constants:
            continue
        other = methods.setdefault(found.constants["key"], found)
        if other is not found:
            raise BadInput(
                f"{found.name} ({found.file.name}) has the key {found.constants['key']!r} of {other.name} "
                f"({other.file.name}). Give it a key of its own."
            )
    return MappingProxyType(methods)


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


def _homes() -> dict[str, str]:
    """Return public name → its module: parts of a method, and each method's trainer and config."""
    homes = dict(_PARTS)
    for each in declared_methods().values():
        homes |= dict.fromkeys((each.name, f"{each.name.removesuffix('Trainer')}Config"), each.file.stem)
    return homes


def __getattr__(name: str) -> Any:
    """Import torch only when a name is used that needs it."""
    if not name.startswith("__") and name in (homes := _homes()):
        return getattr(import_module(f"{__name__}.{homes[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, including those of methods."""
    return sorted({*__all__, *_homes()})
