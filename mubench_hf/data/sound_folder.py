"""Sounds in folders named after their classes, which `datasets` reads only with a system decoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mubench_hf.errors import BadInput

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
SPLITS = ("train", "validation", "test")


def is_sound_folder(path: Path) -> bool:
    """Return whether a folder holds sounds."""
    return any(file.suffix.lower() in SUFFIXES for file in path.rglob("*"))


def read_sound_folder(path: Path) -> DatasetDict:
    """Read ``<split>/<class>/<file>``, or ``<class>/<file>`` as train, into the columns ``audio`` and ``label``.

    Raises:
        BadInput: If a sound is anywhere else.
    """
    from datasets import DatasetDict

    splits = [name for name in SPLITS if (path / name).is_dir()]
    roots = {name: path / name for name in splits} if splits else {"train": path}
    files = {split: sorted(_sounds(root)) for split, root in roots.items()}
    stray = next((file for file in _sounds(path) if file.parent.parent not in roots.values()), None)
    if stray is not None:
        raise BadInput(
            f"{stray} lies in no folder of a class. Needed below {path}: CLASS/FILE, or train/CLASS/FILE and "
            "test/CLASS/FILE."
        )
    names = sorted({file.parent.name for found in files.values() for file in found})
    return DatasetDict({split: _rows(found, names) for split, found in files.items()})


def _sounds(root: Path) -> list[Path]:
    return [file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES]


def _rows(files: list[Path], names: list[str]) -> Dataset:
    """Return rows that point to their files, as an Arrow table: the usual constructors need a decoder."""
    import pyarrow as pa
    from datasets import Audio, ClassLabel, Dataset, Features
    from datasets.table import InMemoryTable

    schema = Features({"audio": Audio(), "label": ClassLabel(names=names)}).arrow_schema
    paths = pa.array([str(file.resolve()) for file in files], pa.string())
    fields = list(schema.field("audio").type)
    audio = pa.StructArray.from_arrays([pa.nulls(len(files), pa.binary()), paths], fields=fields)
    labels = pa.array([names.index(file.parent.name) for file in files], pa.int64())
    return Dataset(InMemoryTable(pa.table([audio, labels], schema=schema)))
