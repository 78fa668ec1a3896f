"""Values of label positions over a large vocabulary, a chunk of scored positions at a time, with their gradients.

Written out over whole logits, a divergence keeps five tensors of their size: 8.6 GiB at 32 rows of 448 positions over
32,000 tokens. Here a chunk's fit into a cache, positions that are not scored cost nothing, and of the gradient
only the one tensor is made that the model's own backward pass needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from mubench_hf.errors import BadInput

CHUNK_BYTES, DEVICE_CHUNK_BYTES = 1 << 20, 64 << 20
"""Bytes of one model's float32 logits in a chunk, at least one position: what a core's cache holds, and on a device of
its own, where each chunk costs several launches, what is little memory."""


class PerPosition(Protocol):
    """What is computed of a chunk of positions."""

    def __call__(self, *chunk: Tensor, wanted: tuple[bool, ...]) -> tuple[Tensor, list[Tensor | None]]:
        """Return the value of each position and its gradients by the tensors for which they are wanted.

        Args:
            chunk: A chunk of each tensor: ``[positions, classes]``, or ``[positions]`` for labels.
            wanted: For each of them, whether its gradient is wanted.

        Returns:
            Float32 ``[positions]``, and for each tensor ``None`` or the gradient in its shape, which is made of
            tensors that nothing else needs.
        """


def of_scored(function: PerPosition, scored: Tensor, *tensors: Tensor) -> Tensor:
    """Return a function's value at each scored position, float32 ``[rows, positions]``, and 0 at the others.

    Args:
        function: What is computed.
        scored: bool ``[rows, positions]``.
        tensors: Logits ``[rows, positions, classes]``, or labels ``[rows, positions]``; logits first.

    Raises:
        BadInput: When its gradient is taken a second time, or that gradient's gradient is asked for.
    """
    return _OfScored.apply(function, scored, *tensors)


class _OfScored(torch.autograd.Function):
    """The gradients are made with the values, while a chunk's exponentials are at hand."""

    @staticmethod
    def forward(ctx: Any, function: PerPosition, scored: Tensor, *tensors: Tensor) -> Tensor:
        wanted = ctx.needs_input_grad[2:]
        gradients = [torch.zeros_like(one) if asked else None for one, asked in zip(tensors, wanted, strict=True)]
        values = torch.zeros(scored.shape, dtype=torch.float32, device=scored.device)
        for places in _chunks(scored, tensors[0].shape[-1]):
            value, slopes = function(*(tensor[places] for tensor in tensors), wanted=wanted)
            values[places] = value
            for gradient, slope in zip(gradients, slopes, strict=True):
                if gradient is not None and slope is not None:
                    gradient[places] = slope.to(gradient.dtype)
        ctx.gradients = gradients
        return values

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # So it is where a graph of the gradient is asked for, which would lack a part.
            raise BadInput(
                "The gradient of a loss over this many token logits has no gradient of its own. Take it without "
                "create_graph, or in batches of fewer rows."
            )
        if ctx.gradients is None:
            raise BadInput("The gradient of a token loss was taken already. Compute the loss again to take it again.")
        # A gradient is scaled where it lies, or there would be two of the logits' size; so it serves once.
        gradients, ctx.gradients = ctx.gradients, None
        return None, None, *(None if one is None else one.mul_(slope[..., None]) for one in gradients)


def _chunks(scored: Tensor, classes: int) -> Iterator[tuple[int, slice | Tensor]]:
    """Yield a row and some of its scored positions, in order, as many at a time as a chunk holds.

    Positions without a gap, as those of an answer, are a slice, so that nothing is copied.
    """
    size = max(1, (CHUNK_BYTES if scored.device.type == "cpu" else DEVICE_CHUNK_BYTES) // (4 * classes))
    for row, is_scored in enumerate(scored.cpu()):
        for part in is_scored.nonzero()[:, 0].split(size):
            first, last = (int(part[end]) for end in (0, -1)) if len(part) else (0, -1)
            yield row, slice(first, last + 1) if last - first == len(part) - 1 else part.to(scored.device)


def cross_entropy(logits: Tensor, labels: Tensor, *, wanted: tuple[bool, ...]) -> tuple[Tensor, list[Tensor | None]]:
    """Return ``-log softmax(logits)[label]`` of each position; its gradient is ``softmax(logits) - onehot(label)``."""
    logs = F.log_softmax(logits.float(), dim=-1)
    values = -logs.gather(-1, labels[:, None])[:, 0]
    if not wanted[0]:
        return values, [None, None]
    return values, [logs.exp_().scatter_add_(-1, labels[:, None], logs.new_full((len(logs), 1), -1.0)), None]


class Divergence:
    """``T^2 KL(softmax(teacher / T) || softmax(student / T))`` of each position.

    Its gradient by the student's logits is ``T (softmax(student / T) - softmax(teacher / T))``, and by the teacher's
    ``T softmax(teacher / T) (log-ratio - KL)``.
    """

    def __init__(self, temperature: float):
        self.temperature = temperature

    def __call__(
        self, teacher: Tensor, student: Tensor, *, wanted: tuple[bool, ...]
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Return values and gradients; see ``PerPosition``."""
        ours, theirs = (F.log_softmax(logits.float() / self.temperature, dim=-1) for logits in (student, teacher))
        shares = theirs.exp()
        ratios = theirs.sub_(ours)
        values = self.temperature**2 * (ratios * shares).sum(-1)
        by_teacher = by_student = None
        if wanted[1]:
            by_student = ours.exp_().sub_(shares).mul_(self.temperature)
        if wanted[0]:
            by_teacher = ratios.sub_(values[:, None] / self.temperature**2).mul_(shares).mul_(self.temperature)
        return values, [by_teacher, by_student]


def jensen_shannon(one: Tensor, other: Tensor, *, wanted: tuple[bool, ...]) -> tuple[Tensor, list[Tensor | None]]:
    """Return twice the Jensen-Shannon divergence of each position's two distributions, in nats, in [0, 2 ln 2].

    Its gradient by the logits of ``p`` is ``p (log(p / m) - KL(p || m))``, where ``m`` is the middle of both.
    """
    logs = [F.log_softmax(logits.float(), dim=-1) for logits in (one, other)]
    shares = [each.exp() for each in logs]
    # Where both shares are too small for a float32 their middle is no number, and counts for nothing.
    middle = (shares[0] + shares[1]).mul_(0.5).clamp_(min=torch.finfo(torch.float32).tiny).log_()
    total = torch.zeros(len(one), dtype=torch.float32, device=one.device)
    gradients: list[Tensor | None] = []
    for each, share, asked in zip(logs, shares, wanted, strict=True):
        ratios = each.sub_(middle)
        value = (ratios * share).sum(-1)
        total += value
        gradients.append(ratios.sub_(value[:, None]).mul_(share) if asked else None)
    return total, gradients


LEAST_LOG = -1e4
"""What stands for the logarithm of 0 in a sum that it is multiplied by 0 in."""


def log_prob_mean(logits: Tensor, *, wanted: tuple[bool, ...]) -> tuple[Tensor, list[Tensor | None]]:
    """Return the mean of ``log p(v)`` of each position, ``v`` drawn from ``p = softmax(logits)``; without gradient."""
    logs = F.log_softmax(logits.float(), dim=-1).clamp_(min=LEAST_LOG)
    return (logs.exp() * logs).sum(-1), [None]


def log_prob_std(logits: Tensor, *, wanted: tuple[bool, ...]) -> tuple[Tensor, list[Tensor | None]]:
    """Return the standard deviation of ``log p(v)`` of each position, see ``log_prob_mean``; without gradient."""
    logs = F.log_softmax(logits.float(), dim=-1).clamp_(min=LEAST_LOG)
    shares = logs.exp()
    apart = logs.sub_((shares * logs).sum(-1, keepdim=True))
    return apart.square_().mul_(shares).sum(-1).sqrt_(), [None]
