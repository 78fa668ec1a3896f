"""How rows of a kind of task are read from a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from torch.utils.data import Dataset

Reduction = Literal["mean", "sum"]
"""How the values at a row's label positions make the row's value."""


class Kind(ABC):
    """How a row's loss, its distribution and its prediction are read from a model.

    Attributes:
        key: Its name for tasks and methods.
        of_problem: Whether it reads classifiers of one ``problem_type``. Such kinds are asked last, since a class that
            is on no list may be one.
        keeps_outputs: Whether a model's output on a row is small and always the same, so that a teacher's outputs can
            be computed once for all rows and kept.
        label_is_class: Whether a row's label is a class number in the range of the model's ``num_labels``.
    """

    key: ClassVar[str]
    of_problem: ClassVar[bool] = False
    keeps_outputs: ClassVar[bool] = False
    label_is_class: ClassVar[bool] = False

    @abstractmethod
    def reads(self, model: Any, label: Any = None) -> bool:
        """Return whether ``model`` is of this kind, so that no model is of two.

        Args:
            model: The model, inside whatever wraps it.
            label: Label of a row, if it is known, for a model that does not state its problem.
        """

    def check_labels(self, name: str, labels: Sequence[Any], num_labels: int | None) -> None:  # noqa: B027
        """Check the labels of rows before any is used, as far as they are known.

        Args:
            name: What the rows are called.
            labels: One entry per row.
            num_labels: Number of the model's classes, if it has classes.

        Raises:
            BadInput: If a label cannot be used, naming its row.
        """

    def readable(self, rows: Any, processing_class: Any) -> Any:
        """Return rows as the model's inputs: those given, unless they hold texts that this kind makes tokens of.

        Args:
            rows: Map-style data set.
            processing_class: As for ``Trainer``.

        Raises:
            BadInput: If rows hold texts, and there is no tokenizer for them.
        """
        return rows

    def collator(self, processing_class: Any) -> Callable[[list[Any]], Mapping[str, Any]] | None:
        """Return the collator that rows need unless another is given; ``None`` for that of ``Trainer``.

        Args:
            processing_class: As for ``Trainer``.
        """
        return None

    @abstractmethod
    def run(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Any, Tensor, Tensor]:
        """Run a model on a collated batch, once.

        Returns:
            The model's own outputs; its predictions, one entry per row, such as logits; and the labels in the shape
            that the predictions are compared with.

        Raises:
            BadInput: If the labels, or what the model returns, do not fit this kind.
        """

    def mean_loss(self, predictions: Tensor, labels: Tensor) -> Tensor:
        """Return the task's own loss of a whole batch as the model itself returns it, a scalar."""
        return self.row_losses(predictions, labels).mean()

    @abstractmethod
    def row_losses(self, predictions: Tensor, labels: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the task's own loss of each row, float32 ``[rows]``, at least 0.

        Args:
            predictions: As ``run`` returns them.
            labels: As ``run`` returns them.
            reduction: Whether a row's loss is the mean or the sum over its label positions, which are the same if a row
                has one label.
        """

    @abstractmethod
    def row_log_likelihoods(self, predictions: Tensor, labels: Tensor, reduction: Reduction = "sum") -> Tensor:
        """Return the log-probability of each row's true label or target, in nats, float32 ``[rows]``, at most 0.

        Args:
            predictions: As ``run`` returns them.
            labels: As ``run`` returns them.
            reduction: ``sum`` over a row's label positions, which is the log-probability of the whole target, or their
                ``mean``.

        Raises:
            BadInput: If models of this kind give targets no probability.
        """

    @abstractmethod
    def row_divergences(self, teacher: Tensor, student: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Return how far the student's predictions are from the teacher's, float32 ``[rows]``, at least 0."""

    @abstractmethod
    def draw_targets(self, is_forget: np.ndarray, num_labels: int | None, rng: np.random.Generator) -> np.ndarray:
        """Draw the numbers that determine each row's random target, int64 ``[rows]``; see ``retarget``.

        Args:
            is_forget: bool ``[rows]``.
            num_labels: Number of the model's classes, if it has classes.
            rng: Source of the draws.
        """

    @abstractmethod
    def retarget(self, row: Mapping[str, Any], drawn: int, rows: Dataset, num_labels: int | None) -> dict[str, Any]:
        """Return a prepared row with the random target drawn for it, which is never its own.

        Args:
            row: The row.
            drawn: Its draw.
            rows: All rows, for a target taken from another row.
            num_labels: As for ``draw_targets``.

        Raises:
            BadInput: If the row has no target, or no other row has another one.
        """

    def check_collated(self, row: Mapping[str, Any], batch: Mapping[str, Any]) -> None:  # noqa: B027
        """Check that a batch of one row has the row's target.

        Args:
            row: The row, as it was given to the collator.
            batch: What the collator made of it.

        Raises:
            BadInput: If it has another.
        """

    def noised(self, inputs: dict[str, Any], keys: Tensor) -> dict[str, Any]:
        """Return a batch with whatever this kind draws for a training step.

        Args:
            inputs: Collated batch.
            keys: int64 ``[rows]``; equal keys must give equal draws, whatever else is in the batch.
        """
        return inputs
