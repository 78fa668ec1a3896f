"""What a method sees of one micro-batch: predictions, per-row losses, distances from a teacher, and their means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mubench_hf.kinds import Kind
from mubench_hf.kinds._losses import mean_where
from mubench_hf.trainers._teachers import Teacher


@dataclass(frozen=True)
class Batch:
    """One micro-batch after the student's forward pass.

    Attributes:
        inputs: The collated batch.
        predictions: The student's, one row a row: of a classifier, logits ``[rows, classes]``.
        labels: What they are compared with: of a classifier, int64 ``[rows]``.
        is_forget: bool ``[rows]``.
        rows: int64 ``[rows]``, positions in the joined data set.
        counts: Number of D_r and of D_f rows in the whole update, ``[2]``.
        scale: Number of processes, by whose number DDP divides gradients.
        kind: How rows of this task are read.
    """

    inputs: dict[str, Any]
    predictions: Tensor
    labels: Tensor
    is_forget: Tensor
    rows: Tensor
    counts: Tensor
    scale: int
    kind: Kind

    def losses(self) -> Tensor:
        """Return the task's own loss of each row, float32 ``[rows]``, at least 0."""
        return self.kind.row_losses(self.predictions, self.labels)

    def divergences(self, teacher: Teacher, temperature: float, where: Tensor | None = None) -> Tensor:
        """Return how far the student is from a teacher on each row, float32 ``[rows]``, at least 0.

        Args:
            teacher: Asked for the rows that count, and for no others.
            temperature: Of both distributions, where the kind has distributions.
            where: bool ``[rows]``, the rows that count; the others get 0. Default: all.
        """
        if where is None or where.all():
            taught = teacher(self.inputs, self.rows)
            return self.kind.row_divergences(taught, self.predictions, self.labels, temperature)
        student, chosen = self.predictions[where], where.nonzero().squeeze(1)
        inputs = {
            name: value[where] if isinstance(value, Tensor) and len(value) == len(where) else value
            for name, value in self.inputs.items()
        }
        # Of no rows a model cannot be asked; what they then add is nothing, but still of the student.
        taught = teacher(inputs, self.rows[where]) if len(chosen) else student.detach()
        found = self.kind.row_divergences(taught, student, self.labels[where], temperature)
        return torch.zeros(len(where), device=found.device).index_put((chosen,), found)

    def mean(self, losses: Tensor) -> Tensor:
        """Return this batch's share of the mean of per-row ``losses`` over all rows of the update."""
        return self.scale * mean_where(losses, torch.ones_like(self.is_forget), self.counts.sum())

    def forget_mean(self, losses: Tensor) -> Tensor:
        """Return this batch's share of the mean of per-row ``losses`` over the update's D_f rows."""
        return self.scale * mean_where(losses, self.is_forget, self.counts[1])

    def retain_mean(self, losses: Tensor) -> Tensor:
        """Return this batch's share of the mean of per-row ``losses`` over the update's D_r rows."""
        return self.scale * mean_where(losses, ~self.is_forget, self.counts[0])
