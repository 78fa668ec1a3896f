"""Pure per-row losses. A method's loss is a mean of these over the rows it names.

Shapes: ``logits`` float ``[rows, classes]``, ``labels`` int ``[rows]``; every function returns float32 ``[rows]``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def row_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return ``-log softmax(logits)[label]`` of each row, in nats, at least 0."""
    return F.cross_entropy(logits.float(), labels, reduction="none")


def row_kl(teacher_logits: Tensor, student_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return ``T^2 KL(softmax(teacher / T) || softmax(student / T))`` of each row, in nats, at least 0.

    The square of the temperature keeps the gradient's size independent of it (arXiv 1503.02531, section 2.1). Both
    sides are log-probabilities, so the value is finite for finite logits and does not change when a constant is added
    to a row's logits.
    """
    teacher = F.log_softmax(teacher_logits.float() / temperature, dim=-1)
    student = F.log_softmax(student_logits.float() / temperature, dim=-1)
    return temperature**2 * (teacher.exp() * (teacher - student)).sum(-1)


def mean_where(losses: Tensor, where: Tensor, count: Tensor | None = None) -> Tensor:
    """Return the sum of ``losses`` at the rows ``where`` is true over ``count`` such rows; 0 where there are none.

    Args:
        losses: ``[rows]``.
        where: bool ``[rows]``.
        count: Number of such rows in the whole optimizer update. Micro-batches and processes that share an update
            then add up to its mean. Default: their number in this batch.
    """
    count = where.sum() if count is None else count
    return torch.where(where, losses, 0.0).sum() / count.clamp(min=1)
