"""All rows of a split by their numbers, as a task and a processor make them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mubench_hf.data.pixels import image_part, without_steps
from mubench_hf.errors import BadInput

if TYPE_CHECKING:
    import datasets


class SplitRows:
    """The rows of a split, whose parts are in any order.

    Args:
        parts: Data sets of raw rows.
        indices: Number of each of their rows in the split, int64 ``[rows]`` each; together all from 0.
        prepare: The task's; called with a row and ``processor``.
        processor: The model's processor.
    """

    def __init__(
        self,
        parts: Sequence[datasets.Dataset],
        indices: Sequence[np.ndarray],
        prepare: Callable[..., dict[str, Any]],
        processor: Any,
    ):
        self.parts, self.processor, self._prepare = parts, processor, prepare
        order = np.argsort(np.concatenate(indices))
        self._part = np.repeat(np.arange(len(parts)), [len(index) for index in indices])[order]
        self._place = np.concatenate([np.arange(len(index)) for index in indices])[order]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._part)

    def sample(self, most: int) -> list[int]:
        """Return the numbers of some rows, evenly spaced, with the first and the last."""
        return np.unique(np.linspace(0, len(self) - 1, min(len(self), most)).astype(int)).tolist()

    def prepared(self, number: int) -> dict[str, Any]:
        """Return a row as it is prepared."""
        return self._made(number, self.processor)

    def bare(self, number: int) -> dict[str, Any] | None:
        """Return a row whose pixels are as they come; ``None`` if the processor reads no images."""
        return None if self._without_steps is None else self._made(number, self._without_steps)

    @cached_property
    def _without_steps(self) -> Any:
        return without_steps(self.processor) if image_part(self.processor) else None

    def _made(self, number: int, processor: Any) -> dict[str, Any]:
        rows = self.parts[self._part[number]]
        return prepared_row(rows, int(self._place[number]), partial(self._prepare, processor=processor))


def prepared_row(
    rows: datasets.Dataset, position: int, prepare: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """Return the inputs of one row.

    Raises:
        BadInput: If it cannot be decoded or prepared, naming its index.
    """
    try:
        row = rows[position]  # Images are decoded here.
    except (OSError, SyntaxError) as error:
        named = rows.select_columns("index")[position]["index"] if "index" in rows.column_names else position
        raise BadInput(f"The row at index {named} cannot be decoded: {error}. Build the data set again.") from error
    try:
        return prepare(row)
    except BadInput:
        raise
    except Exception as error:  # A processor checks little of its own settings, so it may be any.
        said = (str(error).splitlines() or [""])[0]
        raise BadInput(
            f"The row at index {row.get('index', position)} cannot be made into a model's inputs "
            f"({type(error).__name__}: {said}). Check the processor beside the model, and the task's `prepare`."
        ) from error
