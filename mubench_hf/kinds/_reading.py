"""What a model is given and gives back: labels and logits that do not fit a kind are refused when they are first seen.

Every function raises a ``BadInput`` with what was found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mubench_hf.errors import BadInput
from mubench_hf.models.bare import bare_model


def labels_in(inputs: Mapping[str, Any]) -> Tensor:
    """Return a batch's labels.

    Raises:
        BadInput: If it has none.
    """
    labels = inputs.get("labels")
    if not isinstance(labels, Tensor):
        raise BadInput(
            f"A batch has {', '.join(map(str, inputs))} but no tensor called labels. Give rows labels, or a "
            "data_collator that makes them."
        )
    return labels


def without_labels(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the model is shown."""
    return {name: value for name, value in inputs.items() if name != "labels"}


def logits_in(outputs: Any, model: Any) -> Tensor:
    """Return a model's logits.

    Raises:
        BadInput: If it returns none.
    """
    logits = outputs.get("logits") if isinstance(outputs, Mapping) else getattr(outputs, "logits", None)
    if not isinstance(logits, Tensor):
        names = ", ".join(outputs) if isinstance(outputs, Mapping) else type(outputs).__name__
        raise BadInput(
            f"{_name(model)} returns {names} and no tensor called logits, so there is nothing to learn from. Use a "
            "model with a head, whose forward returns an object or dict with logits."
        )
    return logits


def row_logits(outputs: Any, model: Any, kind: str) -> Tensor:
    """Return logits ``[rows, num_labels]``.

    Raises:
        BadInput: If they have another shape.
    """
    logits, num_labels = logits_in(outputs, model), bare_model(model).config.num_labels
    if logits.ndim != 2 or logits.shape[1] != num_labels:
        raise BadInput(
            f"{_name(model)} is read as {kind} but returns logits of shape {shape(logits)}; expected [rows, "
            f"{num_labels}], since config.num_labels is {num_labels}. Set num_labels, or if it is for something else, "
            "extend the class of transformers for that, or register yours: "
            "AutoModelForTokenClassification.register(ItsConfig, ItsClass)."
        )
    return logits


def position_logits(outputs: Any, model: Any, labels: Tensor, kind: str) -> Tensor:
    """Return logits ``[rows, positions, classes]`` beside labels ``[rows, positions]``.

    Raises:
        BadInput: If one of them has another shape.
    """
    logits = logits_in(outputs, model)
    if logits.ndim != 3 or labels.shape != logits.shape[:2]:
        raise BadInput(
            f"{_name(model)} is read as {kind} but returns logits of shape {shape(logits)} for labels of shape "
            f"{shape(labels)}; expected [rows, positions, classes] and [rows, positions]. Give a label to every "
            "position, -100 where none is scored, or use a model of this kind."
        )
    return logits


def classes_in(labels: Tensor, num_labels: int, kind: str, *, ignored: bool = False) -> Tensor:
    """Return labels as int64, each a class, or with ``ignored`` -100, which marks a position that is not scored.

    Raises:
        BadInput: If one is anything else.
    """
    if labels.is_floating_point() or labels.is_complex() or labels.dtype is torch.bool:
        raise BadInput(
            f"Labels for {kind} are {dtype(labels)} of shape {shape(labels)}; expected whole numbers, the classes. "
            "For several labels a row or for numbers, set the model's config.problem_type to "
            "multi_label_classification or regression."
        )
    wrong = (labels < 0) | (labels >= num_labels)
    wrong = wrong & (labels != -100) if ignored else wrong
    if wrong.any():
        raise BadInput(
            f"A batch has label {labels[wrong][0].item()}, but the model has {num_labels} classes, so labels 0.."
            f"{num_labels - 1} are allowed{' beside -100' if ignored else ''}. Leave out rows without a class, and "
            "load a model with the task's classes."
        )
    return labels.long()


def dtype(values: Tensor) -> str:
    """Return a type as text."""
    return str(values.dtype).removeprefix("torch.")


def shape(values: Tensor) -> str:
    """Return a shape as text."""
    return str(list(values.shape))


def _name(model: Any) -> str:
    return type(bare_model(model)).__name__
