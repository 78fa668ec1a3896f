"""Classification: one label per row, and logits over the classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from mubench_hf.errors import BadInput
from mubench_hf.kinds._base import Kind, Reduction
from mubench_hf.kinds._losses import row_cross_entropy, row_kl

if TYPE_CHECKING:
    from torch.utils.data import Dataset

LABELS = ("labels", "label", "label_ids")
"""Names that a row's label may have: those that ``transformers`` collators know."""


class Classification(Kind):
    """Cross-entropy and KL divergence over classes."""

    key = "classification"
    keeps_outputs = True
    label_is_class = True

    def reads(self, model: Any) -> bool:
        """Return whether the model has classes."""
        return getattr(model.config, "num_labels", None) is not None

    def run(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Any, Tensor, Tensor]:
        """Return outputs, logits ``[rows, classes]`` and labels ``[rows]``; the model is not shown the labels."""
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        return outputs, outputs.logits, inputs["labels"]

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
        """Draw offsets from 1 to ``num_labels - 1``, uniformly: a label plus its offset is any other class."""
        return rng.integers(1, num_labels, size=len(is_forget))

    def retarget(self, row: Mapping[str, Any], drawn: int, rows: Dataset, num_labels: int | None) -> dict[str, Any]:
        """Return the row with its label moved on by ``drawn``, modulo the number of classes.

        Raises:
            BadInput: If the row has no label.
        """
        name = next((name for name in LABELS if name in row), None)
        if name is None:
            raise BadInput(f"A row has {', '.join(row)} but none of {', '.join(LABELS)}, so it cannot be relabelled.")
        return {**row, name: (row[name] + int(drawn)) % num_labels}
