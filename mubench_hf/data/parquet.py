"""Rows → one compact parquet file that ``datasets`` reads with all its features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mubench_hf.data.media import first_unreadable
from mubench_hf.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset, Features

FIRST_GROUP_ROWS, GROUP_ROWS, GROUP_BYTES = 100, 1000, 32 * 2**20
"""Rows of a file's first row group; limits on rows and bytes of later ones, which also bound the memory."""


def write_parquet(
    path: Path, rows: Dataset, index: np.ndarray, features: Features, *, split: str, bar: Any = None
) -> None:
    """Write rows and their upstream row numbers; media go in as their original encoded bytes, once they are readable.

    Args:
        path: File to write.
        rows: Rows to write, in order.
        index: Upstream row number of each, shape ``[rows]``.
        features: Features of the file, see ``block_features``.
        split: Upstream split of the rows, for errors.
        bar: tqdm bar that counts rows.

    Raises:
        BadInput: If a value is missing or cannot be decoded, naming split, column and index.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets.table import embed_table_storage

    columns = list(features)[1:]
    rows = rows.select_columns(columns).with_format("arrow")
    schema = features.arrow_schema
    # A block of few rows is mostly metadata, so only what `datasets` reads is written: no statistics, no second schema.
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=False,
        column_encoding={"index": "DELTA_BINARY_PACKED"},
        write_statistics=False,
        store_schema=False,
    ) as writer:
        start, step = 0, FIRST_GROUP_ROWS
        while start < len(rows):
            # Embedding reads the files that rows point to, so a row's size is known only afterwards.
            table = embed_table_storage(rows[start : start + step])
            where = index[start : start + step]
            for column_name in columns:
                missing = np.flatnonzero(table[column_name].is_null().to_numpy())
                if len(missing):
                    raise BadInput(
                        f"Split {split!r}: column {column_name!r} has no value at index {where[missing[0]]}. "
                        "Every row needs one; check the upstream files."
                    )
                _check_media(
                    features[column_name], table[column_name], where, f"Split {split!r}: column {column_name!r}"
                )
            arrays = [pa.array(where, pa.int64()), *(table[name] for name in columns)]
            writer.write_table(pa.table(arrays, schema=schema))
            start += len(where)
            step = int(np.clip(GROUP_BYTES * len(where) // table.nbytes, 1, GROUP_ROWS))
            if bar is not None:
                bar.update(len(where))
        writer.add_key_value_metadata({"huggingface": schema.metadata[b"huggingface"]})


def _check_media(feature: Any, values: pa.ChunkedArray, where: np.ndarray, what: str) -> None:
    from datasets import Audio, Image, Video

    if not isinstance(feature, Audio | Image | Video):
        return
    stored = values.to_pylist()
    found = first_unreadable(feature, stored)
    if found:
        place, reason = found
        raise BadInput(
            f"{what} cannot be decoded at index {where[place]} ({stored[place]['path'] or 'no file name'}): {reason}. "
            "Check the upstream files."
        )


def block_features(rows: Dataset, columns: tuple[str, ...]) -> Features:
    """Return the features of a built split: ``index``, then the columns of ``rows`` in the given order."""
    from datasets import Features, Value

    return Features({"index": Value("int64"), **{name: rows.features[name] for name in columns}})


def column(rows: Dataset, name: str) -> pa.ChunkedArray:
    """Return one column in row order; no other column is read."""
    return rows.select_columns([name]).with_format("arrow")[:][name]
