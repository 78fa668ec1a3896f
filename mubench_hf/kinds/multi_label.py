"""Multi-label classification: several labels per row, each of them true or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from mubench_hf.errors import BadInput
from mubench_hf.kinds._base import Reduction
from mubench_hf.kinds._donors import DonorKind, with_other_label
from mubench_hf.kinds._hierarchy import problem_of
from mubench_hf.kinds._losses import row_bce, row_bernoulli_kl
from mubench_hf.kinds._reading import dtype, labels_in, row_logits, shape, without_labels

if TYPE_CHECKING:
    from torch.utils.data import Dataset


class MultiLabel(DonorKind):
    """Binary cross-entropy and Bernoulli KL divergence, as their mean over a row's labels."""

    key = "multi_label"
    of_problem = True
    keeps_outputs = True

    def reads(self, model: Any, label: Any = None) -> bool:
        """Return whether the model gives rows any of several labels."""
        return problem_of(model, label) == "multi_label_classification"

    def check_labels(self, name: str, labels: Sequence[Any], num_labels: int | None) -> None:
        """Check that every row has a number in [0, 1] for each label.

        Raises:
            BadInput: If one has not.
        """
        for place, label in enumerate(labels):
            values = np.asarray(label)
            wrong = None
            if values.dtype.kind != "f":
                wrong = "no fractions, which the model's own loss needs: write 1.0 and 0.0"
            elif num_labels is not None and values.shape != (num_labels,):
                wrong = f"of shape {list(values.shape)}, but the model has num_labels={num_labels}"
            elif not ((values >= 0) & (values <= 1)).all():
                wrong = "outside 0 to 1"
            if wrong:
                raise BadInput(
                    f"{name} has labels {str(values.tolist())[:60]} (row {place}), {wrong}. A multi-label model needs "
                    "one number from 0.0 to 1.0 for each label in every row."
                )

    def run(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Any, Tensor, Tensor]:
        """Return outputs, logits ``[rows, labels]`` and labels of that shape; the model is not shown the labels.

        Raises:
            BadInput: If labels or logits have another shape or type.
        """
        labels = labels_in(inputs)
        outputs = model(**without_labels(inputs))
        logits = row_logits(outputs, model, self.key)
        fit = labels.shape == logits.shape and labels.is_floating_point()
        if not fit or not ((labels >= 0) & (labels <= 1)).all():
            raise BadInput(
                f"Labels are {dtype(labels)} of shape {shape(labels)} beside logits of shape {shape(logits)}; a "
                "multi-label model needs numbers from 0.0 to 1.0 of that shape. Give every row one for each label."
            )
        return outputs, logits, labels

    def row_losses(self, predictions: Tensor, labels: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the binary cross-entropy of each row, in nats: the mean or the sum over its labels."""
        return row_bce(predictions, labels, reduction)

    def row_log_likelihoods(self, predictions: Tensor, labels: Tensor, reduction: Reduction = "sum") -> Tensor:
        """Return the log-probability of each row's whole set of labels, in nats, or its mean per label."""
        return -row_bce(predictions, labels, reduction)

    def row_divergences(self, teacher: Tensor, student: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Return the mean of ``T^2 KL_T(teacher || student)`` over each row's labels, in nats per label."""
        return row_bernoulli_kl(teacher, student, temperature)

    def retarget(self, row: Mapping[str, Any], drawn: int, rows: Dataset, num_labels: int | None) -> dict[str, Any]:
        """Return the row with the set of labels of row ``drawn``, or of the next whose set is another."""
        return with_other_label(row, drawn, rows)
