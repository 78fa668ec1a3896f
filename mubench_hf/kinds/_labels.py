"""Labels of rows: what they are called, and which of them are no classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mubench_hf.data.columns import LABELS
from mubench_hf.errors import BadInput
from mubench_hf.kinds._losses import IGNORED


def label_name(row: Mapping[str, Any]) -> str:
    """Return what a row calls its label.

    Raises:
        BadInput: If it has none.
    """
    name = next((name for name in LABELS if name in row), None)
    if name is None:
        raise BadInput(f"A row has {', '.join(row)} but none of {', '.join(LABELS)}, so it cannot be relabelled.")
    return name


def like(values: np.ndarray, given: Any) -> Any:
    """Return values in the form in which a row held others: a list, an array or a tensor, of the same type."""
    if hasattr(given, "new_tensor"):
        return given.new_tensor(values)
    return values.astype(given.dtype) if isinstance(given, np.ndarray) else values.tolist()


def wrong_class(name: str, labels: Sequence[Any], num_labels: int | None, *, ignored: bool = False) -> None:
    """Check that every label is a class.

    Args:
        name: What the rows are called.
        labels: One class per row, or with ``ignored`` one for each of its positions.
        num_labels: Number of classes; ``None`` if it is not known.
        ignored: Whether -100 marks a position that is not scored.

    Raises:
        BadInput: If one is not, with the first such row.
    """
    values, rows = _flat(labels)
    if values.dtype.kind not in "iu":
        words = {"b": "true or false", "f": "fractions", "U": "texts", "O": "other things than numbers"}
        what = words.get(values.dtype.kind, str(values.dtype))
        raise BadInput(
            f"{name} has labels that are {what} (row 0: {_shown(labels[0])}). "
            "Classes are whole numbers from 0; for several labels a row or for numbers, set the model's "
            "config.problem_type to multi_label_classification or regression."
        )
    if not ignored and len(values) != len(labels):
        raise BadInput(
            f"{name} has {len(values)} labels in {len(labels)} rows (row 0: {_shown(labels[0])}). Give each row one "
            "class, or for several labels a row set the model's config.problem_type to multi_label_classification and "
            "give numbers from 0.0 to 1.0."
        )
    if num_labels is None:
        return
    wrong = ((values < 0) | (values >= num_labels)) & ~(ignored & (values == IGNORED))
    if wrong.any():
        raise BadInput(
            f"{name} has label {values[wrong][0]} (row {rows[wrong][0]}, {len(np.unique(rows[wrong]))} such rows), but "
            f"the model has num_labels={num_labels}, so labels 0..{num_labels - 1} are allowed"
            f"{', and -100 where nothing is scored' if ignored else ''}. Load a model with the task's classes."
        )


def check_another_class(num_labels: int | None) -> None:
    """Check that a row can be given a class other than its own.

    Raises:
        BadInput: If there are not two.
    """
    if num_labels is None or num_labels < 2:
        raise BadInput(
            f"The model has num_labels={num_labels}, so there is no other class to draw. Use a method without random "
            "targets, or a model with the task's classes."
        )


def _flat(labels: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return all labels of rows in one array, and the row of each."""
    try:
        table = np.asarray(labels)
    except (ValueError, TypeError):  # rows of unequal length
        table = np.empty(0, dtype=object)
    if table.dtype != object:
        table = table.reshape(len(labels), -1)
        return table.ravel(), np.repeat(np.arange(len(table)), table.shape[1])
    each = [np.asarray(label).ravel() for label in labels]
    return np.concatenate(each), np.repeat(np.arange(len(each)), [len(label) for label in each])


def _shown(label: Any) -> str:
    return str(np.asarray(label).tolist())[:60]
