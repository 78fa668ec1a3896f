"""Rows of D_f that are in D_r, too, in data sets that do not number their rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from torch.utils.data import ConcatDataset, StackDataset, Subset

from mubench_hf.data.columns import stored
from mubench_hf.data.fingerprint import row_sha256
from mubench_hf.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

MOST_BYTES = 4 << 30
"""Tables that hold more are not compared by content; rows that a data set makes when they are read never are."""

MOST_ROWS = 2_000
"""Most rows of D_r that are compared in full, after a glance did not tell them from a row of D_f."""

BATCH = 10_000
GLANCES, FIRST_BYTES = 8, 128


def check_disjoint(forget: Any, retain: Any) -> None:
    """Check that no row is in both sets, as far as that can be told without making rows.

    With ``index`` in both, ``JoinedRows`` compares that, and rows of equal content may be different rows. Without it,
    the same position of one data set, inside torch's ``Subset`` and ``ConcatDataset``, is the same row, and so is a row
    of the same content in lists, tables and stacks of tensors. Images and sounds in tables are compared as stored.

    Raises:
        BadInput: If a row is in both.
    """
    if stored(forget, "index") is not None and stored(retain, "index") is not None:
        return
    pair = _same_place(forget, retain) or _same_content(forget, retain)
    if pair is not None:
        raise BadInput(
            f"retain_dataset holds a row of forget_dataset: row {pair[0]} there is row {pair[1]} of retain_dataset, "
            "and every row of train belongs to exactly one of them. Take the rows to forget out of retain_dataset; if "
            "they are different rows that are alike, give both a column 'index' with each row's number in train."
        )


# The same place of one data set --------------------------------------------------------------------------------------


def _same_place(forget: Any, retain: Any) -> tuple[int, int] | None:
    held = {place: at for at, place in enumerate(_places(forget))}
    return next(((held[place], at) for at, place in enumerate(_places(retain)) if place in held), None)


def _places(rows: Any) -> Iterator[tuple[int, int]]:
    """Yield the data set inside wrappers that each row is from, by identity, and its position there."""
    if isinstance(rows, ConcatDataset):
        for part in rows.datasets:
            yield from _places(part)
    elif isinstance(rows, Subset):
        inside = list(_places(rows.dataset))
        yield from (inside[int(at)] for at in rows.indices)
    else:
        yield from ((id(rows), at) for at in range(len(rows)))


# The same content ----------------------------------------------------------------------------------------------------


def _same_content(forget: Any, retain: Any) -> tuple[int, int] | None:
    glances = [_glances(rows) for rows in (forget, retain)]
    if any(each is None for each in glances):
        return None
    contents = [cache(partial(_content, rows)) for rows in (forget, retain)]
    alike = defaultdict(list)
    for at, glance in enumerate(glances[0]):
        alike[int(glance)].append(at)
    for other in np.flatnonzero(np.isin(glances[1], glances[0]))[:MOST_ROWS].tolist():
        for one in alike[int(glances[1][other])][:MOST_ROWS]:
            if contents[0](one) == contents[1](other):
                return one, other
    return None


def _glances(rows: Any) -> np.ndarray | None:
    """Return a number per row, equal for equal rows, int64 ``[rows]``; ``None`` if rows are made when they are read."""
    if isinstance(rows, Subset):
        inside = _glances(rows.dataset)
        return None if inside is None else inside[np.asarray(rows.indices, dtype=int)]
    if isinstance(rows, ConcatDataset):
        parts = [_glances(part) for part in rows.datasets]
        return None if any(part is None for part in parts) else np.concatenate(parts)
    if _is_table(rows):
        if rows.data.nbytes > MOST_BYTES:
            return None
        # Tables are read as they lie in memory: to gather shuffled rows takes far longer.
        table, chosen = rows.data.table, rows._indices
        parts = [_of_table(table.slice(start, BATCH)) for start in range(0, len(table), BATCH)]
        return np.concatenate(parts)[slice(None) if chosen is None else chosen.column(0).to_numpy()]
    if isinstance(rows, list | tuple) or _is_stack(rows):
        return np.array([hash(_glance(_without_index(rows[at]))) for at in range(len(rows))], dtype=np.int64)
    return None


def _is_table(rows: Any) -> bool:
    return hasattr(rows, "with_format") and hasattr(rows, "data") and hasattr(rows, "column_names")


def _is_stack(rows: Any) -> bool:
    parts = rows.datasets if isinstance(rows, StackDataset) else ()
    values = parts.values() if isinstance(parts, dict) else parts
    return bool(parts) and all(isinstance(part, Sequence | np.ndarray | Tensor) for part in values)


def _without_index(row: Any) -> Any:
    return {name: value for name, value in row.items() if name != "index"} if isinstance(row, Mapping) else row


def _content(rows: Any, at: int) -> str:
    """Return a hash of one row, of a table as it is stored."""
    if isinstance(rows, Subset):
        return _content(rows.dataset, int(rows.indices[at]))
    if isinstance(rows, ConcatDataset):
        part = int(np.searchsorted(rows.cumulative_sizes, at, side="right"))
        return _content(rows.datasets[part], at - (rows.cumulative_sizes[part - 1] if part else 0))
    row = rows.with_format("arrow")[at].to_pylist()[0] if _is_table(rows) else rows[at]
    return row_sha256(_without_index(row))


def _glance(value: Any) -> Any:
    """Return some of a value, hashable."""
    if value is None or isinstance(value, bool | int | float | np.generic):
        return value
    if isinstance(value, str | bytes):
        return value[:64], value[-64:], len(value)
    if isinstance(value, list | tuple):
        return (len(value), *[_glance(value[at]) for at in _spread(len(value))])
    if isinstance(value, Tensor | np.ndarray):
        flat = value.reshape(-1)
        return (*value.shape, *flat[list(_spread(len(flat)))].tolist())
    if isinstance(value, Mapping):
        return tuple((str(name), _glance(value[name])) for name in sorted(value, key=str))
    return type(value).__name__


@cache
def _spread(length: int) -> tuple[int, ...]:
    return tuple(np.unique(np.linspace(0, length - 1, min(length, GLANCES)).astype(int)).tolist()) if length else ()


def _of_table(table: pa.Table) -> np.ndarray:
    names = sorted(name for name in table.column_names if name != "index")
    return _mixed(len(table), [_of_column(table[name].combine_chunks()) for name in names])


def _of_column(column: Any) -> np.ndarray:
    """Return a number per value of a column, equal for equal values, uint64: of texts and lists from a part of them."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    kind, size = column.type, len(column)
    if pa.types.is_struct(kind):
        return _mixed(size, [_of_column(column.field(at)) for at in range(kind.num_fields)])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0)).astype(np.int64)
        values = column.flatten()
        starts = np.cumsum(lengths) - lengths
        parts = [lengths.astype(np.uint64)]
        for at in range(GLANCES if len(values) else 0):
            places = np.where(lengths > 0, starts + (lengths - 1) * at // (GLANCES - 1), 0)
            marks = _of_column(values.take(pa.array(places)))
            parts.append(np.where(lengths > 0, marks, 0).astype(np.uint64))
        return _mixed(size, parts)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        lengths = np.asarray(pc.fill_null(pc.binary_length(column), -1)).astype(np.uint64)
        column = pc.binary_slice(column, 0, FIRST_BYTES)
        return _mixed(size, [lengths, pd.util.hash_array(column.to_numpy(zero_copy_only=False), categorize=False)])
    if pa.types.is_null(kind):
        return np.zeros(size, dtype=np.uint64)
    return pd.util.hash_array(column.to_numpy(zero_copy_only=False), categorize=False)


def _mixed(size: int, parts: list[np.ndarray]) -> np.ndarray:
    """Return one number of several per row, which depends on their order."""
    found = np.zeros(size, dtype=np.uint64)
    for part in parts:
        found = found * np.uint64(1_000_003) + part.astype(np.uint64)
    return found.view(np.int64)
