"""Bad-T: learn D_f from an incompetent teacher and D_r from the original."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mubench_hf.models.bare import bare_model
from mubench_hf.models.loading import reinitialised
from mubench_hf.trainers._base import UnlearningTrainer
from mubench_hf.trainers._batch import Batch
from mubench_hf.trainers._config import UnlearningConfig
from mubench_hf.trainers._objective import over_batch
from mubench_hf.trainers._passes import Pass
from mubench_hf.trainers._settings import setting


@dataclass
class BadTeachingConfig(UnlearningConfig):
    """Settings of ``bad_teaching``.

    Args:
        temperature: Temperature of both KL terms.
        retain_fraction: Share of D_r, redrawn each epoch, that the D_r rows come from.
    """

    num_train_epochs: float = 1.0
    temperature: float = setting(1.0, above=0)
    retain_fraction: float = setting(0.3, above=0, most=1)


def bad_teaching_loss(from_good: Tensor, from_bad: Tensor, is_forget: Tensor) -> Tensor:
    """Return ``KL_T(bad || student)`` of D_f rows and ``KL_T(good || student)`` of D_r rows, ``[rows]``, at least 0.

    Source: arXiv 2205.08096, eq. 3.

    Args:
        from_good: Divergences from the original, ``[rows]``; those of D_f rows are not read.
        from_bad: Divergences from the incompetent teacher, ``[rows]``; those of D_r rows are not read.
        is_forget: bool ``[rows]``.
    """
    return torch.where(is_forget, from_bad, from_good)


class BadTeachingTrainer(UnlearningTrainer):
    """Distils two teachers over batches of half D_f, half D_r rows.

    The incompetent teacher has the original's architecture, without adapters, and fresh random weights everywhere from
    the run's seed.
    """

    key = "bad_teaching"
    aliases = ("bad_t", "bad_teacher", "bad-t")
    config_class = BadTeachingConfig
    title = "Bad-T"
    measurement, corruption, retention = "logits", "incompetent teacher", "original teacher"
    source = "arXiv 2205.08096"

    def passes(self, epoch: int) -> tuple[Pass, ...]:
        """Return one balanced pass: all of D_f with as many D_r rows."""
        return (Pass("balanced", retain_fraction=self.args.retain_fraction),)

    def prepare(self) -> None:
        """Make both teachers."""
        self.good = self.original_teacher(~self.rows.is_forget)
        self.bad = self.forget_teacher(reinitialised(bare_model(self.model), self.args.seed))

    @over_batch
    def compute_loss(self, batch: Batch) -> Tensor:
        """Return the mean divergence of the batch from its rows' teachers."""
        good = batch.divergences(self.good, self.args.temperature, ~batch.is_forget)
        bad = batch.divergences(self.bad, self.args.temperature, batch.is_forget)
        return batch.mean(bad_teaching_loss(good, bad, batch.is_forget))
