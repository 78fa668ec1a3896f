"""The largest gradients of a model, to the exact count, by counting their bits: no sort, no copy of them all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from mubench_hf.errors import BadInput

DIGIT = 16
"""Bits of one pass: each counts into 65,536 bins, the first into half of them, since the sign is left out."""

CPU_PART, DEVICE_PART = 1 << 15, 1 << 24
"""Numbers that are worked on at a time: on a CPU as many as its cache holds with their bits, counts and indices."""


def saliency_masks(
    gradients: Mapping[str, Tensor], density: float, group: dist.ProcessGroup | None = None
) -> dict[str, Tensor]:
    """Return bool masks of the ``round(density * weights)`` largest ``|gradient|`` over all tensors together.

    Radix selection: the bits of a number without its sign order as whole numbers do, so the threshold is found from
    the histogram of their first 16 bits, then of the next 16 of those that share the threshold's first, and so on.
    Weights that tie with the threshold are taken in tensor order until the count is exact: if most gradients are zero,
    a threshold alone would take everything. Not a number counts as larger than infinity.

    In addition to its result it takes one byte a weight and the memory of one part.

    Args:
        gradients: Name → gradient, any shape and floating-point type; summed over all rows before the absolute value
            is taken.
        density: Share of weights to take, in (0, 1].
        group: Processes that each hold a part of every tensor, the first rows first. The histograms are summed over
            them, so that each process gets its part of the masks of whole tensors. Default: tensors are whole.

    Raises:
        BadInput: If ``density`` is outside (0, 1].
    """
    if not 0 < density <= 1:
        raise BadInput(f"density is {density}; it is the share of weights that may move, so above 0 and at most 1.")
    masks = {name: torch.zeros(each.shape, dtype=torch.bool, device=each.device) for name, each in gradients.items()}
    device = next(iter(gradients.values())).device
    kind = torch.float64 if any(each.dtype == torch.float64 for each in gradients.values()) else torch.float32
    total = _summed(torch.tensor(sum(each.numel() for each in gradients.values()), device=device), group)
    keep = round(density * int(total))
    if not keep:
        return masks
    threshold, larger, equal = _threshold(gradients, kind, keep, group)
    for name, gradient in gradients.items():
        for start, bits in _parts(gradient, kind):
            masks[name].view(-1)[start : start + len(bits)] = bits >= threshold
    if larger + equal > keep:
        _leave_out_ties(masks, gradients, kind, threshold, keep - larger, group)
    return masks


def _leave_out_ties(
    masks: dict[str, Tensor],
    gradients: Mapping[str, Tensor],
    kind: torch.dtype,
    threshold: int,
    keep: int,
    group: dist.ProcessGroup | None,
) -> None:
    """Keep in the masks the first ``keep`` of the weights whose bits are the threshold's."""
    places = [
        torch.cat([(bits == threshold).nonzero().flatten() + start for start, bits in _parts(gradient, kind)])
        for gradient in gradients.values()
    ]
    ties = torch.tensor([len(each) for each in places], device=places[0].device)
    # In tensor order: tensor by tensor, and within each process by process.
    of_each = _of_each(ties, group)
    before = of_each.T.flatten().cumsum(0).view(of_each.T.shape).T - of_each
    rank = dist.get_rank(group) if group else 0
    for mask, place, earlier in zip(masks.values(), places, before[rank].tolist(), strict=True):
        mask.view(-1)[place[max(0, keep - earlier) :]] = False


def _threshold(
    gradients: Mapping[str, Tensor], kind: torch.dtype, keep: int, group: dist.ProcessGroup | None
) -> tuple[int, int, int]:
    """Return the bits of the ``keep``-th largest number without its sign, how many are larger, and how many equal."""
    width = torch.finfo(kind).bits
    device = next(iter(gradients.values())).device
    prefix = above = equal = 0
    for shift in range(width - DIGIT, -1, -DIGIT):
        first = shift == width - DIGIT
        counts = torch.zeros(1 << (DIGIT - first), dtype=torch.int64, device=device)
        for gradient in gradients.values():
            for _, bits in _parts(gradient, kind):
                if first:
                    counts += torch.bincount(bits >> shift, minlength=len(counts))
                else:  # Mostly few: as many bins need not be read for them.
                    rest = bits[bits >> (shift + DIGIT) == prefix] & ((1 << (shift + DIGIT)) - 1)
                    counts.index_add_(0, rest >> shift, torch.ones_like(rest, dtype=torch.int64))
        from_top = _summed(counts, group).flip(0)
        passed = above + from_top.cumsum(0)
        place = int((passed < keep).sum())
        above, equal = int(passed[place] - from_top[place]), int(from_top[place])
        prefix = (prefix << DIGIT) | (len(counts) - 1 - place)
    return prefix, above, equal


def _parts(gradient: Tensor, kind: torch.dtype) -> Iterator[tuple[int, Tensor]]:
    """Yield parts of a flattened tensor: where each begins, and the bits of its numbers without the sign."""
    whole = torch.int64 if kind == torch.float64 else torch.int32
    size = CPU_PART if gradient.device.type == "cpu" else DEVICE_PART
    flat = gradient.detach().reshape(-1)
    for start in range(0, max(1, len(flat)), size):
        yield start, flat[start : start + size].to(kind).view(whole) & torch.iinfo(whole).max


def _summed(counts: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    if group:
        dist.all_reduce(counts, group=group)
    return counts


def _of_each(counts: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """Return the counts of every process, ``[processes, tensors]``."""
    if not group:
        return counts[None]
    found = [torch.empty_like(counts) for _ in range(dist.get_world_size(group))]
    dist.all_gather(found, counts, group=group)
    return torch.stack(found)
