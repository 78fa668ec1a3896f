"""What kinds have in common whose labels stand at positions of a text: losses over the positions that are scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from mubench_hf.errors import BadInput
from mubench_hf.kinds._base import Kind, Reduction
from mubench_hf.kinds._labels import label_name
from mubench_hf.kinds._losses import IGNORED, row_cross_entropy, row_kl
from mubench_hf.kinds._reading import labels_in


class PositionKind(Kind):
    """Cross-entropy and KL divergence, over a row's label positions."""

    def row_losses(self, predictions: Tensor, labels: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the cross-entropy of each row's label tokens: nats per token, or of the whole target."""
        return row_cross_entropy(predictions, labels, reduction)

    def mean_loss(self, predictions: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy over the label tokens of all rows together, in nats per token."""
        return self.row_losses(predictions, labels, "sum").sum() / (labels != IGNORED).sum()

    def check_collated(self, row: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Check that the scored labels are the row's, which some collators write over.

        Raises:
            BadInput: If they are others.
        """
        given, made = (np.asarray(labels).ravel() for labels in (row[label_name(row)], labels_in(batch)))
        if not np.array_equal(given[given != IGNORED], made[made != IGNORED]):
            raise BadInput(
                "The data_collator makes labels of its own and leaves out the row's, so a random target would be lost. "
                "Give one that keeps them, such as DataCollatorForSeq2Seq(tokenizer)."
            )

    def row_log_likelihoods(self, predictions: Tensor, labels: Tensor, reduction: Reduction = "sum") -> Tensor:
        """Return the log-probability of each row's target, in nats, or its mean per token."""
        return -row_cross_entropy(predictions, labels, reduction)

    def row_divergences(self, teacher: Tensor, student: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Return the mean of ``T^2 KL_T(teacher || student)`` over each row's label tokens, in nats per token."""
        return row_kl(teacher, student, temperature, labels)
