"""Classification: logits of every row."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mubench_hf.data.joined import FlaggedCollator, JoinedRows
from mubench_hf.kinds.measures._base import Measure, RowAnswer, incompetent
from mubench_hf.models.outputs import cached_row_outputs, row_outputs

if TYPE_CHECKING:
    from mubench_hf.data.prepare import TaskData


class ClassificationMeasure(Measure):
    """Measures logits."""

    key = "classification"
    on_request = frozenset({"incompetent_forget_logits"})

    def measure(
        self, model: Any, data: TaskData, seed: int, *, keep: bool = False, wanted: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Return logits and labels of every split, D_f and D_r in upstream order.

        ``incompetent_forget_logits`` are those of an untrained model on D_f.
        """
        forget, retain, test = (data.splits[split] for split in ("forget", "retain", "test"))
        train, collate = JoinedRows(forget, retain), FlaggedCollator(data.collator).without_flags
        logits = cached_row_outputs(model, train, data.cache_dir / "train" if keep else None, collate).logits
        outputs = {
            "forget_logits": logits[train.is_forget],
            "forget_labels": train.labels[train.is_forget],
            "retain_logits": logits[~train.is_forget],
            "retain_labels": train.labels[~train.is_forget],
            "test_logits": row_outputs(model, test, data.collator).logits,
            "test_labels": test.labels,
            "chance": np.asarray(1 / logits.shape[-1]),
        }
        if self.asks("incompetent_forget_logits", wanted):
            table = data.cache_dir / f"forget-{data.ratio}"
            untrained = cached_row_outputs(incompetent(model, seed), JoinedRows(forget, None), table, collate).logits
            outputs["incompetent_forget_logits"] = np.array(untrained)  # The table may soon be removed.
        return outputs

    def row_losses(self, model: Any, rows: JoinedRows, data: TaskData) -> np.ndarray:
        """Return the cross-entropy of each row, in nats."""
        made = self.measure_rows(model, rows, data)
        return self.kind.row_losses(torch.from_numpy(made["logits"]), torch.from_numpy(made["labels"])).numpy()

    def measure_rows(self, model: Any, rows: JoinedRows, data: TaskData) -> dict[str, np.ndarray]:
        """Return logits and labels of some rows."""
        collate = FlaggedCollator(data.collator).without_flags
        return {"logits": row_outputs(model, rows, collate).logits, "labels": np.asarray(rows.labels)}

    def answer_row(self, model: Any, row: dict[str, Any], data: TaskData, *, place: int, scored: bool) -> RowAnswer:
        """Return the logits of one row, and the cross-entropy of its label."""
        logits = row_outputs(model, [row], data.collator).logits
        loss = self.kind.row_losses(torch.from_numpy(logits), torch.tensor([row["labels"]])).item() if scored else None
        return RowAnswer(loss, logits=logits[0])
