"""Pure per-row losses: over classes, of a row's one label or of its label positions, and over several labels a row.

Shapes: ``logits`` float ``[rows, classes]`` with ``labels`` int ``[rows]``, or ``[rows, positions, classes]`` with
``[rows, positions]``, where a label of -100 marks a position that is not scored. Every function returns float32
``[rows]``; unless said otherwise, a row's value is the mean over its scored positions, and 0 if it has none.

Positions of more than ``WHOLE_BYTES`` of logits are computed in chunks (``_chunked.py``), fewer as they stand here. The
values differ by rounding alone, so the size decides, not the machine. Gradients in chunks can be taken once, and have
none of their own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mubench_hf.kinds._base import Reduction
from mubench_hf.kinds._chunked import Divergence, cross_entropy, jensen_shannon, of_scored

IGNORED = -100
"""Label of a position that is not scored, as everywhere in ``transformers``."""

WHOLE_BYTES = 64 << 20
"""Most bytes of one model's logits, as float32, that a loss over positions is computed of in one piece."""


def row_cross_entropy(logits: Tensor, labels: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Return ``-log softmax(logits)[label]`` of each row, in nats, at least 0: the mean or sum over its positions."""
    if _is_large(logits):
        return _over_positions(of_scored(cross_entropy, labels != IGNORED, logits, labels), labels, reduction)
    losses = F.cross_entropy(logits.float().movedim(-1, 1), labels, reduction="none", ignore_index=IGNORED)
    return _over_positions(losses, labels, reduction)


def row_kl(
    teacher_logits: Tensor, student_logits: Tensor, temperature: float = 1.0, labels: Tensor | None = None
) -> Tensor:
    """Return ``T^2 KL(softmax(teacher / T) || softmax(student / T))`` of each row, in nats, at least 0.

    The square of the temperature keeps the gradient's size independent of it (arXiv 1503.02531, section 2.1). Both
    sides are log-probabilities, so the value is finite for finite logits and does not change when a constant is added
    to a row's logits. ``labels`` say which positions count; they are needed only where there are positions.
    """
    if labels is not None and _is_large(student_logits):
        scored = labels != IGNORED
        return _over_positions(of_scored(Divergence(temperature), scored, teacher_logits, student_logits), labels)
    teacher = F.log_softmax(teacher_logits.float() / temperature, dim=-1)
    student = F.log_softmax(student_logits.float() / temperature, dim=-1)
    return _over_positions(temperature**2 * (teacher.exp() * (teacher - student)).sum(-1), labels)


def row_js(one_logits: Tensor, other_logits: Tensor, labels: Tensor) -> Tensor:
    """Return the Jensen-Shannon divergence of two models' distributions of each row, in bits, in [0, 1]."""
    if _is_large(one_logits):
        both = of_scored(jensen_shannon, labels != IGNORED, one_logits, other_logits)
    else:
        one, other = (F.log_softmax(logits.float(), dim=-1) for logits in (one_logits, other_logits))
        middle = torch.logaddexp(one, other) - torch.log(torch.tensor(2.0))
        both = (one.exp() * (one - middle)).sum(-1) + (other.exp() * (other - middle)).sum(-1)
    return (_over_positions(both, labels) / (2 * torch.log(torch.tensor(2.0)))).clamp(0, 1)


def row_bce(logits: Tensor, labels: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Return the binary cross-entropy of each row's labels, in nats, at least 0: their mean or their sum.

    Args:
        logits: ``[rows, labels]``.
        labels: float ``[rows, labels]``, the probability of each, in [0, 1].
        reduction: Over a row's labels.
    """
    losses = F.binary_cross_entropy_with_logits(logits.float(), labels.float(), reduction="none")
    return losses.sum(1) if reduction == "sum" else losses.mean(1)


def row_bernoulli_kl(teacher_logits: Tensor, student_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the mean of ``T^2 KL(Bernoulli(sigmoid(t / T)) || Bernoulli(sigmoid(s / T)))`` over each row's labels.

    Both are ``[rows, labels]``; nats per label, at least 0 (arXiv 1503.02531, section 2.1, for two classes a label).
    """
    both = (torch.stack([logits, torch.zeros_like(logits)], dim=-1) for logits in (teacher_logits, student_logits))
    teacher, student = (F.log_softmax(logits.float() / temperature, dim=-1) for logits in both)
    return (temperature**2 * (teacher.exp() * (teacher - student)).sum(-1)).mean(1)


def row_squared_error(predicted: Tensor, true: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Return the squared error of each row, the mean or sum over whatever dimensions its values have."""
    errors = (predicted.float() - true.float()).square().flatten(1)
    return errors.sum(1) if reduction == "sum" else errors.mean(1)


def _is_large(logits: Tensor) -> bool:
    """Return whether logits are of positions, and too large for several tensors of their size beside them."""
    return logits.ndim == 3 and 4 * logits.numel() > WHOLE_BYTES


def _over_positions(values: Tensor, labels: Tensor | None, reduction: Reduction = "mean") -> Tensor:
    """Return the mean or sum over each row's scored positions; values without positions are returned as they are."""
    if values.ndim == 1:
        return values
    scored = labels != IGNORED
    total = torch.where(scored, values, 0.0).sum(-1)
    return total if reduction == "sum" else total / scored.sum(-1).clamp(min=1)
