"""Pillow's resize of 8-bit images, in the same whole numbers, for whole batches and on any device.

Pillow weighs pixels in integers: weights with 22 binary digits after the point, first along rows, then along columns,
rounded to 8 bits after each (``Resample.c``). So nothing depends on the order of sums, and the result is the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from PIL.Image import Resampling
from torch import Tensor

PRECISION = 22
"""Binary digits of a weight after the point."""


def _box(x: float) -> float:
    return 1.0 if -0.5 < x <= 0.5 else 0.0


def _bilinear(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def _bicubic(x: float) -> float:
    x, a = abs(x), -0.5
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2.0 else 0.0


def _lanczos(x: float) -> float:
    def sinc(x: float) -> float:
        return 1.0 if x == 0.0 else math.sin(x * math.pi) / (x * math.pi)

    return sinc(x) * sinc(x / 3) if -3.0 <= x < 3.0 else 0.0


FILTERS: dict[int, tuple[Callable[[float], float], float]] = {
    Resampling.BOX: (_box, 0.5),
    Resampling.BILINEAR: (_bilinear, 1.0),
    Resampling.BICUBIC: (_bicubic, 2.0),
    Resampling.LANCZOS: (_lanczos, 3.0),
}
"""Filter → its function and how far it reaches. ``NEAREST`` picks pixels by other rules, and the weights of ``HAMMING``
hang on the last digit of a sine."""

NARROW = 100
"""How many times as high as wide an image is at most; Pillow turns the order of the two passes round past that."""


def resize(images: Tensor, height: int, width: int, resample: int) -> Tensor:
    """Return what ``PIL.Image.resize((width, height), resample)`` makes of each image, bit for bit.

    Args:
        images: uint8 ``[..., rows, columns]``, channels as images of their own.
        height: Rows wanted.
        width: Columns wanted.
        resample: One of ``FILTERS``.

    Images are at most ``NARROW`` times as high as wide.

    Returns:
        uint8 ``[..., height, width]``, on the same device.
    """
    shape = images.shape
    images = images.reshape(-1, *shape[-2:])
    if width != shape[-1]:
        images = _pass(images, 2, width, resample)
    if height != shape[-2]:
        images = _pass(images, 1, height, resample)
    return images.reshape(*shape[:-2], height, width)


def _pass(images: Tensor, axis: int, size: int, resample: int) -> Tensor:
    """Resize along one axis."""
    places, weights = _on(images.device, images.shape[axis], size, resample)
    shape = [1, 1, 1]
    shape[axis] = size
    total = None
    for place, weight in zip(places, weights, strict=True):
        part = images.index_select(axis, place).to(torch.int32).mul_(weight.view(shape))
        total = part.add_(1 << (PRECISION - 1)) if total is None else total.add_(part)
    return total.bitwise_right_shift_(PRECISION).clamp_(0, 255).to(torch.uint8)


@cache
def _on(device: torch.device, size: int, wanted: int, resample: int) -> tuple[Tensor, Tensor]:
    """Return ``weights_of`` on a device, one row per neighbour."""
    places, weights = weights_of(size, wanted, resample)
    return (
        torch.tensor(places, dtype=torch.int64).T.contiguous().to(device),
        torch.tensor(weights, dtype=torch.int32).T.contiguous().to(device),
    )


def weights_of(size: int, wanted: int, resample: int) -> tuple[list[list[int]], list[list[int]]]:
    """Return, for each pixel wanted along an axis, the pixels it is made of and their weights.

    All have as many as the one of most; weights of others are 0.

    Args:
        size: Pixels there are.
        wanted: Pixels wanted.
        resample: One of ``FILTERS``.
    """
    function, reach = FILTERS[resample]
    scale = size / wanted
    stretched = max(scale, 1.0)
    support = reach * stretched
    rows: list[tuple[int, list[int]]] = []
    for place in range(wanted):
        centre = (place + 0.5) * scale
        first, last = max(0, int(centre - support + 0.5)), min(size, int(centre + support + 0.5))
        values = [function((x - centre + 0.5) * (1.0 / stretched)) for x in range(first, last)]
        total = 0.0
        for value in values:
            total += value
        shares = [value / total if total else value for value in values]
        rows.append((first, [int(share * (1 << PRECISION) + math.copysign(0.5, share)) for share in shares]))
    most = max(len(weights) for _, weights in rows)
    places = [[min(first + offset, size - 1) for offset in range(most)] for first, _ in rows]
    return places, [[*weights, *[0] * (most - len(weights))] for _, weights in rows]
