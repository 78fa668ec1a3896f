"""What kinds have in common whose models predict numbers: squared errors, and no likelihood."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from mubench_hf.errors import BadInput
from mubench_hf.kinds._base import Reduction
from mubench_hf.kinds._donors import DonorKind
from mubench_hf.kinds._losses import row_squared_error


class SquaredErrorKind(DonorKind):
    """Squared error of predicted numbers; from a teacher, squared distance.

    Attributes:
        no_likelihood: What the model predicts and what it gives no likelihood, for an error message.
    """

    no_likelihood: ClassVar[str]

    def row_losses(self, predictions: Tensor, labels: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the squared error of each row, its mean or sum over a row's numbers."""
        return row_squared_error(predictions, labels, reduction)

    def row_log_likelihoods(self, predictions: Tensor, labels: Tensor, reduction: Reduction = "sum") -> Tensor:
        """Refuse: a predicted number says nothing of how likely others are.

        Raises:
            BadInput: Always.
        """
        raise BadInput(
            f"A model for {self.key} {self.no_likelihood} no log-likelihood. Use a method that needs none, or one that "
            "reads batch.losses()."
        )

    def row_divergences(self, teacher: Tensor, student: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Return the mean squared distance of each row's two predictions; there is no temperature to apply."""
        return row_squared_error(teacher, student)
