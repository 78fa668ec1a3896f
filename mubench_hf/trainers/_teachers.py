"""Teachers: a frozen model's predictions of a batch, read from a table or computed beside the student."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from mubench_hf.kinds import Kind
from mubench_hf.models.loading import frozen


class Teacher(Protocol):
    """Gives the teacher's predictions of a batch, such as logits ``[rows, classes]``."""

    def __call__(self, inputs: Mapping[str, Any], rows: Tensor) -> Tensor:
        """Return predictions for a batch's ``inputs``, whose positions in the joined data set are ``rows``."""


class TableTeacher:
    """Reads logits that were computed once.

    Args:
        logits: float32 ``[table rows, classes]``.
        rows: Position in the joined data set of each table row, ascending; ``None`` if the table holds every row.
    """

    def __init__(self, logits: np.ndarray, rows: np.ndarray | None = None):
        self.logits, self.rows = logits, rows

    def __call__(self, inputs: Mapping[str, Any], rows: Tensor) -> Tensor:
        """Return the logits of ``rows``; NaN for a row that the table lacks, so that it cannot be learned from."""
        asked = rows.cpu().numpy()
        if self.rows is None:
            return torch.from_numpy(self.logits[asked]).to(rows.device)
        place = np.searchsorted(self.rows, asked).clip(max=len(self.rows) - 1)
        held = (self.rows[place] == asked)[:, None]
        return torch.from_numpy(np.where(held, self.logits[place], np.float32("nan"))).to(rows.device)


class LiveTeacher:
    """Runs a frozen model on each batch."""

    def __init__(self, model: PreTrainedModel, kind: Kind):
        self.model, self.kind = frozen(model), kind

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, Any], rows: Tensor) -> Tensor:
        """Return the model's predictions of the batch."""
        return self.kind.run(self.model, inputs)[1]
