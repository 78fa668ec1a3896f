"""Speech Commands as upstream has it: SUPERB's parquet files, or the two archives from which its lists are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mubench_hf.errors import BadInput
from mubench_hf.tasks._sounds import read_sound

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features

SAMPLING_RATE = 16_000
WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
SILENCE, UNKNOWN = "_silence_", "_unknown_"
LABELS = (*WORDS, SILENCE, UNKNOWN)

ARCHIVE, TEST_ARCHIVE = "speech_commands_v0.01", "speech_commands_test_set_v0.01"
NOISE_FOLDERS = (SILENCE, "_background_noise_")


def decode(audio: Mapping[str, Any]) -> np.ndarray:
    """Decode one stored sound.

    Args:
        audio: Its encoded ``bytes``, or the ``path`` of its file if there are none.

    Returns:
        float32 samples in [-1, 1], 16,000 per second, channels averaged, shape ``[samples]``.

    Raises:
        ValueError: If it is not a sound that libsndfile reads, is empty or has another sampling rate.
        BadInput: If soundfile is not installed.
    """
    sound, rate = read_sound(audio["path"] if audio["bytes"] is None else audio["bytes"])
    if rate != SAMPLING_RATE:
        raise ValueError(f"{rate} samples per second")
    return sound.mean(1)


def undecodable(where: str, error: ValueError) -> BadInput:
    """Return the error for a sound that ``decode`` cannot read; ``where`` names its row."""
    return BadInput(
        f"{where}: column 'audio' cannot be decoded ({error}). Needed: sound of {SAMPLING_RATE:,} samples per second "
        "that libsndfile reads, such as WAV or FLAC; check the upstream files."
    )


def features() -> Features:
    """Return the task's columns."""
    from datasets import Audio, ClassLabel, Features

    return Features({"audio": Audio(sampling_rate=SAMPLING_RATE), "label": ClassLabel(names=list(LABELS))})


def sound_rows(labels: Iterable[str], stored: Iterable[bytes | None], paths: Iterable[str]) -> Dataset:
    """Return rows as an Arrow table; the usual constructors need a decoder even for audio that is not decoded.

    Args:
        labels: Label of each row, by name.
        stored: Encoded sound of each row; ``None`` for one that is read from its file.
        paths: Name or path of each row's file.
    """
    import pyarrow as pa
    from datasets import Dataset
    from datasets.table import InMemoryTable

    schema = features().arrow_schema
    audio = pa.StructArray.from_arrays(
        [pa.array(stored, pa.binary()), pa.array(paths, pa.string())], fields=list(schema.field("audio").type)
    )
    return Dataset(InMemoryTable(pa.table([audio, pa.array(map(LABELS.index, labels), pa.int64())], schema=schema)))


def read_folder(raw: Path) -> DatasetDict:
    """Read the three splits from a folder of either layout.

    Raises:
        BadInput: If the folder has neither, or a list names a missing file.
    """
    from datasets import load_dataset

    if (raw / ARCHIVE).is_dir():
        return _read_archives(raw)
    folder = raw / "ks" if (raw / "ks").is_dir() else raw
    found = {split: sorted(map(str, folder.glob(f"{split}/*.parquet"))) for split in ("train", "validation", "test")}
    missing = [split for split, files in found.items() if not files]
    if missing:
        raise BadInput(
            f"No files {folder}/{missing[0]}/*.parquet. Needed in {raw}: ks/train, ks/validation and ks/test with "
            f"SUPERB's parquet files, or {ARCHIVE} and {TEST_ARCHIVE}, the two unpacked archives."
        )
    return with_task_columns(load_dataset("parquet", data_files=found))


def with_task_columns(data: DatasetDict) -> DatasetDict:
    """Return SUPERB's rows with the task's columns only.

    Raises:
        BadInput: If they have no sound, or other classes.
    """
    for split, rows in data.items():
        label = rows.features.get("label")
        if "audio" not in rows.features or list(getattr(label, "names", ())) != list(LABELS):
            raise BadInput(
                f"Split {split!r} has the features {rows.features}. Needed: audio, and label with the classes "
                f"{', '.join(LABELS)} in this order."
            )
    return data.select_columns(["audio", "label"]).cast(features())


def _read_archives(raw: Path) -> DatasetDict:
    """List the rows of SUPERB's three splits: all files sorted by path, and all of the test archive for test."""
    from datasets import DatasetDict

    train, test = raw / ARCHIVE, raw / TEST_ARCHIVE
    files = {"train": _sounds(train), "test": _sounds(test)}
    files["validation"] = _listed(train / "validation_list.txt", files["train"])
    files["train"] -= files["validation"] | _listed(train / "testing_list.txt", files["train"])
    rows = {}
    for split, folder in (("train", train), ("validation", train), ("test", test)):
        paths = sorted(files[split])
        labels = [_label(path.split("/")[0]) for path in paths]
        rows[split] = sound_rows(labels, [None] * len(paths), [str(folder / path) for path in paths])
    return DatasetDict(rows)


def _sounds(folder: Path) -> set[str]:
    """Return the sounds one folder below ``folder``, as ``word/name.wav``."""
    found = {file.relative_to(folder).as_posix() for file in folder.glob("*/*.wav")}
    if not found:
        raise BadInput(f"No files {folder}/*/*.wav. Needed: {folder.name}.tar.gz unpacked into {folder}.")
    return found


def _listed(file: Path, sounds: set[str]) -> set[str]:
    """Return the sounds that a list of an archive names, one per line."""
    if not file.is_file():
        raise BadInput(f"There is no file {file}. Unpack {ARCHIVE}.tar.gz into {file.parent}.")
    named = set()
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() not in sounds:
            raise BadInput(
                f"{file}, line {number}: {line!r} is not a file below {file.parent}. Needed: word/name.wav of one that "
                f"is; unpack {ARCHIVE}.tar.gz afresh."
            )
        named.add(line.strip())
    return named


def _label(word: str) -> str:
    return word if word in WORDS else SILENCE if word in NOISE_FOLDERS else UNKNOWN
