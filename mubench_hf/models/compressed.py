"""Copies of a model whose weights are kept in a few bits, or of which the smallest are gone."""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.nn.utils import prune
from transformers.pytorch_utils import Conv1D

from mubench_hf.errors import BadInput

LAYERS = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d, Conv1D)
"""Layers whose weights are compressed: a row of these is what makes one output. Biases, norms and embeddings stay."""

BITS = (8, 4)
GROUP = 32
"""Weights that share a scale at 4 bits, where a row divides into such groups."""


@dataclass(frozen=True)
class Compression:
    """What was done to a model.

    Attributes:
        how: The library's function.
        granularity: What shares a scale, or competes for being kept.
        changed: Number of weights that it was done to.
        weights: Number of all weights of the model.
    """

    how: str
    granularity: str
    changed: int
    weights: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return asdict(self)


def quantised(model: torch.nn.Module, bits: int) -> tuple[torch.nn.Module, Compression]:
    """Return a copy of a model whose layers' weights are rounded to signed integers times a scale, and what was done.

    Weights alone are quantised, round to nearest and symmetric, as `torchao` does: at 8 bits with a scale for each
    output, at 4 bits for each ``GROUP`` of an output's weights. The copy holds the rounded values as floats, so that
    layers of any kind compute with them on any device; kernels that compute with integers differ in the last digits of
    a sum.

    Args:
        model: The model; it is not changed.
        bits: One of ``BITS``.

    Raises:
        BadInput: If ``bits`` is another number, or the model has no such layer.
        ModuleNotFoundError: If `torchao` is not installed.
    """
    if bits not in BITS:
        raise BadInput(f"{bits} bits are asked for. Allowed: {' or '.join(map(str, BITS))}.")
    made = copy.deepcopy(model)
    layers = compressible(made)
    with torch.no_grad():
        for layer in layers:
            rows = _rows(layer)
            rows.copy_(_rounded(rows, bits))
            layer.weight.copy_(_unrolled(rows, layer))
    shared = "each output" if bits == 8 else f"{GROUP} weights of an output, or all where these do not divide into such"
    return made, _done(made, layers, f"torchao {_torchao().__version__}, symmetric, weights only", shared)


def _rounded(rows: torch.Tensor, bits: int) -> torch.Tensor:
    """Return rows ``[outputs, weights]`` as they are after they were kept in so many bits."""
    functions = _torchao().quantization
    size = rows.shape[1]
    block = (1, GROUP if bits == 4 and size % GROUP == 0 else size)
    limits = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    symmetric = functions.quant_primitives.MappingType.SYMMETRIC
    scale, zero = functions.choose_qparams_affine(rows, symmetric, block, torch.int8, *limits)
    kept = functions.quantize_affine(rows, block, scale, zero, torch.int8, *limits)
    return functions.dequantize_affine(kept, block, scale, zero, torch.int8, *limits, output_dtype=rows.dtype)


def pruned(model: torch.nn.Module, share: float) -> tuple[torch.nn.Module, Compression]:
    """Return a copy of a model without the smallest weights of its layers, and what was done.

    The smallest by absolute value, of all layers together, are set to 0.

    Args:
        model: The model; it is not changed.
        share: Share of the layers' weights that is removed, above 0 and below 1; their number is rounded to nearest.

    Raises:
        BadInput: If the share is another number, or the model has no such layer.
    """
    if not 0 < share < 1:
        raise BadInput(f"The share to prune is {share}. Allowed: a number above 0 and below 1, such as 0.3.")
    made = copy.deepcopy(model)
    layers = compressible(made)
    prune.global_unstructured([(layer, "weight") for layer in layers], prune.L1Unstructured, amount=share)
    for layer in layers:
        prune.remove(layer, "weight")
    return made, _done(made, layers, "torch.nn.utils.prune.global_unstructured, L1Unstructured", "all layers together")


def compressible(model: torch.nn.Module) -> list[Any]:
    """Return the layers of a model whose weights are compressed, each weight once.

    Weights that an embedding shares, such as those of a tied head, stay: they are the embedding's too.

    Raises:
        BadInput: If there are none, or they are quantised already.
    """
    if getattr(model, "is_quantized", False):
        raise BadInput(f"{type(model).__name__} is quantised already. Give the model in its own precision.")
    others = {
        id(weight)
        for module in model.modules()
        if not isinstance(module, LAYERS)
        for weight in module.parameters(recurse=False)
    }
    found: dict[int, torch.nn.Module] = {}
    for module in model.modules():
        if isinstance(module, LAYERS) and id(module.weight) not in others:
            found.setdefault(id(module.weight), module)
    if not found:
        raise BadInput(f"{type(model).__name__} has no linear or convolutional layer whose weights are its own.")
    return [*found.values()]


def _rows(layer: Any) -> torch.Tensor:
    """Return a copy of a layer's weights, a row for each output."""
    weight = layer.weight.detach().clone()
    return weight.t().contiguous() if isinstance(layer, Conv1D) else weight.flatten(1)


def _unrolled(rows: torch.Tensor, layer: Any) -> torch.Tensor:
    return rows.t() if isinstance(layer, Conv1D) else rows.reshape(layer.weight.shape)


def _done(model: torch.nn.Module, layers: list[Any], how: str, granularity: str) -> Compression:
    changed = sum(math.prod(layer.weight.shape) for layer in layers)
    return Compression(how, granularity, changed, sum(weight.numel() for weight in model.parameters()))


def check_can_quantise() -> None:
    """Check that the library is there.

    Raises:
        BadInput: If it is not.
    """
    try:
        _torchao()
    except ModuleNotFoundError as error:
        raise BadInput(
            "Fewer bits need the package 'torchao', which is not installed. Run: pip install 'mubench_hf[audit]', or "
            "leave the part quantise out, by --parts and the others."
        ) from error


def _torchao() -> Any:
    with _quiet():
        import torchao
        import torchao.quantization.quant_primitives

    return torchao


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep `torchao` from saying, when it is imported, which of its kernels are for other machines."""
    loggers = [logging.getLogger(name) for name in ("torchao", "torch.utils._pytree")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
