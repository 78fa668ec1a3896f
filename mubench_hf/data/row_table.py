"""Prepared rows on disk: columns that all processes map into memory, and read one row or a batch of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from mubench_hf.data.padding import ragged
from mubench_hf.data.pixels import PixelRecipe, StoredPixels
from mubench_hf.utils.files import known_sha256
from mubench_hf.utils.sealed import SEAL, seal_holds

NOTE, FORMAT = "table.json", 1
"""File that says what a table is made of and how it is read, and the number of that layout."""

MOST_HASHED = 4 << 30
"""Bytes of a file whose hash is checked; of a larger one, the size."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: The model's name for it.
        form: ``number``: a Python number per row; ``numbers``: a list of whole numbers; ``tensor``: tensors of one
            shape; ``pixels``: the same, stored as 8-bit pixels.
        dtype: NumPy's name of the type that is stored.
        shape: Shape of a row as it is stored.
        recipe: Fields of the ``PixelRecipe``, its values in hexadecimal digits.
    """

    name: str
    form: Literal["number", "numbers", "tensor", "pixels"]
    dtype: str
    shape: tuple[int, ...] = ()
    recipe: Mapping[str, Any] | None = None

    @cached_property
    def pixels(self) -> PixelRecipe:
        """How its pixels are made into what the model reads."""
        made = dict(self.recipe or {})
        sides = {name: tuple(made[name]) if made[name] else None for name in ("resized", "cut")}
        return PixelRecipe(bytes.fromhex(made["values"]), **sides)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, of a list those of one number."""
        return np.dtype(self.dtype).itemsize * prod(self.shape)

    def note(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


class RowTable:
    """The rows of a table. Copies of it in other processes share its memory.

    Args:
        folder: Where it is.
        rows: How many rows it has.
        columns: Its columns, in the order of a row's fields.
    """

    def __init__(self, folder: Path, rows: int, columns: Sequence[Column]):
        self.folder, self.rows, self.columns = folder, rows, tuple(columns)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the mapped memory out: another process maps it itself."""
        return {name: value for name, value in vars(self).items() if name != "_mapped"}

    @cached_property
    def _mapped(self) -> list[tuple[np.ndarray, np.ndarray | None]]:
        mapped = []
        for number, column in enumerate(self.columns):
            files = files_of(self.folder, number, column)
            if column.form == "numbers":
                starts = np.memmap(files[1], np.int64, "r")
                mapped.append((np.memmap(files[0], column.dtype, "r") if starts[-1] else np.zeros(0, int), starts))
            else:
                mapped.append((np.memmap(files[0], column.dtype, "r", shape=(self.rows, *column.shape)), None))
        return mapped

    def row(self, place: int) -> dict[str, Any]:
        """Return a row as the task's ``prepare`` made it.

        Args:
            place: Its number in the table.
        """
        row: dict[str, Any] = {}
        for column, (values, starts) in zip(self.columns, self._mapped, strict=True):
            if starts is not None:
                row[column.name] = values[starts[place] : starts[place + 1]].tolist()
            elif column.form == "number":
                row[column.name] = values[place].item()
            else:
                stored = torch.from_numpy(np.array(values[place]))
                row[column.name] = column.pixels(stored) if column.form == "pixels" else stored
        return row

    def batch(self, places: np.ndarray) -> dict[str, Any]:
        """Return rows stacked, with pixels as ``StoredPixels`` and lists as ``Ragged``.

        Args:
            places: Numbers of the rows, int64 ``[rows]``.
        """
        batch: dict[str, Any] = {}
        for column, (values, starts) in zip(self.columns, self._mapped, strict=True):
            if starts is not None:
                batch[column.name] = ragged(values, starts, places)
                continue
            stored = torch.from_numpy(values[places])
            if column.form == "number" and stored.is_floating_point():
                stored = stored.float()
            batch[column.name] = StoredPixels(stored, column.pixels) if column.form == "pixels" else stored
        return batch


def files_of(folder: Path, number: int, column: Column) -> list[Path]:
    """Return the files of a column: its values and, of lists, where each row's begin, with the end."""
    values = folder / f"{number}.bin"
    return [values, folder / f"{number}.starts.bin"] if column.form == "numbers" else [values]


def described_files(folder: Path, columns: Sequence[Column]) -> dict[str, dict[str, Any]]:
    """Return size and, unless it is large, hash of each file of a table."""
    found = {}
    for file in (file for number, column in enumerate(columns) for file in files_of(folder, number, column)):
        size = file.stat().st_size
        found[file.name] = {"bytes": size, "sha256": known_sha256(file) if size <= MOST_HASHED else None}
    return found


def read_table(folder: Path, made_of: Mapping[str, Any]) -> RowTable | None:
    """Return the table in ``folder``; ``None`` if there is none that is whole and made of these rows in this way.

    Args:
        folder: Where it would be.
        made_of: What its note must say about that.
    """
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        if note["format"] != FORMAT or note["made_of"] != made_of or SEAL not in note or not seal_holds(note):
            return None
        columns = [Column(**{**each, "shape": tuple(each["shape"])}) for each in note["columns"]]
        if described_files(folder, columns) != note["files"]:
            return None
        return RowTable(folder, note["rows"], columns)
    except (OSError, ValueError, TypeError, KeyError):
        return None
