"""Rows that are prepared once and then read from a table, if they take more memory than each process should hold."""

from __future__ import annotations

import errno
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mubench_hf.data.fingerprint import own_random_state, row_sha256
from mubench_hf.data.row_table import RowTable, read_table
from mubench_hf.data.row_table_making import Unsuitable, plans, table_bytes, write_table
from mubench_hf.data.split_rows import SplitRows
from mubench_hf.errors import shown
from mubench_hf.utils.files import disk_is_full
from mubench_hf.utils.locks import held

SMALL = 128 << 20
"""Bytes of prepared rows that every process keeps for itself; from this on they are in a table that all share."""

SPARE = 1 << 30
"""Bytes of disk that a table leaves free."""

SAMPLE = 8
"""Rows that tell how a table is stored, and whether one that is there was made of the rows at hand."""

LIBRARIES = ("mubench_hf", "transformers", "tokenizers", "torch", "numpy", "scipy", "pillow", "soundfile", "av")
"""Packages that have a part in what a row becomes."""


def row_bytes(row: Mapping[str, Any]) -> int:
    """Return about how many bytes a prepared row takes in memory."""
    number = sys.getsizeof(1 << 20) + 8  # An int, and where a list notes it.
    return sum(value.nbytes if hasattr(value, "nbytes") else number * _length(value) for value in row.values())


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list | tuple) else 0


def is_whole(indices: Sequence[np.ndarray]) -> bool:
    """Return whether parts of a split are together all its rows, by their numbers."""
    index = np.concatenate(indices)
    return len(index) > 0 and bool((np.sort(index) == np.arange(len(index))).all())


class StoredRows:
    """All rows of a split, from which a table is made when the first is read, and kept for other runs.

    Args:
        rows: The rows.
        folder: Where the table is or will be.
        made_of: What the rows, their preparation and the processor are, as JSON.
        name: What the rows are called in what is printed.
    """

    def __init__(self, rows: SplitRows, folder: Path, made_of: Mapping[str, Any], name: str):
        self.rows, self.folder, self.made_of, self.name = rows, folder, dict(made_of), name
        self.keeps = True
        self._table: RowTable | None = None
        self._decided = False

    @property
    def table(self) -> RowTable | None:
        """The table; ``None`` if rows are better kept in memory, or cannot be kept."""
        if not self._decided:
            self._decided = True
            with own_random_state():
                self._table = self._decide()
        return self._table

    def _decide(self) -> RowTable | None:
        rows = self.rows
        if not len(rows) or row_bytes(rows.prepared(0)) * len(rows) <= SMALL:
            return None
        places = rows.sample(SAMPLE)
        sample = [rows.prepared(place) for place in places]
        hashes = [row_sha256(row) for row in sample]
        if hashes != [row_sha256(rows.prepared(place)) for place in places]:
            self.keeps = False
            self._say("are prepared otherwise each time, so none is kept")
            return None
        made_of = {**self.made_of, "versions": _versions(), "sample": hashes}
        if table := self._read(made_of, places, hashes):
            return table
        try:
            lock = self.folder.parent / f".{self.folder.name}.lock"
            with held(lock, named=self.folder, doing="making this table of prepared rows"):
                return self._read(made_of, places, hashes) or self._make(made_of, places, sample, hashes)
        except OSError as error:
            if not disk_is_full(error) and error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            self._say(f"have no table, since it cannot be written ({error.strerror or error}): {AS_READ}")
            return None

    def _read(self, made_of: Mapping[str, Any], places: list[int], hashes: list[str]) -> RowTable | None:
        table = read_table(self.folder, made_of)
        if table and table.rows == len(self.rows):
            return table if [row_sha256(table.row(place)) for place in places] == hashes else None
        return None

    def _make(
        self, made_of: Mapping[str, Any], places: list[int], sample: list[dict[str, Any]], hashes: list[str]
    ) -> RowTable | None:
        why = "nothing fits them"
        try:
            for columns in plans(self.rows, sample, places):
                needed, free = table_bytes(columns, sample, len(self.rows)), _free(self.folder)
                if needed + SPARE > free:
                    why = f"it takes {needed / 1e9:.1f} GB beside a spare {SPARE / 1e9:.1f}, {free / 1e9:.1f} are free"
                    continue
                self._say(f"are prepared once, into a table of {needed / 1e9:.2f} GB in {self.folder}")
                try:
                    with tqdm(total=len(self.rows), desc=f"Rows of {self.name}", disable=None) as bar:
                        write_table(self.folder, self.rows, columns, made_of, bar.update)
                except Unsuitable as error:
                    why = str(error)
                    continue
                if table := self._read(made_of, places, hashes):
                    return table
                why = "what was written is not what was read"
        except Unsuitable as error:
            why = str(error)
        self._say(f"have no table, since {why}: {AS_READ}")
        return None

    def _say(self, what: str) -> None:
        print(shown(f"mubench: the {len(self.rows):,} rows of {self.name} {what}."), file=sys.stderr, flush=True)


AS_READ = "they are prepared as they are read, and kept as far as memory is meant for them"


def _versions() -> dict[str, str]:
    """Return the versions of what makes rows; libraries may round otherwise on another machine."""
    found = {"machine": platform.machine()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _free(folder: Path) -> int:
    there = next(parent for parent in folder.absolute().parents if parent.exists())
    return shutil.disk_usage(there).free
