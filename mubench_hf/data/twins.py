"""Finds rows to forget that are also in the test split: a model may know them from there, however well it forgets."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from mubench_hf.tasks import TaskSpec

BATCH = 1000


def count_twins(task: TaskSpec, data: DatasetDict, order: np.ndarray) -> int:
    """Return how many rows of a deletion list have the inputs of a test row; a warning names the first.

    Args:
        task: The task.
        data: Its splits.
        order: The list, positions in train, shape ``[deleted rows]``.
    """
    tested = set(row_keys(data["test"], task.inputs))
    places = [place for place, key in enumerate(row_keys(data["train"].select(order), task.inputs)) if key in tested]
    if places:
        warnings.warn(
            f"{len(places):,} of the {len(order):,} train rows of {task.name} that may be forgotten have the same "
            f"{', '.join(task.inputs)} as a test row; the first is train row {order[places[0]]}. Scores on them say "
            "little about forgetting.",
            stacklevel=2,
        )
    return len(places)


def row_keys(rows: Dataset, columns: tuple[str, ...]) -> Iterator[bytes]:
    """Yield a hash of each row's stored values in some columns; media are hashed by their encoded bytes."""
    from datasets.table import embed_table_storage

    stored = rows.select_columns(list(columns)).with_format("arrow")
    for start in range(0, len(stored), BATCH):
        table = embed_table_storage(stored[start : start + BATCH])
        for values in zip(*(table[name].to_pylist() for name in columns), strict=True):
            yield hashlib.sha256(b"\0".join(_bytes(value) for value in values)).digest()


def _bytes(value: Any) -> bytes:
    if isinstance(value, dict):
        value = value.get("bytes")
    return hashlib.sha256(value if isinstance(value, bytes) else repr(value).encode()).digest()
