"""A model's mean loss and the task's own score on some rows, whatever the kind of task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mubench_hf.errors import BadInput
from mubench_hf.kinds.measures import get_measure
from mubench_hf.metrics import get_metric

if TYPE_CHECKING:
    from mubench_hf.data.joined import JoinedRows
    from mubench_hf.data.prepare import TaskData


class RowsScore(NamedTuple):
    """How a model does on some rows.

    Attributes:
        loss: Mean of the task's own loss, at least 0.
        score: The task's own score; ``None`` if there is none.
        reason: Why there is none.
    """

    loss: float
    score: float | None
    reason: str | None = None


def mean_loss(model: Any, rows: JoinedRows, data: TaskData) -> float:
    """Return a model's mean loss on rows, in eval mode.

    Raises:
        BadInput: If a loss is not finite, or nothing is measured of tasks of this kind.
    """
    return _mean(get_measure(data.task.kind).row_losses(model, rows, data))


def score_rows(model: Any, rows: JoinedRows, data: TaskData) -> RowsScore:
    """Return a model's mean loss and the task's own score on rows, in eval mode.

    Raises:
        BadInput: As ``mean_loss`` does.
    """
    outputs = get_measure(data.task.kind).measure_rows(model, rows, data)
    loss = _mean(_losses(outputs["logits"], outputs["labels"]))
    metric = get_metric(data.task.metric)
    given = {name: outputs[name] for name in metric.parameters if name in outputs}
    try:
        return RowsScore(loss, float(metric.compute(**given)[metric.key]))
    except ValueError as error:
        return RowsScore(loss, None, str(error))


def _losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return each row's loss, which every kind keeps as logits and a label."""
    logits = logits.astype(np.float64)
    largest = logits.max(axis=1, keepdims=True)
    whole = np.log(np.exp(logits - largest).sum(axis=1)) + largest[:, 0]
    return np.maximum(whole - logits[np.arange(len(logits)), labels], 0.0)


def _mean(losses: np.ndarray) -> float:
    mean = float(np.mean(losses, dtype=np.float64))
    if not np.isfinite(mean):
        raise BadInput("The model's loss on these rows is not finite, so nothing can be said of how it changes.")
    return mean
