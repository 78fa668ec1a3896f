"""8-bit pixels, and how they become what a model's processor makes of them: exact resize and crop, then a look-up.

Rescaling and normalising an 8-bit image is a function of 256 values per channel, so a table of what the processor
itself made of them gives the same bits. Nothing here is trusted by itself: whoever stores pixels compares every row.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mubench_hf.data.resizing import FILTERS, NARROW, resize

STEPS = ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_pad")
"""What an image processor does, as its settings call it."""


@dataclass(frozen=True)
class PixelRecipe:
    """How stored pixels become a model's ``pixel_values``.

    Attributes:
        values: float32 ``[channels, 256]``, as bytes: what each 8-bit value becomes.
        resized: Height, width and filter of the resize; ``None`` if pixels are stored as large as the model reads them.
        cut: Top, left, height and width of what is kept after that.
    """

    values: bytes
    resized: tuple[int, int, int] | None = None
    cut: tuple[int, int, int, int] | None = None

    def shaped(self, stored: Tensor) -> Tensor:
        """Return stored pixels, uint8 ``[..., channels, height, width]``, at the size that the model reads."""
        if self.resized:
            stored = resize(stored, *self.resized)
        if self.cut:
            top, left, height, width = self.cut
            stored = stored[..., top : top + height, left : left + width]
        return stored

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width, at the size that the model reads, of pixels stored at a size."""
        if self.cut:
            return self.cut[2:]
        return self.resized[:2] if self.resized else (height, width)

    def __call__(self, stored: Tensor) -> Tensor:
        """Return ``pixel_values``, float32 ``[..., channels, height, width]``, of stored pixels, on their device."""
        if stored.device.type == "cpu" and stored.ndim > 3:
            # A single picture's numbers stay in the processor's cache.
            return torch.stack([self(part) for part in stored])
        return _looked_up(self.shaped(stored), self.values)


def _looked_up(pixels: Tensor, values: bytes) -> Tensor:
    table = _table(values, pixels.device)
    channels = [
        table[channel].index_select(0, part.flatten().int()).view(part.shape)
        for channel, part in enumerate(pixels.unbind(-3))
    ]
    return torch.stack(channels, -3)


@cache
def _table(values: bytes, device: torch.device) -> Tensor:
    return torch.from_numpy(np.frombuffer(values, np.float32).reshape(-1, 256).copy()).to(device)


class StoredPixels:
    """A batch's pixels as they are stored, which ``to`` makes into ``pixel_values`` on the device they are needed on.

    Args:
        stored: uint8 ``[rows, ..., channels, height, width]``.
        recipe: What becomes of them.
    """

    def __init__(self, stored: Tensor, recipe: PixelRecipe):
        self.stored, self.recipe = stored, recipe

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.stored)

    @property
    def shape(self) -> torch.Size:
        """The shape of the ``pixel_values``."""
        *others, height, width = self.stored.shape
        return torch.Size((*others, *self.recipe.sides(height, width)))

    def numel(self) -> int:
        """Return how many numbers ``pixel_values`` has, which ``Trainer`` counts."""
        return self.shape.numel()

    def to(self, device: Any, non_blocking: bool = False) -> Tensor:
        """Return ``pixel_values`` on ``device``, float32 ``[rows, ..., channels, height, width]``."""
        return self.recipe(self.stored.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> StoredPixels:
        """Return the same in memory that a device can read by itself."""
        return StoredPixels(self.stored.pin_memory(), self.recipe)


def made_of_stored(batch: Mapping[str, Any], device: Any) -> Mapping[str, Any]:
    """Return a batch in which no pixels are as they are stored, for where nothing moved it to its device before."""
    if not any(isinstance(value, StoredPixels) for value in batch.values()):
        return batch
    return {name: value.to(device) if isinstance(value, StoredPixels) else value for name, value in batch.items()}


class Values:
    """What each 8-bit value becomes, as far as rows have shown.

    Args:
        channels: Number of channels.
    """

    def __init__(self, channels: int):
        self.values = torch.full((channels, 256), math.nan)

    def learn(self, pixels: Tensor, made: Tensor) -> bool:
        """Take in what became of some pixels; return whether all of it is a function of channel and value.

        Args:
            pixels: uint8 ``[..., channels, height, width]``.
            made: float32 of that shape.
        """
        if pixels.shape != made.shape or pixels.dtype != torch.uint8 or made.dtype != torch.float32:
            return False
        for table, value, become in zip(self.values, pixels.unbind(-3), made.unbind(-3), strict=True):
            place, found = value.flatten().int(), become.flatten()
            if _same_bits(table.index_select(0, place), found):
                continue
            new = table.isnan() & (torch.bincount(place, minlength=256) > 0)
            latest = table.scatter(0, place.long(), found)
            table.copy_(torch.where(new, latest, table))
            if found.isnan().any() or not _same_bits(table.index_select(0, place), found):
                return False
        return True

    def bytes(self) -> bytes:
        """Return them as a recipe has them; values that no row showed become 0."""
        return torch.where(self.values.isnan(), 0.0, self.values).numpy().tobytes()


def _same_bits(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.view(torch.int32), other.contiguous().view(torch.int32))


def image_part(processor: Any) -> Any:
    """Return the part of a processor that reads images, or ``None``."""
    part = getattr(processor, "image_processor", processor)
    return part if hasattr(part, "do_resize") and hasattr(part, "do_rescale") else None


def without_steps(processor: Any) -> Any:
    """Return a copy of a processor that hands pixels on as they come."""
    made = copy.deepcopy(processor)
    for step in STEPS:
        if hasattr(image_part(made), step):
            setattr(image_part(made), step, False)
    return made


def unscaled(processor: Any, made: Tensor) -> Tensor:
    """Return the 8-bit pixels that ``made`` seems to come from; looking up tells whether it does.

    Args:
        processor: The processor that made it.
        made: float32 ``[..., channels, height, width]``.
    """
    part, channels = image_part(processor), made.shape[-3]
    scale = float(part.rescale_factor) if part.do_rescale else 1.0
    mean, deviation = (
        torch.as_tensor(getattr(part, name) if part.do_normalize else neutral, dtype=torch.float32)
        .expand(channels)
        .view(-1, 1, 1)
        for name, neutral in (("image_mean", 0.0), ("image_std", 1.0))
    )
    return made.mul(deviation).add_(mean).mul_(1 / scale).round_().clamp_(0, 255).to(torch.uint8)


def steps_of(processor: Any, height: int, width: int) -> tuple[Any, Any] | None:
    """Return ``resized`` and ``cut`` of a recipe, as a processor's settings say for images of one size.

    Args:
        processor: The processor.
        height: Rows of an image before it.
        width: Columns.

    Returns:
        ``None`` if these settings are not known to mean one.
    """
    part = image_part(processor)
    share = getattr(part, "crop_pct", None) if part.do_resize else None
    crops = [_sides(part.crop_size)] if getattr(part, "do_center_crop", None) else []
    if getattr(part, "do_pad", None) or (share and crops):
        return None
    resized, cut = None, None
    if part.do_resize:
        edge, sides = _side(part.size, "shortest_edge"), _sides(part.size)
        if edge and share and edge < WARPED:
            sides, crops = _by_shortest(height, width, int(edge / share)), [(edge, edge)]
        elif edge and share:
            sides = (edge, edge)
        elif edge and not _side(part.size, "longest_edge"):
            sides = _by_shortest(height, width, edge)
        if sides is None or part.resample not in FILTERS or height > NARROW * width:
            return None
        resized, (height, width) = (*sides, int(part.resample)), sides
    for sides in crops:
        if sides is None or sides[0] > height or sides[1] > width:
            return None  # What is too small is filled up with black.
        cut = ((height - sides[0]) // 2, (width - sides[1]) // 2, *sides)
    return resized, cut


WARPED = 384
"""From this edge on, processors with a share to crop resize without cropping."""


def _by_shortest(height: int, width: int, edge: int) -> tuple[int, int]:
    """Return height and width of an image whose shorter side becomes ``edge``."""
    other = int(edge * max(height, width) / min(height, width))
    return (other, edge) if width <= height else (edge, other)


def _sides(size: Any) -> tuple[int, int] | None:
    height, width = _side(size, "height"), _side(size, "width")
    return (height, width) if height and width else None


def _side(size: Any, name: str) -> int | None:
    return size.get(name) if isinstance(size, Mapping) else getattr(size, name, None)
