"""Checks of labels and of the loss before anything is learned from them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from accelerate.utils.memory import should_reduce_batch_size
from transformers.utils import logging

from mubench_hf.data.columns import LABELS, column, is_transformed
from mubench_hf.errors import BadInput
from mubench_hf.kinds import Kind
from mubench_hf.models.bare import bare_model

logger = logging.get_logger(__name__)

TOLERANCE = {torch.float32: 2e-5, torch.float64: 2e-5}
"""How much two computations of a loss may differ, relative to it or absolute, by the type of the logits."""

COARSE = 2e-2
"""The same for types of fewer bits, and for logits that autocast computed in them: on a GPU two passes need not round
alike."""


def check_labels(kind: Kind, model: Any, sets: Mapping[str, Any], *, own_collator: bool) -> None:
    """Check the labels that are known before rows are made.

    Args:
        kind: Kind of the model.
        model: The model.
        sets: Name → data set or ``None``.
        own_collator: Whether the caller's own collator makes a batch, and so may change labels that are no classes.

    Raises:
        BadInput: If one cannot be used, with data set and row.
    """
    num_labels = getattr(getattr(bare_model(model), "config", None), "num_labels", None)
    for name, rows in sets.items():
        labels = None if rows is None or is_transformed(rows) else column(rows, *LABELS)
        if labels is None or (own_collator and (labels.ndim != 1 or labels.dtype.kind not in "iu")):
            continue
        if labels.dtype.kind in "US" and not hasattr(rows, "column_names") and not isinstance(rows, list | tuple):
            continue  # An attribute of that name may be anything, such as the names of the classes.
        kind.check_labels(name, labels, num_labels)


@torch.no_grad()
def check_reading(kind: Kind, model: torch.nn.Module, inputs: Mapping[str, Any], *, in_16_bits: bool = False) -> None:
    """Check on a batch that the loss of each row which methods use is the one that the model itself returns.

    Neither the model nor the random state changes. A model that takes no labels, or fails with them, has no loss to
    compare with.

    Args:
        kind: Kind of the model.
        model: The model, inside whatever wraps it.
        inputs: Collated batch.
        in_16_bits: Whether autocast computes the logits, whatever type they are given in.

    Raises:
        BadInput: If the losses differ.
    """
    bare = bare_model(model)
    parameters = inspect.signature(bare.forward).parameters.values()
    if not any(each.name == "labels" or each.kind is each.VAR_KEYWORD for each in parameters):
        return
    problem = getattr(bare.config, "problem_type", None)
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            _, predictions, labels = kind.run(model, inputs)
            torch.manual_seed(0)
            own = _own_outputs(model, inputs)
    finally:
        for module, mode in training.items():
            module.training = mode
        if problem is None and hasattr(bare.config, "problem_type"):
            bare.config.problem_type = problem  # The first forward pass with labels sets it.
    loss = own.get("loss") if isinstance(own, Mapping) else getattr(own, "loss", None)
    if loss is None:
        return
    mean, loss = kind.mean_loss(predictions, labels).item(), loss.float().mean().item()
    tolerance = COARSE if in_16_bits else TOLERANCE.get(predictions.dtype, COARSE)
    if abs(mean - loss) > tolerance * max(1.0, abs(loss)):
        raise BadInput(
            f"{type(bare).__name__} is read as {kind.key}, with a loss of {mean:.6g} on the first batch, but its own "
            f"loss there is {loss:.6g}. Methods need the plain loss of that kind, of each row: turn off what else "
            "the model adds or weighs, or use a model whose labels are read in that way."
        )


def _own_outputs(model: torch.nn.Module, inputs: Mapping[str, Any]) -> Any:
    try:
        return model(**inputs)
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        if should_reduce_batch_size(error):  # out of memory
            raise
        # As for an image classifier of one's own, whose loss transformers chooses by the name of its class.
        logger.warning(
            "%s cannot compute its own loss of a batch, which evaluate() needs: %s",
            type(bare_model(model)).__name__,
            (str(error).strip().splitlines() or [type(error).__name__])[0],
        )
        return None
