"""Regression: one or more numbers per row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from mubench_hf.errors import BadInput
from mubench_hf.kinds._base import Reduction
from mubench_hf.kinds._donors import DonorKind, other_target
from mubench_hf.kinds._hierarchy import problem_of
from mubench_hf.kinds._labels import label_name
from mubench_hf.kinds._losses import row_squared_error
from mubench_hf.kinds._reading import labels_in, row_logits, shape, without_labels

if TYPE_CHECKING:
    from torch.utils.data import Dataset


class Regression(DonorKind):
    """Squared error of the predicted numbers; from a teacher, squared distance."""

    key = "regression"
    of_problem = True
    keeps_outputs = True

    def reads(self, model: Any, label: Any = None) -> bool:
        """Return whether the model predicts numbers."""
        return problem_of(model, label) == "regression"

    def check_labels(self, name: str, labels: Sequence[Any], num_labels: int | None) -> None:
        """Check that every row has as many finite numbers as the model predicts.

        Raises:
            BadInput: If one has not.
        """
        for place, label in enumerate(labels):
            values = np.asarray(label)
            numbers = values.dtype.kind in "iuf" and np.isfinite(values).all()
            if not numbers or (num_labels is not None and values.size != num_labels):
                raise BadInput(
                    f"{name} has label {str(values.tolist())[:60]} (row {place}); the model predicts {num_labels} "
                    "numbers, so every row needs as many, all finite."
                )

    def run(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Any, Tensor, Tensor]:
        """Return outputs, predictions ``[rows, numbers]`` and labels of that shape; the model is not shown them.

        Raises:
            BadInput: If labels or predictions have another shape.
        """
        labels = labels_in(inputs)
        outputs = model(**without_labels(inputs))
        predicted = row_logits(outputs, model, self.key)
        if labels.shape != predicted.shape and not (labels.ndim == 1 and labels.numel() == predicted.numel()):
            raise BadInput(
                f"Labels of shape {shape(labels)} stand beside predictions of shape {shape(predicted)}; a model for "
                "regression needs as many numbers in every row as it predicts. For classes, set num_labels, or the "
                "model's config.problem_type to single_label_classification."
            )
        return outputs, predicted, labels.reshape(predicted.shape).to(predicted.dtype)

    def row_losses(self, predictions: Tensor, labels: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the squared error of each row, its mean or sum over a row's numbers."""
        return row_squared_error(predictions, labels, reduction)

    def row_log_likelihoods(self, predictions: Tensor, labels: Tensor, reduction: Reduction = "sum") -> Tensor:
        """Refuse: a predicted number says nothing of how likely others are.

        Raises:
            BadInput: Always.
        """
        raise BadInput(
            "A model for regression predicts numbers and gives them no log-likelihood. Use a method that needs none, "
            "or one that reads batch.losses()."
        )

    def row_divergences(self, teacher: Tensor, student: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Return the mean squared distance of each row's two predictions; there is no temperature to apply."""
        return row_squared_error(teacher, student)

    def retarget(self, row: Mapping[str, Any], drawn: int, rows: Dataset, num_labels: int | None) -> dict[str, Any]:
        """Return the row with the numbers of row ``drawn``, or of the next whose numbers are others."""
        name = label_name(row)
        donor = other_target(rows, drawn, lambda other: np.asarray(other[name]), np.asarray(row[name]))
        return {**row, name: donor[name]}
