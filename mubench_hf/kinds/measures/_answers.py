"""How likely a model finds other answers to a row than its own: a right one in other words, and wrong ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mubench_hf.data.joined import JoinedRows
from mubench_hf.data.prepare import prepare_rows

if TYPE_CHECKING:
    from mubench_hf.data.prepare import TaskData
    from mubench_hf.kinds.measures._base import Measure

NAMES = ("paraphrased_log_probs", "perturbed_log_probs")


def answer_log_probs(measure: Measure, model: Any, data: TaskData, split: str) -> dict[str, np.ndarray]:
    """Return mean log-probabilities of the tokens of other answers to a split's rows, in upstream order, at most 0.

    Args:
        measure: How rows are measured.
        model: The checkpoint; it is not changed.
        data: The task's rows.
        split: The split.

    Returns:
        ``paraphrased_log_probs``, float32 ``[rows]``, and ``perturbed_log_probs``, float32 ``[rows, answers]``; nothing
        if the task or one of the rows has no other answers.
    """
    if data.answers is None:
        return {}
    task, rows = data.task, data.splits[split].rows
    answers = [data.answers(row) for row in rows.select_columns([*task.inputs, task.label])]
    found = [each for each in answers if each is not None]
    if len(found) < len(answers) or len({len(each.perturbed) for each in found}) != 1:
        return {}
    columns = zip(*((each.paraphrased, *each.perturbed) for each in found), strict=True)
    losses = []
    for texts in columns:
        answered = rows.remove_columns(task.label).add_column(task.label, list(texts))
        prepared = prepare_rows(answered, task, data.processor)
        losses.append(measure.row_losses(model, JoinedRows(prepared, None), data))
    return dict(zip(NAMES, (-losses[0], -np.stack(losses[1:], axis=1)), strict=True))
