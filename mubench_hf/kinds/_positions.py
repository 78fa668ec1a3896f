"""What kinds have in common whose labels stand at positions of a text: losses over the positions that are scored."""

from __future__ import annotations

from torch import Tensor

from mubench_hf.kinds._base import Kind, Reduction
from mubench_hf.kinds._losses import IGNORED, row_cross_entropy, row_kl


class PositionKind(Kind):
    """Cross-entropy and KL divergence, over a row's label positions."""

    def row_losses(self, predictions: Tensor, labels: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the cross-entropy of each row's label tokens: nats per token, or of the whole target."""
        return row_cross_entropy(predictions, labels, reduction)

    def mean_loss(self, predictions: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy over the label tokens of all rows together, in nats per token."""
        return self.row_losses(predictions, labels, "sum").sum() / (labels != IGNORED).sum()

    def row_log_likelihoods(self, predictions: Tensor, labels: Tensor, reduction: Reduction = "sum") -> Tensor:
        """Return the log-probability of each row's target, in nats, or its mean per token."""
        return -row_cross_entropy(predictions, labels, reduction)

    def row_divergences(self, teacher: Tensor, student: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Return the mean of ``T^2 KL_T(teacher || student)`` over each row's label tokens, in nats per token."""
        return row_kl(teacher, student, temperature, labels)
