"""RandLabel: relabel D_f at random and train on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mubench_hf.trainers._base import Batch, UnlearningTrainer
from mubench_hf.trainers._config import UnlearningConfig
from mubench_hf.trainers._losses import row_cross_entropy
from mubench_hf.trainers._passes import Pass


@dataclass
class RandLabelConfig(UnlearningConfig):
    """Settings of ``rand_label``."""

    num_train_epochs: float = 10.0
    redraw_labels: bool = field(
        default=False, metadata={"help": "Draw new random labels for D_f each epoch instead of once."}
    )


def label_offsets(rows: int, num_labels: int, seed: int, epoch: int = 0) -> np.ndarray:
    """Return an int64 array ``[rows]`` drawn uniformly from 1..num_labels-1.

    A label plus its offset, modulo ``num_labels``, is uniform among the other classes and never the label itself.
    """
    return np.random.default_rng([seed, epoch]).integers(1, num_labels, size=rows)


def rand_label_loss(logits: Tensor, labels: Tensor, random_labels: Tensor, is_forget: Tensor) -> Tensor:
    """Return ``CE(logits, y')`` of D_f rows and ``CE(logits, y)`` of D_r rows, ``[rows]``, at least 0."""
    return row_cross_entropy(logits, torch.where(is_forget, random_labels, labels))


class RandLabelTrainer(UnlearningTrainer):
    """Minimises cross-entropy over the shuffled union, D_f with random other labels."""

    config_class = RandLabelConfig
    title = "RandLabel"
    measurement, corruption, retention = "loss", "random label", "labels"
    source = "arXiv 2010.10981"

    def passes(self, epoch: int) -> tuple[Pass, ...]:
        """Return one pass over the shuffled union."""
        return (Pass("union"),)

    def random_labels(self, batch: Batch) -> Tensor:
        """Return each row's random label ``[rows]``; a row keeps it through an epoch, and by default throughout."""
        num_labels = batch.logits.shape[-1]
        epoch = self.sampler.epoch if self.args.redraw_labels else 0
        offsets = label_offsets(len(self.rows), num_labels, self.args.seed, epoch)
        return (batch.labels + torch.from_numpy(offsets).to(batch.rows.device)[batch.rows]) % num_labels

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the mean cross-entropy of the batch, its D_f rows relabelled."""
        batch, outputs = self.forward(model, inputs, num_items_in_batch)
        loss = batch.mean(rand_label_loss(batch.logits, batch.labels, self.random_labels(batch), batch.is_forget))
        return (loss, outputs) if return_outputs else loss
