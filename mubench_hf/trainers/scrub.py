"""SCRUB: move away from the original on D_f and stay near it on D_r, in alternating passes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mubench_hf.trainers._base import UnlearningTrainer
from mubench_hf.trainers._batch import Batch
from mubench_hf.trainers._config import UnlearningConfig
from mubench_hf.trainers._objective import over_batch
from mubench_hf.trainers._passes import Pass
from mubench_hf.trainers._settings import setting


@dataclass
class ScrubConfig(UnlearningConfig):
    """Settings of ``scrub``. One optimizer serves both directions, so its moments carry over, as in the authors' code.

    Args:
        msteps: Number of first epochs that begin with a max pass over D_f.
        gamma: Weight of cross-entropy in the min pass.
        alpha: Weight of the KL divergence in the min pass.
        temperature: Temperature of the KL divergence.
        forget_batch_size: Rows per device in a max pass; default: per_device_train_batch_size.
    """

    num_train_epochs: float = 3.0
    msteps: int = setting(2, least=0)
    gamma: float = setting(0.99, least=0)
    alpha: float = setting(0.001, least=0)
    temperature: float = setting(4.0, above=0)
    forget_batch_size: int | None = setting(None, least=1, per_process=True)


def scrub_max_loss(divergences: Tensor) -> Tensor:
    """Return ``-KL_T(original || student)`` of each D_f row: ``[rows]``, at most 0 (arXiv 2302.09880, eq. 3)."""
    return -divergences


def scrub_min_loss(losses: Tensor, divergences: Tensor, gamma: float = 0.99, alpha: float = 0.001) -> Tensor:
    """Return ``gamma CE + alpha KL_T(original || student)`` of each D_r row: ``[rows]``, at least 0.

    Source: arXiv 2302.09880, eq. 3.
    """
    return gamma * losses + alpha * divergences


class ScrubTrainer(UnlearningTrainer):
    """Alternates max passes over D_f and min passes over D_r: max, min, max, min, min, ... within one ``train()``."""

    key = "scrub"
    config_class = ScrubConfig
    title = "SCRUB"
    measurement, corruption, retention = "logits", "negated", "labels and original teacher"
    source = "arXiv 2302.09880"

    def passes(self, epoch: int) -> tuple[Pass, ...]:
        """Return a max pass, for the first ``msteps`` epochs, and a min pass."""
        min_pass = Pass("retain")
        return (Pass("forget", self.args.forget_batch_size), min_pass) if epoch < self.args.msteps else (min_pass,)

    def prepare(self) -> None:
        """Make the teacher; both kinds of pass read it."""
        self.teacher = self.original_teacher()

    @over_batch
    def compute_loss(self, batch: Batch) -> Tensor:
        """Return the max loss of a batch of D_f rows or the min loss of a batch of D_r rows."""
        divergences = batch.divergences(self.teacher, self.args.temperature)
        if batch.is_forget.all():
            return batch.forget_mean(scrub_max_loss(divergences))
        return batch.retain_mean(scrub_min_loss(batch.losses(), divergences, self.args.gamma, self.args.alpha))
