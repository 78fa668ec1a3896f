"""What is trained is kept in 32 bits: in 16, small updates are lost, or overflow into large ones."""

from __future__ import annotations

from typing import TypeVar

import torch

from mubench_hf.errors import BadInput
from mubench_hf.models.bare import bare_model

Model = TypeVar("Model", bound=torch.nn.Module)

MOST_STUCK = 0.1
"""Share of bfloat16 weights that may be too large to be moved by one update of the learning rate's size."""


def has_bfloat16(use_cpu: bool = False) -> bool:
    """Return whether this process trains on a GPU that computes in bfloat16 itself; some only emulate it, slowly.

    Args:
        use_cpu: Whether the CPU is taken whatever else there is.
    """
    return not use_cpu and torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def in_float32(model: Model) -> Model:
    """Return a model with float32 weights, to be trained; values are those that were stored.

    Args:
        model: The model; changed in place.

    Raises:
        BadInput: If it is quantised, so that it has no weights that could be trained.
    """
    if getattr(bare_model(model), "is_quantized", False):
        raise BadInput(
            f"{type(bare_model(model)).__name__} is quantised, so its own weights cannot be trained. Train an adapter "
            "on it (--peft lora), or give the model in its own precision."
        )
    return model if not has_short_weights(model) else model.float()


def has_short_weights(model: torch.nn.Module, *, trained: bool = False) -> bool:
    """Return whether a model has weights of fewer than 32 bits.

    Args:
        model: The model.
        trained: Look only at those that are trained.
    """
    return any(_is_short(weight) for weight in model.parameters() if weight.requires_grad or not trained)


def check_precision(model: torch.nn.Module, learning_rate: float | None) -> None:
    """Refuse to train weights of so few bits that their updates are lost or overflow.

    In float16, Adam's smallest denominator is rounded to 0, so that weights jump. In bfloat16, whose numbers lie at
    least 1/256 of their size apart, a weight stays where it is if an update is less than half of that; one of the
    first updates of Adam is as large as the learning rate.

    Args:
        model: The model.
        learning_rate: Size of an update; ``None`` if the optimizer is the user's own, which may keep what is lost.

    Raises:
        BadInput: If a trained weight is in float16 or shorter, most of bfloat16 would not move, or the model is
            quantised and has no adapter.
    """
    from mubench_hf.models.adapters import is_adapted

    bare = bare_model(model)
    if getattr(bare, "is_quantized", False) and not is_adapted(model):
        raise BadInput(
            f"{type(bare).__name__} is quantised, so its own weights cannot be trained. Add an adapter by "
            "get_peft_model, or give the model in its own precision."
        )
    short = {name: weight for name, weight in model.named_parameters() if weight.requires_grad and _is_short(weight)}
    how = "Train in float32: model.float()"
    if is_adapted(model) or len(short) < sum(1 for _ in model.parameters()):
        how = "Make what is trained float32: weight.data = weight.data.float() for each such weight"
    how += "; bf16=True computes in 16 bits all the same."
    lost = [name for name, weight in short.items() if weight.dtype is not torch.bfloat16]
    if lost:
        kind = str(short[lost[0]].dtype).removeprefix("torch.")
        raise BadInput(
            f"{len(lost)} trained weights are {kind}, such as {lost[0]}: their updates would be lost or overflow. {how}"
        )
    if learning_rate is None or not short:
        return
    size = learning_rate * 4 / torch.finfo(torch.bfloat16).eps
    stuck = sum(int((weight.detach().abs() > size).sum()) for weight in short.values())
    share = stuck / sum(weight.numel() for weight in short.values())
    if share > MOST_STUCK:
        raise BadInput(
            f"{len(short)} trained weights are bfloat16, such as {next(iter(short))}, and at learning_rate "
            f"{learning_rate:g} an update is too small to move {share:.0%} of their values. {how}"
        )


def _is_short(weight: torch.Tensor) -> bool:
    return weight.is_floating_point() and weight.dtype.itemsize < 4
