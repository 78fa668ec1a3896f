"""Regression: one or more numbers per row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from mubench_hf.errors import BadInput
from mubench_hf.kinds._donors import with_other_label
from mubench_hf.kinds._hierarchy import problem_of
from mubench_hf.kinds._reading import labels_in, row_logits, shape, without_labels
from mubench_hf.kinds._squared import SquaredErrorKind

if TYPE_CHECKING:
    from torch.utils.data import Dataset


class Regression(SquaredErrorKind):
    """Squared error of the predicted numbers; from a teacher, squared distance."""

    key = "regression"
    no_likelihood = "predicts numbers and gives them"
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

    def retarget(self, row: Mapping[str, Any], drawn: int, rows: Dataset, num_labels: int | None) -> dict[str, Any]:
        """Return the row with the numbers of row ``drawn``, or of the next whose numbers are others."""
        return with_other_label(row, drawn, rows)
