"""What every way of measuring a checkpoint has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mubench_hf.kinds import Kind, get_kind
from mubench_hf.models.loading import reinitialised

if TYPE_CHECKING:
    from datasets import Features

    from mubench_hf.data.joined import JoinedRows
    from mubench_hf.data.prepare import TaskData
    from mubench_hf.tasks import TaskSpec

INCOMPETENT_SEED = 1_000_003
"""Added to the run's seed for ZRF's incompetent model, so that it is not the one that Bad-T learns from."""


def incompetent(model: Any, seed: int) -> Any:
    """Return the untrained model of the same class and config that ZRF compares a run of this seed with."""
    # An untrained model has no adapters.
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    return reinitialised(bare, INCOMPETENT_SEED + seed)


def truth_logits(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's loss as logits of two classes, with the truth as class 0.

    Its probability is ``exp(-loss)``, so the cross-entropy at label 0 is the loss again: whatever reads logits and
    labels, such as membership inference, can read rows of any kind.

    Args:
        losses: ``[rows]``, at least 0.

    Returns:
        Logits, float32 ``[rows, 2]``, and labels, int64 ``[rows]``, all 0.
    """
    # A loss of exactly 0 would make the other class impossible, and its logit infinite.
    losses = np.maximum(losses.astype(np.float64), 1e-9)
    logits = np.stack([-losses, np.log(-np.expm1(-losses))], axis=1).astype(np.float32)
    return logits, np.zeros(len(losses), dtype=np.int64)


@dataclass(frozen=True)
class RowAnswer:
    """A model's answer on one row.

    Attributes:
        loss: The task's own loss, at least 0; ``exp(-loss)`` is the probability of the truth. ``None`` if the row's
            truth is not known.
        logits: Logits of the classes, float32 ``[classes]``; ``None`` if nothing is classified.
        text: The text it writes.
        image: The image it draws, float32 ``[channels, height, width]`` in [0, 1].
    """

    loss: float | None
    logits: np.ndarray | None = None
    text: str | None = None
    image: np.ndarray | None = None


class Measure(ABC):
    """How a checkpoint is measured on the splits of a task.

    Attributes:
        key: Key of the kind of task.
        on_request: Names of the arrays that are measured only where a metric reads them.
        kind: How its rows are read.
    """

    key: ClassVar[str]
    on_request: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        self.kind: Kind = get_kind(self.key)

    @abstractmethod
    def measure(
        self, model: Any, data: TaskData, seed: int, *, keep: bool = False, wanted: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Run a checkpoint over every split, with one pass per split, and return what the scores are computed from.

        Args:
            model: The checkpoint; it is not changed.
            data: The task's rows, prepared for it.
            seed: Seed of the run.
            keep: Whether to keep outputs on disk if they are small, which is worth it for an original.
            wanted: Names of the arrays that somebody reads, among which may be some of ``on_request``; ``None``: all.

        Returns:
            For each of the splits forget, retain and test ``<split>_logits`` (float32 ``[rows, classes]``) and
            ``<split>_labels`` (int64 ``[rows]``), which give the probability of each row's truth; ``chance``, the
            task's score of a model that knows nothing; and what the task's own metrics read, as ``<split>_<name>``.
        """

    @abstractmethod
    def row_losses(self, model: Any, rows: JoinedRows, data: TaskData) -> np.ndarray:
        """Return the task's own loss of each row, at least 0, float ``[rows]``: the one that ``measure`` keeps.

        Args:
            model: The checkpoint; it is not changed.
            rows: Prepared rows, whose order is that of the losses.
            data: What they were prepared with.
        """

    @abstractmethod
    def measure_rows(self, model: Any, rows: JoinedRows, data: TaskData) -> dict[str, np.ndarray]:
        """Return what the task's own metrics read of some rows, under the names of ``measure`` without a split.

        Args:
            model: The checkpoint; it is not changed.
            rows: Prepared rows, whose order is that of the outputs.
            data: What they were prepared with.
        """

    def measurable(self, task: TaskSpec) -> frozenset[str]:
        """Return those arrays of ``on_request`` that can be measured on rows of a task."""
        return self.on_request

    def asks(self, name: str, wanted: Collection[str] | None) -> bool:
        """Return whether an array of ``on_request`` is to be measured.

        Args:
            name: Its name.
            wanted: See ``measure``.
        """
        return wanted is None or name in wanted

    def check_truths(self) -> None:  # noqa: B027
        """Check that models of this kind give a row's truth a probability.

        Raises:
            BadInput: If they do not.
        """

    def truths(self, model: Any, data: TaskData) -> dict[str, np.ndarray]:
        """Return ``<split>_logits`` and ``<split>_labels`` of ``measure``, and whatever costs no more.

        Args:
            model: The checkpoint; it is not changed.
            data: The task's rows, prepared for it.

        Raises:
            BadInput: As ``check_truths``.
        """
        self.check_truths()
        return self.measure(model, data, 0, wanted=())

    def given(self, task: TaskSpec, features: Features) -> tuple[str, ...]:
        """Return the input columns that a model is shown; its answer is compared with the others.

        Args:
            task: The task.
            features: Its columns.
        """
        return task.inputs

    @abstractmethod
    def answer_row(self, model: Any, row: dict[str, Any], data: TaskData, *, place: int, scored: bool) -> RowAnswer:
        """Return a checkpoint's answer on one prepared row: the same as in ``measure``, up to rounding.

        Args:
            model: The checkpoint.
            row: The row.
            data: What it was prepared with.
            place: Number of the row in its split, in upstream order; random draws for the row depend on it.
            scored: Whether the row's truth is known, so that it has a loss.
        """
