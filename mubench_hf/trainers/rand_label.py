"""RandLabel: relabel D_f at random and train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mubench_hf.data.fingerprint import own_random_state
from mubench_hf.data.joined import IS_FORGET, JoinedRows
from mubench_hf.errors import BadInput
from mubench_hf.kinds import Kind
from mubench_hf.trainers._base import UnlearningTrainer
from mubench_hf.trainers._batch import Batch
from mubench_hf.trainers._config import UnlearningConfig
from mubench_hf.trainers._objective import over_batch
from mubench_hf.trainers._passes import Pass


@dataclass
class RandLabelConfig(UnlearningConfig):
    """Settings of ``rand_label``.

    Args:
        redraw_labels: Draw new random labels for D_f each epoch instead of once.
    """

    num_train_epochs: float = 10.0
    redraw_labels: bool = False


class RelabelledRows(Dataset):
    """The joined rows, in which each row of D_f has its random target.

    Args:
        rows: D_f and D_r.
        kind: Says what a random target is.
        num_labels: Number of the model's classes, if it has classes.
        seed: Seed of the draws.

    Attributes:
        epoch: The draws are a function of seed and epoch.
    """

    def __init__(self, rows: JoinedRows, kind: Kind, num_labels: int | None, seed: int):
        self.rows, self.kind, self.num_labels, self.seed = rows, kind, num_labels, seed
        self.epoch, self._drawn_in = 0, None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Return one row."""
        row = self.rows[position]
        return self._retargeted(row, position) if row[IS_FORGET] else row

    def table_batch(self, positions: np.ndarray) -> dict[str, Any] | None:
        """Return a batch from the rows' table, see ``data/batches.py``; ``None`` where targets are no classes."""
        batch = self.rows.table_batch(positions) if self.kind.label_is_class else None
        if batch is None or "labels" not in batch:
            return None
        labels = batch["labels"].tolist()
        for place in np.flatnonzero(self.rows.is_forget[positions]):
            labels[place] = self._retargeted({"labels": labels[place]}, int(positions[place]))["labels"]
        return {**batch, "labels": torch.tensor(labels)}

    def _retargeted(self, row: dict[str, Any], position: int) -> dict[str, Any]:
        if self._drawn_in != self.epoch:
            rng = np.random.default_rng([self.seed, self.epoch])
            self._drawn = self.kind.draw_targets(self.rows.is_forget, self.num_labels, rng)
            self._drawn_in = self.epoch
        return self.kind.retarget(row, int(self._drawn[position]), self.rows, self.num_labels)


class RandLabelTrainer(UnlearningTrainer):
    """Minimises the task's loss over the shuffled union, D_f with random targets.

    A class is drawn uniformly from the classes other than the row's own; other targets are those of random D_r rows.
    """

    key = "rand_label"
    aliases = ("random_label", "rl", "relabel")
    config_class = RandLabelConfig
    title = "RandLabel"
    measurement, corruption, retention = "loss", "random label", "labels"
    source = "arXiv 2010.10981"

    def passes(self, epoch: int) -> tuple[Pass, ...]:
        """Return one pass over the shuffled union."""
        return (Pass("union"),)

    def training_rows(self) -> RelabelledRows:
        """Return the rows with random targets; a row keeps its own through an epoch, and by default throughout.

        Raises:
            BadInput: If the loader's workers would not see newly drawn targets, the first row of D_f can have none, or
                the collator would leave it out.
        """
        if self.args.redraw_labels and self.args.dataloader_persistent_workers:
            raise BadInput(
                "redraw_labels draws anew each epoch, which workers that outlive an epoch do not see. "
                "Leave out one of redraw_labels and dataloader_persistent_workers."
            )
        num_labels = getattr(self.model.config, "num_labels", None)
        self._relabelled = RelabelledRows(self.rows, self.kind, num_labels, self.args.seed)
        if not self._has_own_collator:
            with own_random_state():
                row = self._relabelled[int(self.rows.is_forget.argmax())]
                self.kind.check_collated(row, self.collator([row]))
        return self._relabelled

    def _run_epoch(self, *, epoch: int, **kwargs: Any) -> None:
        if self.args.redraw_labels:
            self._relabelled.epoch = epoch
        super()._run_epoch(epoch=epoch, **kwargs)

    @over_batch
    def compute_loss(self, batch: Batch) -> Tensor:
        """Return the mean loss of the batch, its D_f rows relabelled."""
        return batch.mean(batch.losses())
