"""Fine-tuning: keep training the original on D_r and hope that D_f fades."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mubench_hf.trainers._base import UnlearningTrainer
from mubench_hf.trainers._batch import Batch
from mubench_hf.trainers._config import UnlearningConfig
from mubench_hf.trainers._objective import over_batch
from mubench_hf.trainers._passes import Pass


@dataclass
class FinetuneConfig(UnlearningConfig):
    """Settings of ``finetune``."""

    num_train_epochs: float = 5.0


class FinetuneTrainer(UnlearningTrainer):
    """Minimises the task's loss on D_r from the original's weights."""

    key = "finetune"
    aliases = ("ft", "fine_tune")
    config_class = FinetuneConfig
    title = "Fine-tune"
    measurement, corruption, retention = "loss", "none", "labels"
    source = "common baseline; arXiv 1911.04933"
    needs_forget = False

    def passes(self, epoch: int) -> tuple[Pass, ...]:
        """Return one pass over D_r."""
        return (Pass("retain"),)

    @over_batch
    def compute_loss(self, batch: Batch) -> Tensor:
        """Return the mean loss of the batch's D_r rows."""
        return batch.retain_mean(batch.losses())
