"""Results and logits on disk: one JSON and one npz per run, each replaced whole or not at all."""

from __future__ import annotations

import math
import re
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from mubench_hf.data.manifest import learn_tasks
from mubench_hf.errors import BadInput
from mubench_hf.metrics.parameters import SPLITS, kept_outputs
from mubench_hf.runs.record import ORIGINAL, RunId, RunRecord, reference_names
from mubench_hf.runs.result import RunResult
from mubench_hf.utils.files import known_sha256, write_atomic
from mubench_hf.utils.json_files import read_bytes

if TYPE_CHECKING:
    import pandas as pd

IDENTITY = ("config", "settings", "external", "data_fingerprint", "deletion_sha256", "base_revision")
"""Fields, besides the name, that results of the same run share."""

LOGIT_KEYS = (*(f"{split}_{what}" for split in SPLITS for what in ("logits", "labels")), "chance")
"""Arrays that the outputs of every run hold; ``kept_outputs`` names all that there may be."""

LARGEST_OUTPUTS, MOST_PACKED = 512 * 2**20, 4
"""Bytes that outputs may unpack to, whatever the size of their file, and how many times that size they may have."""


def save_result(result: RunResult, folder: str | Path) -> Path:
    """Write ``<folder>/<result.name>.json`` and return its path.

    Raises:
        BadInput: If the file holds the result of another run, which is kept.
    """
    check_same_run(result, result.run, folder)
    text = result.to_json().encode()
    return write_atomic(Path(folder) / f"{result.name}.json", lambda stream: stream.write(text))


def check_same_run(mine: RunResult | RunRecord, run: RunId, folder: str | Path) -> None:
    """Check that a folder holds no result of another run under this run's name.

    Args:
        mine: The run.
        run: Its name, at the ratio of its scores.
        folder: Folder of results.

    Raises:
        BadInput: If it does, naming what differs, or the run.
    """
    file = Path(folder) / f"{run.name}.json"
    if not file.exists():
        return
    there = load_named_result(file)
    differing = [name for name in IDENTITY if getattr(there, name) != getattr(mine, name)]
    if differing:
        raise BadInput(
            f"{file} is the result of another run (its {', '.join(differing)} differ), and is kept. "
            "Move it, or choose another --out."
        )


def load_result(path: str | Path) -> RunResult:
    """Read one result.

    Raises:
        BadInput: If the file is missing or is not a valid result; the message names it.
    """
    try:
        return RunResult.from_json(read_bytes(Path(path)).decode("utf-8"))
    except (OSError, ValueError) as error:  # BadInput and UnicodeDecodeError are ValueErrors
        raise BadInput(f"Cannot read the result {path}: {error}") from error


def load_named_result(path: Path) -> RunResult:
    """Read the result that a file is named after.

    Raises:
        BadInput: If it cannot be read, or is the result of another run, such as one that was copied over it.
    """
    result = load_result(path)
    if result.name != path.stem:
        raise BadInput(f"{path} is the result of another run, {result.name}. Give the file its name, or remove it.")
    return result


class Results(list[RunResult]):
    """Results of runs, in order: a list that can become a table."""

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per run: its name's parts, its status, and one column per score, NaN where it is missing."""
        import pandas as pd

        fields = ("task", "variant", "model", "method", "del_ratio", "seed", "status")
        rows = [
            {
                **{name: getattr(run, name) for name in fields},
                "tag": run.run.tag,
                "settings": run.settings,
                **run.scores,
            }
            for run in self
        ]
        scores = sorted({name for run in self for name in run.scores})
        frame = pd.DataFrame(rows, columns=[*fields, "tag", "settings", *scores])
        return frame.astype(dict.fromkeys(scores, float))


def load_results(folder: str | Path) -> Results:
    """Read every ``*.json`` directly in ``folder``, sorted by task, variant, model, ratio, method and seed.

    Afterwards, tasks that were made from data are known by their names if their data sets are beside the folder.

    Raises:
        BadInput: If the folder is missing, a file is not a valid result, or two files hold the same run.
    """
    folder = Path(folder)
    folder = folder / "results" if (folder / "results").is_dir() else folder
    if not folder.is_dir():
        raise BadInput(f"No folder of results at {folder}.")
    learn_tasks(folder.resolve().parent)
    found: dict[str, Path] = {}
    results = []
    for path in sorted(folder.glob("[!.]*.json")):
        result = load_result(path)
        if result.name in found:
            raise BadInput(f"{found[result.name]} and {path} both hold the run {result.name}; remove one.")
        found[result.name] = path
        results.append(result)
    order = ("task", "variant", "model", "del_ratio", "method")
    return Results(sorted(results, key=lambda r: (*(getattr(r, name) or 0 for name in order), r.run.tag, r.seed)))


def reference_results(mine: RunResult | RunRecord, run: RunId, folder: str | Path) -> dict[str, RunResult]:
    """Return those results that a run's scores are compared with and that a folder has.

    Args:
        mine: The run.
        run: Its name, at the ratio of its scores.
        folder: Folder of results.

    Returns:
        ``original`` and ``retrain``, see ``reference_names``.

    Raises:
        BadInput: If the file of one of them holds another run's result.
    """
    names = reference_names(run, mine.base_model, mine.external)
    files = {"retrain": f"{names['retrain']}.json"}
    if "original" in names:
        files["original"] = f"{_at(names['original'], run.del_ratio)}.json"
    elif mine.base_model == f"mubench/{run.table_name}":  # Before 0.2 one original served every seed.
        files["original"] = f"{_at(f'{run.table_name}-{ORIGINAL}-s', run.del_ratio)}*.json"
    found = {name: sorted(Path(folder).glob(pattern)) for name, pattern in files.items()}
    return {name: load_named_result(paths[0]) for name, paths in found.items() if paths}


def _at(original: str, del_ratio: int | None) -> str:
    """Return the name of an original's result at a ratio, given the name of its checkpoint."""
    if del_ratio is None:  # Rows that are named have no ratio.
        return original
    before, _, after = original.rpartition(f"-{ORIGINAL}-")
    return f"{before}-{ORIGINAL}-df{del_ratio}pct-{after}"


def save_logits(name: str, folder: str | Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write the outputs that scores are computed from to ``<folder>/<name>.npz``; equal arrays give equal bytes.

    Args:
        name: The run's ``RunResult.name``.
        folder: Where to write.
        arrays: What a kind measures: for each of the splits forget, retain and test ``<split>_logits`` [rows, ...] and
            ``<split>_labels`` [rows, ...]; ``chance``; others as ``<split>_<name>``. Numbers or texts.

    Returns:
        Path of the file.

    Raises:
        BadInput: If an array is missing, unknown, neither numbers nor texts, or logits and labels differ in rows.
    """
    if Path(name).name != name or name.startswith("."):
        raise BadInput(f"Logits are named after their run; {name!r} is not a file name.")
    _check_logits(arrays)
    # np.savez stamps every member with 1980-01-01; order and memory layout are all that could vary.
    ordered = {key: np.asarray(arrays[key], order="C") for key in sorted(arrays)}
    return write_atomic(Path(folder) / f"{name}.npz", lambda stream: np.savez(stream, allow_pickle=False, **ordered))


def has_logits(name: str, folder: str | Path) -> bool:
    """Return whether a folder has the outputs of the run called ``name``."""
    return (Path(folder) / f"{name}.npz").is_file()


def kept_names(name: str, folder: str | Path) -> set[str]:
    """Return the names of the arrays that a folder keeps of a run, without reading them.

    Raises:
        BadInput: If the file cannot be read.
    """
    path = Path(folder) / f"{name}.npz"
    if not path.is_file():
        return set()
    try:
        with zipfile.ZipFile(path) as archive:
            return {member.removesuffix(".npy") for member in archive.namelist()}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BadInput(f"Cannot read the logits {path}: {error}") from error


def load_logits(
    name: str, folder: str | Path, hashes: Mapping[str, str] = MappingProxyType({}), *, most: int | None = None
) -> dict[str, np.ndarray]:
    """Read what ``save_logits`` wrote: array name to array.

    Args:
        name: The run's ``RunResult.name``.
        folder: Where it was written.
        hashes: The result's hashes, if it noted that of its outputs.
        most: Most bytes that it may unpack to; default: some times the file's own size, see ``check_packed``.

    Raises:
        BadInput: If the file is missing, damaged, holds other arrays, or was changed; the message names it.
    """
    path = Path(folder) / f"{name}.npz"
    try:
        if known_sha256(path) != hashes.get("outputs", known_sha256(path)):
            raise ValueError("it was changed after the result beside it was computed; evaluate the checkpoint again")
        check_packed(path, most)
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        _check_logits(arrays)
    except Exception as error:  # The arrays' headers are Python literals, so it may be any.
        raise BadInput(f"Cannot read the logits {path}: {error}") from error
    return arrays


def check_packed(path: Path, most: int | None = None) -> None:
    """Check that outputs, unpacked, have about as many bytes as their file, before anything is unpacked.

    Args:
        path: The file.
        most: Most bytes that it may unpack to; default: ``LARGEST_OUTPUTS`` or a few times the file's size.

    Raises:
        BadInput: If it is no archive of arrays, or has a member that numpy does not write; an array says to be larger
            than its part of the file, or all are much larger than the file.
    """
    if not path.is_file():  # Reading a pipe may never end.
        raise FileNotFoundError(f"there is no plain file {path.name}")
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_members(members)
        unpacked = sum(member.file_size for member in members)
        most = max(LARGEST_OUTPUTS, MOST_PACKED * size) if most is None else most
        if unpacked > most:
            raise BadInput(f"it has {size} bytes and unpacks to {unpacked}; allowed are {most}.")
        for member in members:
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(stream)
            if math.prod(shape) * dtype.itemsize > member.file_size:
                raise BadInput(f"{member.filename} says to hold {dtype} {shape}, more than its bytes.")


def _check_members(members: Sequence[zipfile.ZipInfo]) -> None:
    """Check that an archive has only members as numpy writes them: plain arrays, each once, in no folder."""
    times = Counter(each.filename for each in members)
    odd = {
        "is encrypted": [each for each in members if each.flag_bits & 1],
        "is no array, NAME.npy": [each for each in members if not re.fullmatch("[a-z_]+[.]npy", each.filename)],
        "is there twice": [each for each in members if times[each.filename] > 1],
    }
    for what, found in odd.items():
        for each in found[:1]:
            raise BadInput(f"its member {each.filename[:60]!r} {what}. Outputs are written by `mubench evaluate`.")


def _check_logits(arrays: Mapping[str, np.ndarray]) -> None:
    unknown = sorted(arrays.keys() - kept_outputs().keys())
    if unknown or set(LOGIT_KEYS) - set(arrays):
        raise BadInput(
            f"Outputs hold the arrays {sorted(arrays)}; needed are {sorted(LOGIT_KEYS)}, and allowed are the others of "
            f"mubench_hf.metrics.parameters. Unknown: {', '.join(unknown) or 'none'}."
        )
    for key, value in arrays.items():
        array = np.asarray(value)
        kinds, shape = ("fiuU", 1) if key not in LOGIT_KEYS else ("fiu", 0 if key == "chance" else 1)
        if array.dtype.kind not in kinds or array.ndim < shape:
            raise BadInput(f"{key!r} is {array.dtype} of shape {array.shape}; needed are numbers, one row per example.")
    for split in ("forget", "retain", "test"):
        logits, labels = len(arrays[f"{split}_logits"]), len(arrays[f"{split}_labels"])
        if logits != labels:
            raise BadInput(f"The {split} set has {logits} rows of logits but {labels} rows of labels.")
