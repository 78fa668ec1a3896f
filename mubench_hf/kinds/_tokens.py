"""What kinds of text have in common: losses over label positions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from mubench_hf.kinds._base import Kind, Reduction
from mubench_hf.kinds._losses import row_cross_entropy, row_kl


class TokenKind(Kind):
    """Cross-entropy and KL divergence, over a row's label positions."""

    def row_losses(self, predictions: Tensor, labels: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the cross-entropy of each row's label tokens: nats per token, or of the whole target."""
        return row_cross_entropy(predictions, labels, reduction)

    def row_log_likelihoods(self, predictions: Tensor, labels: Tensor, reduction: Reduction = "sum") -> Tensor:
        """Return the log-probability of each row's target, in nats, or its mean per token."""
        return -row_cross_entropy(predictions, labels, reduction)

    def row_divergences(self, teacher: Tensor, student: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Return the mean of ``T^2 KL_T(teacher || student)`` over each row's label tokens, in nats per token."""
        return row_kl(teacher, student, temperature, labels)

    def draw_targets(self, is_forget: np.ndarray, num_labels: int | None, rng: np.random.Generator) -> np.ndarray:
        """Draw a row of D_r for each row, uniformly: the one whose target it takes."""
        return rng.choice(np.flatnonzero(~is_forget), size=len(is_forget))

    @abstractmethod
    def prompt(self, row: Mapping[str, Any]) -> list[int]:
        """Return the tokens of a prepared row that a text is generated from."""
