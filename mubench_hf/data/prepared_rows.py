"""A data set of prepared rows: each prepared once, and kept in memory or read from a table on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset

from mubench_hf.data.batches import parts_batch
from mubench_hf.data.split_rows import prepared_row
from mubench_hf.data.stored_rows import StoredRows, row_bytes

if TYPE_CHECKING:
    import datasets

MEMORY_BUDGET = 1 << 30
"""Bytes of prepared tensors kept per data set; rows beyond it are prepared at each access."""


class PreparedRows(Dataset):
    """Map-style data set of prepared rows, kept in memory while they fit, or read from a table.

    Preparation must be deterministic: a row is decoded and processed only when first read.

    Args:
        rows: Data set of raw rows; columns ``index`` and ``label``, where present, are exposed as arrays.
        prepare: Maps one decoded row to the model's inputs (tensors and numbers) with ``labels``.
        memory_budget: Bytes of rows to keep.
        stored: The rows that these are part of, ``index`` among them, with a table if they are many.
    """

    def __init__(
        self,
        rows: datasets.Dataset,
        prepare: Callable[[Mapping[str, Any]], dict[str, Any]],
        *,
        label: str = "label",
        memory_budget: int = MEMORY_BUDGET,
        stored: StoredRows | None = None,
    ):
        self.rows, self.prepare, self.stored = rows, prepare, stored
        self.index = np.asarray(rows["index"]) if "index" in rows.column_names else None
        self.labels = np.asarray(rows[label]) if label in rows.column_names else None
        self._kept: dict[int, dict[str, Any]] = {}
        self._budget = memory_budget

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Return the inputs of one row.

        Raises:
            BadInput: If an image in it cannot be decoded, naming its index.
        """
        position = int(position)
        if position in self._kept:
            return self._kept[position]
        if self.stored and self.index is not None and (table := self.stored.table):
            return table.row(int(self.index[position]))
        inputs = prepared_row(self.rows, position, self.prepare)
        size = row_bytes(inputs)
        if size <= self._budget and (self.stored is None or self.stored.keeps):
            self._budget -= size
            self._kept[position] = inputs
        return inputs

    def table_batch(self, positions: np.ndarray) -> dict[str, Any] | None:
        """Return a batch from the table, see ``data/batches.py``; ``None`` without one."""
        return parts_batch([self], np.zeros(len(positions), int), positions)
