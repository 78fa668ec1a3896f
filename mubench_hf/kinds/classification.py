"""Classification: one label a row, and logits over the classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mubench_hf.data.joined import FlaggedCollator, JoinedRows
from mubench_hf.errors import BadInput
from mubench_hf.kinds._base import Kind, RowAnswer, incompetent
from mubench_hf.kinds._losses import row_cross_entropy, row_kl
from mubench_hf.models.outputs import cached_row_outputs, row_outputs

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from mubench_hf.data.prepare import TaskData

LABELS = ("labels", "label", "label_ids")
"""What a row may call its label: the names that ``transformers`` collators know."""


class Classification(Kind):
    """Cross-entropy and KL divergence over classes."""

    keeps_outputs = True
    label_is_class = True

    def reads(self, model: Any) -> bool:
        """Return whether the model has classes."""
        return getattr(model.config, "num_labels", None) is not None

    def run(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Any, Tensor, Tensor]:
        """Return outputs, logits ``[rows, classes]`` and labels ``[rows]``; the model is not shown the labels."""
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        return outputs, outputs.logits, inputs["labels"]

    def row_losses(self, predictions: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of each row, in nats."""
        return row_cross_entropy(predictions, labels)

    def row_divergences(self, teacher: Tensor, student: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Return ``T^2 KL_T(teacher || student)`` of each row, in nats."""
        return row_kl(teacher, student, temperature)

    def draw_targets(self, is_forget: np.ndarray, num_labels: int | None, rng: np.random.Generator) -> np.ndarray:
        """Return offsets from 1 to ``num_labels - 1``, uniform: a label plus its offset is any of the others."""
        return rng.integers(1, num_labels, size=len(is_forget))

    def retarget(self, row: Mapping[str, Any], drawn: int, rows: Dataset, num_labels: int | None) -> dict[str, Any]:
        """Return the row with the label ``drawn`` places on, modulo the number of classes.

        Raises:
            BadInput: If the row has no label.
        """
        name = next((name for name in LABELS if name in row), None)
        if name is None:
            raise BadInput(f"A row has {', '.join(row)} but none of {', '.join(LABELS)}, so it cannot be relabelled.")
        return {**row, name: (row[name] + int(drawn)) % num_labels}

    def measure(self, model: Any, data: TaskData, seed: int, *, keep: bool = False) -> dict[str, np.ndarray]:
        """Return logits and labels of every split, D_f and D_r in upstream order.

        ``incompetent_forget_logits`` are those of an untrained model on D_f.
        """
        forget, retain, test = (data.splits[split] for split in ("forget", "retain", "test"))
        train, collate = JoinedRows(forget, retain), FlaggedCollator(data.collator).without_flags
        logits = cached_row_outputs(model, train, data.cache_dir / "train" if keep else None, collate).logits
        untrained = cached_row_outputs(
            incompetent(model, seed), JoinedRows(forget, None), data.cache_dir / f"forget-{data.ratio}", collate
        ).logits
        return {
            "forget_logits": logits[train.is_forget],
            "forget_labels": train.labels[train.is_forget],
            "retain_logits": logits[~train.is_forget],
            "retain_labels": train.labels[~train.is_forget],
            "test_logits": row_outputs(model, test, data.collator).logits,
            "test_labels": test.labels,
            "incompetent_forget_logits": np.asarray(untrained),
            "chance": np.asarray(1 / logits.shape[-1]),
        }

    def answer_row(self, model: Any, row: dict[str, Any], data: TaskData, *, place: int, scored: bool) -> RowAnswer:
        """Return the logits of one row, and the cross-entropy of its label."""
        logits = row_outputs(model, [row], data.collator).logits
        loss = self.row_losses(torch.from_numpy(logits), torch.tensor([row["labels"]])).item() if scored else None
        return RowAnswer(loss, logits=logits[0])


KIND = Classification()
