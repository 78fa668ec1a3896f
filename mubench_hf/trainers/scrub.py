"""SCRUB: move away from the original on D_f and stay near it on D_r, in alternating passes.

Where the student still is the original, its divergence from it is least and the max loss has no slope: what a first max
step follows is rounding noise, which Adam makes as large as any step. ``ScrubConfig.start`` says what to do about that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from mubench_hf.errors import BadInput
from mubench_hf.trainers._base import UnlearningTrainer
from mubench_hf.trainers._batch import Batch
from mubench_hf.trainers._config import UnlearningConfig
from mubench_hf.trainers._objective import over_batch
from mubench_hf.trainers._passes import Pass
from mubench_hf.trainers._settings import setting

Start = Literal["authors", "labels", "still"]


@dataclass
class ScrubConfig(UnlearningConfig):
    """Settings of ``scrub``. One optimizer serves both directions, so its moments carry over, as in the authors' code.

    At its start the student is the original. Rounding noise then makes, with Adam, a step of full size whose direction
    differs between processors and numbers of processes; without it, a first max pass without dropout does nothing.

    Args:
        msteps: Number of first epochs that begin with a max pass over D_f.
        gamma: Weight of cross-entropy in the min pass.
        alpha: Weight of the KL divergence in the min pass.
        temperature: Temperature of the KL divergence.
        forget_batch_size: Rows per device in a max pass; default: per_device_train_batch_size.
        start: What the first max steps follow, where the divergence has no slope: ``authors``: rounding noise, as in
            their code; ``still``: nothing; ``labels``: the cross-entropy of D_f, upwards. See docs/scrub_start.md.
    """

    num_train_epochs: float = 3.0
    msteps: int = setting(2, least=0, tune=(1, 5))
    gamma: float = setting(0.99, least=0)
    alpha: float = setting(0.001, least=0, tune=(1e-3, 1.0))
    temperature: float = setting(4.0, above=0)
    forget_batch_size: int | None = setting(None, least=1, per_process=True)
    start: Start = "authors"

    def _check_values(self) -> None:
        super()._check_values()
        if self.start not in get_args(Start):
            raise BadInput(f"start is {self.start!r}; allowed: {', '.join(map(repr, get_args(Start)))}.")


def scrub_max_loss(divergences: Tensor) -> Tensor:
    """Return ``-KL_T(original || student)`` of each D_f row: ``[rows]``, at most 0 (arXiv 2302.09880, eq. 3)."""
    return -divergences


def above_noise(divergences: Tensor, temperature: float, precision: torch.dtype) -> Tensor:
    """Return which divergences are more than rounding noise, bool ``[rows]``.

    Rounded log-probabilities make an error of their size, and rounded logits one of their square, since a divergence is
    at its least there: 4e-6 nats for float32, 4e-3 for bfloat16.

    Args:
        divergences: ``T^2 KL_T`` of each row, float32 ``[rows]``.
        temperature: Their temperature.
        precision: Type that the logits were computed in.
    """
    noise = 32 * torch.finfo(torch.float32).eps + (8 * torch.finfo(precision).eps) ** 2
    return divergences > noise * temperature**2


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
    caveat = (
        "Where SCRUB starts, its max loss has no slope. Unless `start` is `still` or `labels`, its first steps follow "
        "rounding noise, so its scores differ between processors and numbers of processes (docs/scrub_start.md)."
    )

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
            return batch.forget_mean(self._away(batch, divergences))
        return batch.retain_mean(scrub_min_loss(batch.losses(), divergences, self.args.gamma, self.args.alpha))

    def _away(self, batch: Batch, divergences: Tensor) -> Tensor:
        """Return the max loss of D_f rows, or at the start what stands for it."""
        if self.args.start == "labels" and self.state.global_step == 0:
            return -batch.losses()
        if self.args.start == "still":
            mixed = torch.bfloat16 if self.args.bf16 else torch.float16 if self.args.fp16 else batch.predictions.dtype
            moved = above_noise(divergences.detach(), self.args.temperature, mixed)
            divergences = torch.where(moved, divergences, 0.0)
        return scrub_max_loss(divergences)
