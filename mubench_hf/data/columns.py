"""Columns of data sets, as they are stored: no row is prepared for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import ConcatDataset, StackDataset, Subset

LABELS = ("labels", "label", "label_ids")
"""Names that a row's label may have: those that collators of ``transformers`` know."""


def stored(rows: Any, name: str) -> Any:
    """Return the values of a column, one entry per row, or ``None`` if they are only known once rows are made.

    They are an attribute of the data set, a column of a table or of a list of rows, or those of the data sets inside
    torch's ``Subset``, ``ConcatDataset`` and ``StackDataset``.
    """
    values = getattr(rows, name, None)
    if values is not None and not callable(values) and np.shape(values)[:1] == (len(rows),):  # list.index is a method
        return values
    if name in (getattr(rows, "column_names", None) or ()):
        # A transform may drop the stored column, and would be run on every row.
        return rows.with_format(None)[name][:]
    if isinstance(rows, list | tuple):
        known = len(rows) > 0 and all(isinstance(row, Mapping) and name in row for row in rows)
        return [row[name] for row in rows] if known else None
    if isinstance(rows, Subset):
        inside = stored(rows.dataset, name)
        return None if inside is None else _taken(inside, rows.indices)
    if isinstance(rows, ConcatDataset):
        parts = [stored(part, name) for part in rows.datasets]
        return None if any(part is None for part in parts) else [value for part in parts for value in part]
    if isinstance(rows, StackDataset) and isinstance(rows.datasets, dict):
        inside = rows.datasets.get(name)
        return inside if isinstance(inside, Sequence | np.ndarray | Tensor) else None
    return None


def column(rows: Any, *names: str) -> np.ndarray | None:
    """Return the first of these columns that is stored, as an array, or ``None``; see ``stored``."""
    for name in names:
        values = stored(rows, name)
        if values is not None:
            return as_array(values)
    return None


def is_transformed(rows: Any) -> bool:
    """Return whether rows of a table are made by a transform, which may change what is stored."""
    if isinstance(rows, Subset):
        return is_transformed(rows.dataset)
    if isinstance(rows, ConcatDataset):
        return any(map(is_transformed, rows.datasets))
    return (getattr(rows, "format", None) or {}).get("type") == "custom"


def first_label(rows: Any) -> Any:
    """Return the label of the first row, which is read if labels are not stored; ``None`` if it has none."""
    columns = [] if is_transformed(rows) else [stored(rows, name) for name in LABELS]
    labels = next((each for each in columns if each is not None), None)
    if labels is not None:
        return labels[0]
    row = rows[0] if len(rows) else {}
    return next((row[name] for name in LABELS if name in row), None) if isinstance(row, Mapping) else None


def as_array(values: Any) -> np.ndarray:
    """Return values as an array; if they have different shapes, one of objects."""
    try:
        return np.asarray(values)
    except ValueError:
        array = np.empty(len(values), dtype=object)
        array[:] = list(values)
        return array


def _taken(values: Any, indices: Sequence[int]) -> Any:
    if isinstance(values, np.ndarray | Tensor):
        return values[np.asarray(indices, dtype=np.int64)]
    return [values[index] for index in indices]
