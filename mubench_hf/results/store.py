"""Results and logits on disk: one JSON and one npz a run, each replaced whole or not at all."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mubench_hf.errors import BadInput
from mubench_hf.files import write_atomic
from mubench_hf.results.schema import RunResult

LOGIT_KEYS = (
    *(f"{split}_{what}" for split in ("forget", "retain", "test") for what in ("logits", "labels")),
    "incompetent_forget_logits",
)


def save_result(result: RunResult, folder: str | Path) -> Path:
    """Write ``<folder>/<result.name>.json`` and return its path."""
    text = result.to_json().encode()
    return write_atomic(Path(folder) / f"{result.name}.json", lambda stream: stream.write(text))


def load_result(path: str | Path) -> RunResult:
    """Read one result.

    Raises:
        BadInput: If the file is missing or is not a valid result; the message names it.
    """
    try:
        return RunResult.from_json(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # BadInput and UnicodeDecodeError are ValueErrors
        raise BadInput(f"Cannot read the result {path}: {error}") from error


def load_results(folder: str | Path) -> list[RunResult]:
    """Read every ``*.json`` directly in ``folder``, sorted by task, source, model, ratio, method and seed.

    Raises:
        BadInput: If the folder is missing, a file is not a valid result, or two files hold the same run.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInput(f"No folder of results at {folder}.")
    found: dict[str, Path] = {}
    results = []
    for path in sorted(folder.glob("[!.]*.json")):
        result = load_result(path)
        if result.name in found:
            raise BadInput(f"{found[result.name]} and {path} both hold the run {result.name}; remove one.")
        found[result.name] = path
        results.append(result)
    return sorted(results, key=lambda r: (r.task, r.source, r.model, r.del_ratio, r.method, r.seed))


def save_logits(name: str, folder: str | Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write the outputs that membership inference reads to ``<folder>/<name>.npz``; equal arrays give equal bytes.

    Args:
        name: The run's ``RunResult.name``.
        folder: Where to write.
        arrays: For each split of forget, retain and test: ``<split>_logits`` [rows, ...] and ``<split>_labels``
            [rows, ...], numbers.

    Returns:
        Path of the file.

    Raises:
        BadInput: If an array is missing, unknown, not numeric, or logits and labels differ in rows.
    """
    if Path(name).name != name or name.startswith("."):
        raise BadInput(f"Logits are named after their run; {name!r} is not a file name.")
    _check_logits(arrays)
    # np.savez stamps every member with 1980-01-01; order and memory layout are all that could vary.
    ordered = {key: np.asarray(arrays[key], order="C") for key in LOGIT_KEYS}
    return write_atomic(Path(folder) / f"{name}.npz", lambda stream: np.savez(stream, allow_pickle=False, **ordered))


def load_logits(name: str, folder: str | Path) -> dict[str, np.ndarray]:
    """Read what ``save_logits`` wrote: array name to array.

    Raises:
        BadInput: If the file is missing, damaged, or holds other arrays; the message names it.
    """
    path = Path(folder) / f"{name}.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        _check_logits(arrays)
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise BadInput(f"Cannot read the logits {path}: {error}") from error
    return arrays


def _check_logits(arrays: Mapping[str, np.ndarray]) -> None:
    if set(arrays) != set(LOGIT_KEYS):
        raise BadInput(f"Logits hold the arrays {sorted(arrays)}; needed are exactly {sorted(LOGIT_KEYS)}.")
    for key in LOGIT_KEYS:
        array = np.asarray(arrays[key])
        if array.dtype.kind not in "fiu" or array.ndim < 1:
            raise BadInput(f"{key!r} is {array.dtype} of shape {array.shape}; needed are numbers, one row an example.")
    for split in ("forget", "retain", "test"):
        logits, labels = len(arrays[f"{split}_logits"]), len(arrays[f"{split}_labels"])
        if logits != labels:
            raise BadInput(f"The {split} set has {logits} rows of logits but {labels} rows of labels.")
