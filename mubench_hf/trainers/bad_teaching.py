"""Bad-T: learn D_f from an incompetent teacher and D_r from the original."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from mubench_hf.errors import BadInput
from mubench_hf.models.bare import bare_model
from mubench_hf.models.loading import reinitialised
from mubench_hf.trainers._base import UnlearningTrainer
from mubench_hf.trainers._batch import Batch
from mubench_hf.trainers._config import UnlearningConfig
from mubench_hf.trainers._objective import over_batch
from mubench_hf.trainers._passes import Pass
from mubench_hf.trainers._settings import setting

Walk = Literal["balanced", "subset"]


@dataclass
class BadTeachingConfig(UnlearningConfig):
    """Settings of ``bad_teaching``.

    The authors walk the shuffled union of D_f and all of a fixed 30 % of D_r, where D_f is a few percent of a batch;
    MU-Bench's code, whose results this benchmark is to be compared with, takes as many D_r rows as D_f has. That one is
    the default, also because its cost grows with D_f and not with D_r.

    Args:
        temperature: Temperature of both KL terms.
        walk: Rows of an epoch. ``balanced``: D_f and as many rows of D_r, drawn anew, half and half in each batch, as
            in MU-Bench's code; ``subset``: the shuffled union of D_f and a fixed part of D_r, as in the authors'.
        retain_fraction: For the walk ``subset``: that part of D_r, as a share.
    """

    num_train_epochs: float = 1.0
    temperature: float = setting(1.0, above=0, tune=(0.5, 4.0))
    walk: Walk = "balanced"
    retain_fraction: float = setting(0.3, above=0, most=1)

    def _check_values(self) -> None:
        super()._check_values()
        if self.walk not in get_args(Walk):
            raise BadInput(f"walk is {self.walk!r}; allowed: {', '.join(map(repr, get_args(Walk)))}.")
        usual = BadTeachingConfig.__dataclass_fields__["retain_fraction"].default
        if self.walk == "balanced" and self.retain_fraction != usual:
            raise BadInput(
                f"retain_fraction is {self.retain_fraction}, but a balanced walk draws as many D_r rows as D_f has, "
                "from all of D_r, so it would do nothing. Leave it out, or choose the walk that has one: "
                "walk='subset', --walk subset."
            )


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
    """Distils two teachers over D_f and a part of D_r; by default half and half in each batch.

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
        """Return one pass: all of D_f with as many D_r rows, or with a fixed share of D_r."""
        return (Pass(self.args.walk, retain_fraction=self.args.retain_fraction),)

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
