"""Teachers: a frozen model's predictions of a batch, from a table, from a copy, or from the student as it started."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from mubench_hf.kinds import Kind
from mubench_hf.models.loading import frozen
from mubench_hf.models.restoring import moving_tensors
from mubench_hf.models.sharded import give_back, is_sharded, local

Precision = Callable[[], AbstractContextManager[Any]]


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
    """Runs a frozen model on each batch.

    Args:
        model: The model.
        kind: How its rows are read.
        precision: Makes the context that the student runs in, such as autocast: a teacher in full precision would take
            several times as long, and be no nearer to a student that is not.
    """

    def __init__(self, model: PreTrainedModel, kind: Kind, precision: Precision = nullcontext):
        self.model, self.kind, self.precision = frozen(model), kind, precision

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, Any], rows: Tensor) -> Tensor:
        """Return the model's predictions of the batch."""
        with self.precision():
            return self.kind.run(self.model, inputs)[1]


class StartTeacher:
    """Runs the student with the values that its weights have when this is made: the original, without a second model.

    For models that train a part of their weights, such as adapters: only that part and the buffers are kept twice. A
    fresh adapter changes nothing, so this is the model with its adapter off; an adapter that was trained before is a
    part of the original.

    Args:
        model: The student before its first step; it is as it was after each call.
        kind: How its rows are read.
    """

    def __init__(self, model: torch.nn.Module, kind: Kind):
        self.model, self.kind = model, kind
        self.moving = [local(tensor) for tensor in moving_tensors(model).values()]
        self.start = [tensor.detach().clone() for tensor in self.moving]
        self.is_sharded = is_sharded(model)

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, Any], rows: Tensor) -> Tensor:
        """Return the original's predictions of the batch."""
        with self._at_start():
            return self.kind.run(self.model, inputs)[1]

    @contextmanager
    def _at_start(self) -> Iterator[None]:
        """Exchange what training moves for what it was at the start, and evaluate, while inside."""
        modes = [(module, module.training) for module in self.model.modules()]
        exchange = self._exchange_parts if self.is_sharded else self._exchange
        exchange()
        try:
            self.model.eval()
            yield
        finally:
            exchange()
            for module, training in modes:
                module.training = training

    def _exchange(self) -> None:
        """Exchange storage: no value is copied, so that what autograd keeps of the student's own pass stays valid."""
        for number, tensor in enumerate(self.moving):
            tensor.data, self.start[number] = self.start[number], tensor.data

    def _exchange_parts(self) -> None:
        """Exchange the values of this process's parts, which whole weights are gathered from before each use.

        A gathered weight that autograd keeps is gathered anew, into its own memory, before the student's backward pass.
        """
        give_back(self.model)
        for now, start in zip(self.moving, self.start, strict=True):
            kept = now.detach().clone()
            now.data.copy_(start)
            start.copy_(kept)
