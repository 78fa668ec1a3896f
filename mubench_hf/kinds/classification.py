"""Classification: one label per row, and logits over the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from mubench_hf.errors import BadInput
from mubench_hf.kinds._base import Kind, Reduction
from mubench_hf.kinds._hierarchy import problem_of
from mubench_hf.kinds._labels import check_another_class, label_name, wrong_class
from mubench_hf.kinds._losses import row_cross_entropy, row_kl
from mubench_hf.kinds._reading import classes_in, labels_in, row_logits, shape, without_labels

if TYPE_CHECKING:
    from torch.utils.data import Dataset


class Classification(Kind):
    """Cross-entropy and KL divergence over classes."""

    key = "classification"
    of_problem = True
    keeps_outputs = True
    label_is_class = True

    def reads(self, model: Any, label: Any = None) -> bool:
        """Return whether the model gives rows one of several classes."""
        return problem_of(model, label) == "single_label_classification"

    def check_labels(self, name: str, labels: Sequence[Any], num_labels: int | None) -> None:
        """Check that every label is a class."""
        wrong_class(name, labels, num_labels)

    def run(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Any, Tensor, Tensor]:
        """Return outputs, logits ``[rows, classes]`` and labels ``[rows]``; the model is not shown the labels.

        Raises:
            BadInput: If labels or logits have another shape or type.
        """
        given = labels_in(inputs)
        outputs = model(**without_labels(inputs))
        logits = row_logits(outputs, model, self.key)
        labels = classes_in(given, logits.shape[1], self.key)
        if labels.numel() != len(logits):
            raise BadInput(
                f"A batch of {len(logits)} rows has labels of shape {shape(labels)}; a classifier needs one class per "
                "row. For several labels a row, set the model's config.problem_type to multi_label_classification."
            )
        return outputs, logits, labels.reshape(len(logits))

    def row_losses(self, predictions: Tensor, labels: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the cross-entropy of each row, in nats; a row has one label."""
        return row_cross_entropy(predictions, labels, reduction)

    def row_log_likelihoods(self, predictions: Tensor, labels: Tensor, reduction: Reduction = "sum") -> Tensor:
        """Return the log-probability of each row's label, in nats."""
        return -row_cross_entropy(predictions, labels, reduction)

    def row_divergences(self, teacher: Tensor, student: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Return ``T^2 KL_T(teacher || student)`` of each row, in nats."""
        return row_kl(teacher, student, temperature)

    def draw_targets(self, is_forget: np.ndarray, num_labels: int | None, rng: np.random.Generator) -> np.ndarray:
        """Draw offsets from 1 to ``num_labels - 1``, uniformly: a label plus its offset is any other class.

        Raises:
            BadInput: If there is one class.
        """
        check_another_class(num_labels)
        return rng.integers(1, num_labels, size=len(is_forget))

    def retarget(self, row: Mapping[str, Any], drawn: int, rows: Dataset, num_labels: int | None) -> dict[str, Any]:
        """Return the row with its label moved on by ``drawn``, modulo the number of classes.

        Raises:
            BadInput: If the row has no label, or one that is no class.
        """
        name = label_name(row)
        wrong_class("A row", [row[name]], num_labels)
        label = row[name][0] if isinstance(row[name], Sequence) else row[name]
        moved = (label + int(drawn)) % num_labels
        return {**row, name: [moved] if isinstance(row[name], Sequence) else moved}
