"""Batches of rows that are in a table, read from it whole instead of row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset
from transformers import default_data_collator

from mubench_hf.data.padding import pads
from mubench_hf.data.pixels import StoredPixels

Finish = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""What a collator does to a batch that is stacked already."""


def table_batch(rows: Any, positions: Sequence[int] | np.ndarray) -> dict[str, Any] | None:
    """Return some rows stacked as they are in their table, pixels as ``StoredPixels`` and lists as ``Ragged``.

    Args:
        rows: The data set.
        positions: Numbers of the rows.

    Returns:
        ``None`` if they are in no table, or a batch of them has to be made of its rows.
    """
    if isinstance(rows, Subset):
        return table_batch(rows.dataset, np.asarray(rows.indices)[np.asarray(positions)])
    make = getattr(rows, "table_batch", None)
    return make(np.asarray(positions)) if make else None


def parts_batch(parts: Sequence[Any], part: np.ndarray, place: np.ndarray) -> dict[str, Any] | None:
    """Return a batch of rows of several data sets, if they are all in one table.

    Args:
        parts: The data sets.
        part: Number of each row's data set, int64 ``[rows]``.
        place: Its number in there.
    """
    stored = [getattr(each, "stored", None) for each in parts]
    if stored[0] is None or any(each is not stored[0] for each in stored):
        return None
    table = stored[0].table
    if table is None:
        return None
    places = np.empty(len(part), np.int64)
    for number, each in enumerate(parts):
        places[part == number] = each.index[place[part == number]]
    return table.batch(places)


def finish_of(collator: Callable[..., Any]) -> Finish | None:
    """Return what a collator does to a batch that is stacked already; ``None`` if it has to be given rows."""
    return as_it_is if collator is default_data_collator else pads(collator) or getattr(collator, "finish", None)


def as_it_is(batch: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a batch as it is."""
    return batch


class TableBatches(Dataset):
    """Rows of a table for a ``DataLoader``, whose workers read each batch whole.

    Args:
        rows: The data set.
        finish: What its collator does to a batch.
    """

    def __init__(self, rows: Any, finish: Finish):
        self.rows, self.finish = rows, finish

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def __getitems__(self, positions: list[int]) -> Mapping[str, Any]:
        """Return one batch."""
        batch = table_batch(self.rows, positions)
        if batch is None:
            raise RuntimeError("These rows are no longer in a table.")
        return self.finish(batch)


def for_loader(rows: Any, collator: Callable[..., Any]) -> tuple[Any, Callable[..., Any]]:
    """Return what a ``DataLoader`` is given: rows and collator, or batches from a table where they give the same.

    Whether they do is tried on a few rows, evenly spaced.
    """
    finish = finish_of(collator)
    if finish is None or not len(rows) or table_batch(rows, [0]) is None:
        return rows, collator
    batches = TableBatches(rows, finish)
    places = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), TRIED)).astype(int)).tolist()
    same = _same(batches.__getitems__(places), collator([rows[place] for place in places]))
    return (batches, as_it_is) if same else (rows, collator)


TRIED = 4
"""Rows of which a batch is made in both ways before one stands for the other."""


def _same(found: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    if found.keys() != expected.keys() or not all(isinstance(value, Tensor) for value in expected.values()):
        return False
    for name, value in expected.items():
        made = found[name].to("cpu") if isinstance(found[name], Tensor | StoredPixels) else None
        if made is None or made.dtype != value.dtype or not torch.equal(made, value):
            return False
    return True
