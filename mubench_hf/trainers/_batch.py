"""What a method sees of one micro-batch: losses, likelihoods and distances from a teacher per row, and their means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, get_args

import torch
from torch import Tensor

from mubench_hf.errors import BadInput
from mubench_hf.kinds import Kind
from mubench_hf.kinds._base import Reduction
from mubench_hf.trainers._teachers import Teacher


@dataclass(frozen=True)
class Batch:
    """One micro-batch after the student's forward pass.

    Values per row are float32 ``[rows]``. Only the rows that count (``where``, bool ``[rows]``, by default all) are
    given to a teacher; the others get 0.

    Attributes:
        inputs: The collated batch.
        predictions: The student's, one entry per row: for a classifier, logits ``[rows, classes]``.
        labels: What they are compared with: for a classifier, int64 ``[rows]``.
        is_forget: bool ``[rows]``.
        rows: int64 ``[rows]``, positions in the joined data set.
        counts: Number of D_r and of D_f rows in the whole update, ``[2]``.
        scale: Number of processes, by which DDP divides gradients.
        kind: How rows of this task are read.
        within: If these are some rows of a batch whose inputs cannot be divided by rows: that batch, and which of its
            rows they are.
        at_once: Whether a teacher is given the whole batch, whichever rows count: a sharded one runs on all processes
            at once, also where one of them has no such row.
    """

    inputs: dict[str, Any]
    predictions: Tensor
    labels: Tensor
    is_forget: Tensor
    rows: Tensor
    counts: Tensor
    scale: int
    kind: Kind
    within: tuple[Batch, Tensor] | None = None
    at_once: bool = False

    # Of each row -----------------------------------------------------------------------------------------------------

    def losses(
        self, teacher: Teacher | None = None, *, reduction: Reduction = "mean", where: Tensor | None = None
    ) -> Tensor:
        """Return the task's own loss of each row, at least 0.

        Args:
            teacher: The teacher whose loss is returned; default: the student's.
            reduction: Whether a row's loss is the ``mean`` or the ``sum`` over its label tokens.
            where: The rows that count.

        Raises:
            BadInput: If ``reduction`` is neither.
        """
        _check(reduction)
        return self._read(
            where, lambda batch: batch.kind.row_losses(batch._predicted_by(teacher), batch.labels, reduction)
        )

    def log_likelihoods(
        self, teacher: Teacher | None = None, *, reduction: Reduction = "sum", where: Tensor | None = None
    ) -> Tensor:
        """Return the log-probability of each row's label or target, in nats, at most 0.

        Args:
            teacher: The teacher whose log-probability is returned; default: the student's.
            reduction: ``sum`` over a row's label tokens, which is the log-probability of the whole target, or their
                ``mean``.
            where: The rows that count.

        Raises:
            BadInput: If the model gives its rows no likelihood, or ``reduction`` is neither.
        """
        _check(reduction)
        return self._read(
            where, lambda batch: batch.kind.row_log_likelihoods(batch._predicted_by(teacher), batch.labels, reduction)
        )

    def divergences(self, teacher: Teacher, temperature: float, where: Tensor | None = None) -> Tensor:
        """Return how far the student is from a teacher on each row, at least 0.

        Args:
            teacher: The teacher.
            temperature: Temperature of both distributions, if the kind has distributions.
            where: The rows that count.
        """
        return self._read(
            where,
            lambda batch: batch.kind.row_divergences(
                batch._predicted_by(teacher), batch.predictions, batch.labels, temperature
            ),
        )

    def _predicted_by(self, teacher: Teacher | None) -> Tensor:
        if teacher is None:
            return self.predictions
        if self.within is not None and (self.at_once or len(self.rows)):
            batch, where = self.within
            return teacher(batch.inputs, batch.rows)[where]
        # A model cannot run on no rows at all, and with none its predictions do not matter.
        if not len(self.rows):
            return self.predictions.detach()
        return teacher(self.inputs, self.rows)

    def _read(self, where: Tensor | None, read: Callable[[Batch], Tensor]) -> Tensor:
        """Return what ``read`` gives for the rows that count, and 0 for the others."""
        if where is None or where.all():
            return read(self)
        found = read(self._only(where))
        return torch.zeros(len(where), device=found.device).index_put((where.nonzero().squeeze(1),), found)

    def _only(self, where: Tensor) -> Batch:
        parts = {name: getattr(self, name)[where] for name in ("predictions", "labels", "is_forget", "rows")}
        if self.at_once or not all(_is_per_row(value, len(where)) for value in self.inputs.values()):
            # Such as the patches of all images, or texts in a list: a teacher is given the whole batch.
            return replace(self, within=(self, where), **parts)
        inputs = {name: value[where] if isinstance(value, Tensor) else value for name, value in self.inputs.items()}
        return replace(self, inputs=inputs, **parts)

    # Of the update ---------------------------------------------------------------------------------------------------

    def mean(self, losses: Tensor) -> Tensor:
        """Return this batch's share of the mean of per-row ``losses`` over all rows of the update."""
        return self.scale * mean_where(losses, torch.ones_like(self.is_forget), self.counts.sum())

    def forget_mean(self, losses: Tensor) -> Tensor:
        """Return this batch's share of the mean of per-row ``losses`` over the update's D_f rows."""
        return self.scale * mean_where(losses, self.is_forget, self.counts[1])

    def retain_mean(self, losses: Tensor) -> Tensor:
        """Return this batch's share of the mean of per-row ``losses`` over the update's D_r rows."""
        return self.scale * mean_where(losses, ~self.is_forget, self.counts[0])


def _check(reduction: str) -> None:
    if reduction not in get_args(Reduction):
        raise BadInput(f"reduction is {reduction!r}. Allowed: {' or '.join(map(repr, get_args(Reduction)))}.")


def _is_per_row(value: Any, rows: int) -> bool:
    """Return whether an input has one entry per row, or is a setting of the whole batch."""
    if isinstance(value, Tensor):
        return value.ndim > 0 and len(value) == rows
    return value is None or isinstance(value, bool | int | float | str)


def mean_where(losses: Tensor, where: Tensor, count: Tensor | None = None) -> Tensor:
    """Return the sum of ``losses`` over the rows where ``where`` is true, divided by ``count``; 0 without such rows.

    Args:
        losses: ``[rows]``.
        where: bool ``[rows]``.
        count: Number of such rows in the whole optimizer update, so that micro-batches and processes that share an
            update add up to its mean. Default: their number in this batch.
    """
    count = where.sum() if count is None else count
    return torch.where(where, losses, 0.0).sum() / count.clamp(min=1)
