"""What a model is: the tasks that the auto classes of ``transformers`` list its class for, or a class it extends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from transformers.models.auto import modeling_auto

HEADLESS = frozenset(("BASE", "IMAGE", "TEXT_ENCODING", "BACKBONE"))
"""Lists of models without a head, which a class that extends one of them may add."""

WRITERS = frozenset(("CAUSAL_LM", "SEQ_TO_SEQ_CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM", "SPEECH_SEQ_2_SEQ"))
"""Lists of models that write texts."""

CLASSIFIERS = frozenset(
    (
        "SEQUENCE_CLASSIFICATION",
        "IMAGE_CLASSIFICATION",
        "VIDEO_CLASSIFICATION",
        "AUDIO_CLASSIFICATION",
        "NEXT_SENTENCE_PREDICTION",
    )
)
"""Lists of models with logits per row."""

LISTS = re.compile(r"MODEL_(?:FOR_(.+)_)?MAPPING_NAMES")


@cache
def _listed() -> Mapping[str, frozenset[str]]:
    """Return the names of the classes on each list, by the list's task."""
    lists = {found[1] or "BASE": name for name in dir(modeling_auto) if (found := LISTS.fullmatch(name))}
    return {
        task: frozenset(
            each
            for listed in getattr(modeling_auto, name).values()
            for each in ([listed] if isinstance(listed, str) else listed)
        )
        for task, name in lists.items()
    }


def _is_registered(cls: type, task: str) -> bool:
    """Return whether somebody added a class to a list, as ``AutoModelForCausalLM.register`` does."""
    name = "MODEL_MAPPING" if task == "BASE" else f"MODEL_FOR_{task}_MAPPING"
    return cls in getattr(getattr(modeling_auto, name, None), "_extra_content", {}).values()


def tasks_of(model: Any) -> frozenset[str]:
    """Return the tasks that the model's class is listed for, else the nearest class it extends; empty for none."""
    for cls in type(model).__mro__:
        found = {task for task, names in _listed().items() if cls.__name__ in names or _is_registered(cls, task)}
        found -= frozenset() if cls is type(model) else HEADLESS
        if found:
            return frozenset(found)
    return frozenset()


def writes(model: Any, *, with_encoder: bool) -> bool:
    """Return whether a model writes texts, with an encoder that reads the input or as the input's continuation."""
    has_encoder = bool(getattr(model.config, "is_encoder_decoder", False)) if hasattr(model, "config") else False
    return bool(tasks_of(model) & WRITERS) and has_encoder is with_encoder


def reads_both_ways(model: Any) -> bool:
    """Return whether a model with a head for the next token sees that token, as BERT does unless it is a decoder."""
    masked = modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    config = model.config
    return getattr(config, "model_type", None) in masked and not getattr(config, "is_decoder", False)


def problem_of(model: Any, label: Any = None) -> str | None:
    """Return a classifier's ``problem_type``, inferred as by ``transformers`` if it states none; ``None`` for others.

    Args:
        model: Any model. A class that is on no list is one of the caller's own, which may classify if it has
            ``config.num_labels``; what it returns is checked when it is seen.
        label: Label of a row; ``None`` if that is not known, and then taken for a class.
    """
    tasks, config = tasks_of(model), getattr(model, "config", None)
    own = not tasks and not (hasattr(model, "can_generate") and model.can_generate())
    num_labels = getattr(config, "num_labels", None)
    if not (tasks & CLASSIFIERS or own) or num_labels is None:
        return None
    stated = getattr(config, "problem_type", None)
    if stated is not None:
        return stated
    if num_labels == 1:
        return "regression"
    return "multi_label_classification" if _is_float(label) else "single_label_classification"


def _is_float(label: Any) -> bool:
    if hasattr(label, "is_floating_point"):
        return label.is_floating_point()
    return label is not None and np.asarray(label).dtype.kind == "f"
