"""Reads any data set and finds its train and test rows: a Hub id, a folder, a file or a `datasets` object."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mubench_hf.data.sound_folder import is_sound_folder, read_sound_folder
from mubench_hf.errors import BadInput
from mubench_hf.tasks._commits import dataset_commit
from mubench_hf.utils.files import disk_is_full

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

READERS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
HUB_NAME = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(:(?P<config>[\w.-]+))?")
ALLOWED = (
    "Allowed: ORG/NAME or ORG/NAME:CONFIG of a data set on the Hub; a folder, for example of images or sounds in "
    "folders named after their classes; a .csv, .json, .jsonl or .parquet file; in Python, a Dataset or DatasetDict too"
)

HOLD_OUT_SEED = 42
"""Seed of the draw that holds test rows out of train."""

BATCH = 1000


@dataclass(frozen=True)
class FoundData:
    """Data as they were found.

    Attributes:
        splits: All splits with all columns.
        name: Their name: that of the file or folder, or the Hub id; ``None`` for an object.
        hub_id: Their id on the Hub, if they are from there.
    """

    splits: DatasetDict
    name: str | None
    hub_id: str | None = None


def read_data(data: Any) -> FoundData:
    """Read all splits of a data set.

    Raises:
        BadInput: If there are no such data, or they cannot be read.
    """
    from datasets import Dataset, DatasetDict

    if isinstance(data, Dataset):
        return FoundData(DatasetDict(train=data), None)
    if isinstance(data, DatasetDict):
        return FoundData(DatasetDict(data), None)
    if not isinstance(data, str | Path):
        raise BadInput(f"A {type(data).__name__} is no data set. {ALLOWED}.")
    path, on_hub = Path(data), HUB_NAME.fullmatch(str(data))
    if path.is_file():
        if path.suffix not in READERS:
            raise BadInput(f"{path} is not a data file that can be read. {ALLOWED}.")
        return FoundData(_load(str(path), READERS[path.suffix], data_files={"train": str(path)}), path.name)
    if path.is_dir():
        return FoundData(_folder(path), path.resolve().name)
    if on_hub:
        commit = dataset_commit(on_hub["id"])
        splits = _load(str(data), on_hub["id"], name=on_hub["config"], revision=commit)
        return FoundData(splits, str(data), on_hub["id"])
    raise BadInput(f"There are no data at {data}. {ALLOWED}.")


def _folder(path: Path) -> DatasetDict:
    from datasets import Dataset, DatasetDict, load_from_disk

    if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        found = _read(str(path), load_from_disk, str(path))
        return DatasetDict(train=found) if isinstance(found, Dataset) else found
    return read_sound_folder(path) if is_sound_folder(path) else _load(str(path), str(path.resolve()))


def _load(shown: str, path: str, *, revision: str | None = None, **kwargs: Any) -> DatasetDict:
    from datasets import load_dataset

    return _read(shown, load_dataset, path, revision=revision, **kwargs)


def _read(shown: str, reader: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what a reader of ``datasets`` makes of files that anyone may have written.

    Raises:
        BadInput: For whatever it raises, except that the disk is full.
    """
    try:
        return reader(*args, **kwargs)
    except Exception as error:  # Readers of many formats, which check little of what they read, raise anything.
        if disk_is_full(error):
            raise
        reason = " ".join(str(error.__cause__ or error).split()).rstrip(".") or type(error).__name__
        raise BadInput(f"{shown} cannot be read as a data set: {reason}. {ALLOWED}.") from error


def train_rows(found: FoundData) -> Dataset:
    """Return the split ``train``, or the only one.

    Raises:
        BadInput: If there are several, and none has that name.
    """
    if "train" not in found.splits and len(found.splits) != 1:
        raise BadInput(f"The data have the splits {', '.join(found.splits)}. One of them has to be called 'train'.")
    return found.splits["train"] if "train" in found.splits else next(iter(found.splits.values()))


def test_rows(found: FoundData, test: Any, hold_out: str | None) -> tuple[Dataset | None, str]:
    """Return the test rows, and a phrase on where they are from; no rows if they are to be held out of train.

    Args:
        found: The data.
        test: Name of a split, or other data; ``None`` takes the split ``test``.
        hold_out: Share of train to hold out instead, such as ``20%``.

    Raises:
        BadInput: If there is no test split, and none is named or to be held out.
    """
    if hold_out is not None:
        if test is not None:
            raise BadInput(
                "Test rows are either named (--test) or held out of train (--hold_out). Give one of the two."
            )
        return None, f"{share(hold_out):g}% of the train rows, held out with seed {HOLD_OUT_SEED}"
    if test is None or (isinstance(test, str) and test in found.splits and not Path(test).exists()):
        split = "test" if test is None else test
        others = [name for name in found.splits if name != "train" and len(found.splits) > 1]
        if split not in found.splits:
            raise BadInput(
                f"The data have the splits {', '.join(found.splits)}, and no test split. Name the test rows, --test "
                f"{others[0] if others else 'FILE'} (a split, a file, a folder or a Hub id), or hold some of the train "
                "rows out: --hold_out 20%."
            )
        if found.splits[split] is train_rows(found):
            raise BadInput(f"The split {split!r} is the train split. Name another one, or give --hold_out 20%.")
        return found.splits[split], f"the split {split!r}"
    other = read_data(test)
    chosen = "test" if "test" in other.splits else next(iter(other.splits))
    if len(other.splits) > 1 and chosen != "test":
        raise BadInput(f"The test data have the splits {', '.join(other.splits)}. One has to be called 'test'.")
    return other.splits[chosen], other.name or "given beside the train rows"


def share(text: str | float) -> float:
    """Return a percentage such as ``20%`` as its number.

    Raises:
        BadInput: If it is not above 0 and below 100 percent.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", str(text).strip())
    if not found or not 0 < float(found[1]) < 100:
        raise BadInput(
            f"{text!r} is no share of the train rows to hold out. Allowed: such as 20%, above 0% and below 100%."
        )
    return float(found[1])


def held_out(rows: int, percent: float, keep: Iterable[int]) -> np.ndarray:
    """Return which rows of train become test rows: a draw with ``HOLD_OUT_SEED``, in row order.

    Args:
        rows: Number of train rows.
        percent: Percent of them to hold out.
        keep: Rows that stay in train because they are to be forgotten.

    Raises:
        BadInput: If there are too few rows.
    """
    allowed = np.setdiff1d(np.arange(rows), np.fromiter(keep, dtype=np.int64))
    count = round(rows * percent / 100)
    if not 0 < count < len(allowed):
        raise BadInput(
            f"{count:,} of {rows:,} train rows cannot be held out beside {rows - len(allowed):,} that are to be "
            "forgotten. Hold out another share, or name test rows with --test."
        )
    return np.sort(np.random.RandomState(HOLD_OUT_SEED).permutation(allowed)[:count])


def content_sha256(splits: DatasetDict) -> str:
    """Return a hash of the rows of all splits, which does not depend on paths: media count by their encoded bytes."""
    import pyarrow as pa
    from datasets.table import embed_table_storage

    digest = hashlib.sha256()
    for split, rows in sorted(splits.items()):
        columns = sorted(rows.column_names)
        digest.update(f"{split} {len(rows)} {[(name, str(rows.features[name])) for name in columns]}\n".encode())
        stored = rows.select_columns(columns).with_format("arrow")
        for start in range(0, len(rows), BATCH):
            table = embed_table_storage(stored[start : start + BATCH]).select(columns).replace_schema_metadata(None)
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table.combine_chunks())
            digest.update(sink.getvalue())
    return digest.hexdigest()
