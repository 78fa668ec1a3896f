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

from mubench_hf.errors import BadInput, unknown_name
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


def kind_of(model: Any, label: Any = None) -> Kind:
    """Return the kind of a model, inside DDP, ``torch.compile`` and adapters.

    It is told by the auto classes that list the model's class, or the nearest class it extends, and of a classifier by
    ``config.problem_type``. A class that is on no list is taken for a classifier if it has ``config.num_labels``; what
    it returns is checked when it is first seen.

    Args:
        model: The model.
        label: Label of one of its rows. A classifier that states no ``problem_type`` has classes if it is an integer
            and several labels a row if it is a fraction, as in ``transformers``.

    Raises:
        BadInput: If the model is of no kind.
    """
    from mubench_hf.models.bare import bare_model

    bare = bare_model(model)
    for kind in sorted(map(get_kind, list_kinds()), key=lambda kind: kind.of_problem):
        if kind.reads(bare, label):
            return kind
    raise BadInput(f"{type(bare).__name__} {_why_not(bare)} Supported kinds: {', '.join(list_kinds())}.")


def _why_not(model: Any) -> str:
    """Return why a model is of no kind, and what to do, as the rest of a sentence."""
    from mubench_hf.kinds._hierarchy import CLASSIFIERS, HEADLESS, WRITERS, tasks_of

    tasks = tasks_of(model)
    if not hasattr(model, "config"):
        return (
            "has no config. Give a PreTrainedModel, or a module with config.num_labels whose forward returns logits "
            "[rows, num_labels]."
        )
    if tasks & CLASSIFIERS:
        return (
            f"has config.problem_type={model.config.problem_type!r}; allowed: single_label_classification, "
            "multi_label_classification, regression."
        )
    if "CAUSAL_LM" in tasks:
        return "sees the token that it predicts, unless it is made with config.is_decoder=True."
    if tasks and tasks <= HEADLESS:
        return "has no head, so it predicts nothing. Load it by an auto class with a head."
    if tasks - WRITERS:
        words = ", ".join(sorted(task.lower().replace("_", " ") for task in tasks - HEADLESS))
        return f"is for {words}, which has no kind here."
    return (
        "is on no list of transformers and does not say what it predicts. Extend a class that is, or register it, as "
        "in AutoModelForCausalLM.register(ItsConfig, ItsClass)."
    )
