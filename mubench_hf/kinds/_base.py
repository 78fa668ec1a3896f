"""What a kind of task says of its rows and models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor

from mubench_hf.models.loading import reinitialised

if TYPE_CHECKING:
    from datasets import Features
    from torch.utils.data import Dataset

    from mubench_hf.data.prepare import TaskData
    from mubench_hf.tasks import TaskSpec

INCOMPETENT_SEED = 1_000_003
"""Added to the run's seed for ZRF's incompetent model: another draw than the one that Bad-T learns from."""


def incompetent(model: Any, seed: int) -> Any:
    """Return the untrained model of the same class and config that ZRF compares a run of this seed with."""
    return reinitialised(model, INCOMPETENT_SEED + seed)


def truth_logits(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's loss as logits of two classes, with the truth as class 0.

    Its probability is ``exp(-loss)``, so cross-entropy at label 0 is the loss again: whatever reads logits and labels,
    such as membership inference, reads rows of any kind.

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
    """What a model says of one row.

    Attributes:
        loss: The task's own loss, at least 0; ``exp(-loss)`` is how much probability the truth gets. ``None`` where the
            row has no truth.
        logits: Of the classes, float32 ``[classes]``; ``None`` where nothing is classified.
        text: What it writes.
        image: What it draws, float32 ``[channels, height, width]`` in [0, 1].
    """

    loss: float | None
    logits: np.ndarray | None = None
    text: str | None = None
    image: np.ndarray | None = None


class Kind(ABC):
    """How a row's loss, its distribution and its prediction are read from a model.

    Attributes:
        keeps_outputs: Whether what a model says of a row is small and always the same, so that a teacher's outputs can
            be computed once for all rows and kept.
        label_is_class: Whether a row's label is a class number in the range of the model's ``num_labels``.
    """

    keeps_outputs: ClassVar[bool] = False
    label_is_class: ClassVar[bool] = False

    @abstractmethod
    def reads(self, model: Any) -> bool:
        """Return whether ``model`` is of this kind."""

    @abstractmethod
    def run(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Any, Tensor, Tensor]:
        """Run a model on a collated batch, once.

        Returns:
            The model's own outputs; its predictions, one row a row, such as logits; and the labels in the shape that
            the predictions are compared with.
        """

    @abstractmethod
    def row_losses(self, predictions: Tensor, labels: Tensor) -> Tensor:
        """Return the task's own loss of each row, float32 ``[rows]``, at least 0."""

    @abstractmethod
    def row_divergences(self, teacher: Tensor, student: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Return how far the student's predictions are from the teacher's, float32 ``[rows]``, at least 0."""

    @abstractmethod
    def draw_targets(self, is_forget: np.ndarray, num_labels: int | None, rng: np.random.Generator) -> np.ndarray:
        """Draw what makes each row's random target, int64 ``[rows]``; see ``retarget``.

        Args:
            is_forget: bool ``[rows]``.
            num_labels: Number of the model's classes, where it has classes.
            rng: Source of the draws.
        """

    @abstractmethod
    def retarget(self, row: Mapping[str, Any], drawn: int, rows: Dataset, num_labels: int | None) -> dict[str, Any]:
        """Return a prepared row with the random target that was drawn for it, never its own class or pairing.

        Args:
            row: The row.
            drawn: Its draw.
            rows: All rows, for a target that is another row's.
            num_labels: As for ``draw_targets``.
        """

    def noised(self, inputs: dict[str, Any], keys: Tensor) -> dict[str, Any]:
        """Return a batch with whatever this kind draws for a training step.

        Args:
            inputs: Collated batch.
            keys: int64 ``[rows]``; equal keys must give equal draws, whatever else is in the batch.
        """
        return inputs

    @abstractmethod
    def measure(self, model: Any, data: TaskData, seed: int, *, keep: bool = False) -> dict[str, np.ndarray]:
        """Run a checkpoint over every split, with one pass a split, and return what the scores are computed from.

        Args:
            model: The checkpoint; it is not changed.
            data: The task's rows, prepared for it.
            seed: Seed of the run.
            keep: Whether to keep outputs on disk, where they are small: worth it for an original.

        Returns:
            For each split of forget, retain and test ``<split>_logits`` (float32 ``[rows, classes]``) and
            ``<split>_labels`` (int64 ``[rows]``), which say how much probability a row's truth gets; ``chance``, the
            task's score of a model that knows nothing; and what the task's own metrics read, as ``<split>_<name>``.
        """

    def given(self, task: TaskSpec, features: Features) -> tuple[str, ...]:
        """Return the input columns that a model is shown; what it answers is compared with the others.

        Args:
            task: The task.
            features: Its columns.
        """
        return task.inputs

    @abstractmethod
    def answer_row(self, model: Any, row: dict[str, Any], data: TaskData, *, place: int, scored: bool) -> RowAnswer:
        """Return what a checkpoint says of one prepared row: the same as ``measure`` says of it, up to rounding.

        Args:
            model: The checkpoint.
            row: The row.
            data: What it was prepared with.
            place: Number of the row in its split, in upstream order: what is drawn for a row depends on it.
            scored: Whether the row has a truth that a loss can be taken of.
        """
