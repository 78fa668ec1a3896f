"""NegGrad: gradient ascent on D_f."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mubench_hf.trainers._base import UnlearningTrainer
from mubench_hf.trainers._batch import Batch
from mubench_hf.trainers._config import UnlearningConfig
from mubench_hf.trainers._objective import over_batch
from mubench_hf.trainers._passes import Pass


@dataclass
class NegGradConfig(UnlearningConfig):
    """Settings of ``neggrad``: few steps at a small rate, since the loss is unbounded and long ascent diverges."""

    learning_rate: float = 1e-5


def neggrad_loss(losses: Tensor) -> Tensor:
    """Return the negated loss of each D_f row: ``[rows]``, at most 0, unbounded below."""
    return -losses


class NegGradTrainer(UnlearningTrainer):
    """Maximises the task's loss on D_f only; nothing retains D_r."""

    key = "neggrad"
    aliases = ("ga", "grad_ascent", "gradient_ascent", "negative_gradient")
    config_class = NegGradConfig
    title = "NegGrad"
    measurement, corruption, retention = "loss", "negated", "none"
    source = "arXiv 1911.04933; arXiv 2010.10981"

    def passes(self, epoch: int) -> tuple[Pass, ...]:
        """Return one pass over D_f."""
        return (Pass("forget"),)

    @over_batch
    def compute_loss(self, batch: Batch) -> Tensor:
        """Return the negated mean loss of the batch's D_f rows."""
        return batch.forget_mean(neggrad_loss(batch.losses()))
