"""One data set of D_f and D_r rows with a flag."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import default_data_collator

from mubench_hf.data.batches import Finish, finish_of, parts_batch
from mubench_hf.data.columns import column
from mubench_hf.errors import BadInput

IS_FORGET, ROW = "is_forget", "row"
"""What a batch has in addition to the model's inputs: bool and int64 tensors ``[rows]``."""


class JoinedRows(Dataset):
    """D_f and D_r as one data set. A row has its inputs, ``is_forget``, and ``row``, its position here.

    If both parts have ``index``, rows are in upstream order, so that a row has the same position at every deletion
    ratio; otherwise D_f comes before D_r.

    Raises:
        BadInput: If the two parts are one data set or share a row, or an index repeats.
    """

    def __init__(self, forget: Dataset | None, retain: Dataset | None):
        if forget is not None and forget is retain:
            raise BadInput(
                "forget and retain are the same data set; every row of train belongs to exactly one of them."
            )
        self.parts = [part for part in (forget, retain) if part is not None]
        sizes = [len(part) for part in self.parts]
        flags = [part is forget for part in self.parts]
        self.part = np.repeat(np.arange(len(self.parts)), sizes)
        self.place = np.concatenate([np.arange(size) for size in sizes])
        self.is_forget = np.repeat(flags, sizes)
        indices = [column(part, "index") for part in self.parts]
        if all(index is not None for index in indices):
            index = np.concatenate(indices)
            self._check_disjoint(index)
            order = np.argsort(index, kind="stable")
            self.part, self.place, self.is_forget = self.part[order], self.place[order], self.is_forget[order]

    def _check_disjoint(self, index: np.ndarray) -> None:
        values, counts = np.unique(index, return_counts=True)
        if (counts > 1).any():
            shared = values[counts > 1]
            raise BadInput(
                f"forget and retain share {len(shared)} rows (index {', '.join(map(str, shared[:5]))}"
                f"{', ...' if len(shared) > 5 else ''}); every row of train belongs to exactly one of them. "
                "Load both from one configuration, such as df_5pct."
            )

    @property
    def labels(self) -> np.ndarray | None:
        """Labels of all rows, int64 ``[rows]``, or ``None`` if a part does not give its own."""
        parts = [column(part, "labels", "label") for part in self.parts]
        if any(part is None for part in parts):
            return None
        starts = np.cumsum([0, *(len(part) for part in parts)])[:-1]
        return np.concatenate(parts)[starts[self.part] + self.place]

    def __len__(self) -> int:
        """Return the number of rows of both parts."""
        return len(self.part)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Return one row's inputs with its flag and position.

        Raises:
            BadInput: If the row is no dict.
        """
        inputs = self.parts[self.part[position]][int(self.place[position])]
        if not isinstance(inputs, Mapping):
            raise BadInput(
                f"A row is a {type(inputs).__name__}; expected a dict of the model's inputs. Make one of it in the "
                "data set's __getitem__, or with a table take its usual format: rows.with_format(None)."
            )
        return {**inputs, IS_FORGET: bool(self.is_forget[position]), ROW: int(position)}

    def table_batch(self, positions: np.ndarray) -> dict[str, Any] | None:
        """Return a batch from the table that all rows are in, see ``data/batches.py``; ``None`` without one."""
        batch = parts_batch(self.parts, self.part[positions], self.place[positions])
        flags = {IS_FORGET: torch.from_numpy(self.is_forget[positions]), ROW: torch.from_numpy(positions.astype(int))}
        return None if batch is None else {**batch, **flags}


class FlaggedCollator:
    """Collates rows with a user's collator, which does not see the flags, and puts them beside it as tensors."""

    def __init__(self, collator: Callable[[list[Any]], Mapping[str, Any]] = default_data_collator):
        self.collator = collator

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return one batch."""
        flags = {
            IS_FORGET: torch.tensor([row[IS_FORGET] for row in rows]),
            ROW: torch.tensor([row[ROW] for row in rows]),
        }
        inputs = [{name: value for name, value in row.items() if name not in flags} for row in rows]
        return {**_collated(self.collator, inputs), **flags}

    @property
    def finish(self) -> Finish | None:
        """What is done to a batch with flags that is stacked already; ``None`` if the collator has to be given rows."""
        inner = finish_of(self.collator)
        return None if inner is None else partial(_finished, inner)

    @property
    def without_flags(self) -> UnflaggedCollator:
        """The same without the flags."""
        return UnflaggedCollator(self)


class UnflaggedCollator:
    """Collates rows as another collator does, and leaves the flags out.

    Args:
        flagged: The other collator.
    """

    def __init__(self, flagged: FlaggedCollator):
        self.flagged = flagged

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return one batch."""
        return _without_flags(self.flagged(rows))

    @property
    def finish(self) -> Finish | None:
        """As of ``FlaggedCollator``."""
        inner = self.flagged.finish
        return None if inner is None else partial(_unflagged, inner)


def _without_flags(batch: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in batch.items() if name not in (IS_FORGET, ROW)}


def _finished(inner: Finish, batch: Mapping[str, Any]) -> dict[str, Any]:
    flags = {name: batch[name] for name in (IS_FORGET, ROW)}
    return {**inner(_without_flags(batch)), **flags}


def _unflagged(inner: Finish, batch: Mapping[str, Any]) -> dict[str, Any]:
    return _without_flags(inner(batch))


def _collated(collator: Callable[[list[Any]], Mapping[str, Any]], rows: list[dict[str, Any]]) -> Mapping[str, Any]:
    try:
        return collator(rows)
    except (ValueError, RuntimeError) as error:
        for name in rows[0]:
            shapes = {np.shape(row[name]) for row in rows if name in row and not isinstance(row[name], dict)}
            if len(shapes) > 1:
                found = ", ".join(sorted(str(list(shape)) for shape in shapes)[:3])
                raise BadInput(
                    f"Rows of one batch have {name} of different shapes ({found}), and the data_collator does not make "
                    f"them one: {str(error).splitlines()[0]} Give one that pads, such as "
                    "DataCollatorForSeq2Seq(tokenizer), or rows of one length."
                ) from error
        raise
