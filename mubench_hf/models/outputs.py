"""A model's outputs on each row: one forward pass per split, kept on disk if they are needed again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from torch.utils.data import Dataset
from transformers import PreTrainedModel, default_data_collator

from mubench_hf.data.batches import for_loader
from mubench_hf.data.columns import LABELS
from mubench_hf.data.fingerprint import row_sha256
from mubench_hf.models.adapters import adapter_settings
from mubench_hf.models.loading import weights_sha256
from mubench_hf.utils.files import known_sha256, write_atomic
from mubench_hf.utils.sealed import SEAL, seal_holds, sealed

BATCH_SIZE, BATCH_BYTES = 256, 64 << 20
"""Most rows and input bytes per forward pass. Batches depend only on the rows, since on some hardware a row's last bits
depend on the batch it is in."""


SAMPLE = 8
"""Rows that tell whether a kept table was made of the rows at hand."""


@dataclass(frozen=True)
class RowOutputs:
    """Logits of every row of a data set.

    Attributes:
        logits: float32 array ``[rows, classes]``, read-only and memory-mapped if it comes from disk.
        seconds: How long computing them took, also if they come from disk.
    """

    logits: np.ndarray
    seconds: float


def row_batches(rows: Dataset, batch_size: int | None = None) -> Iterator[list[dict[str, Any]]]:
    """Yield all rows in order, in lists of ``batch_size``; by default as many as ``BATCH_BYTES`` hold, by the first."""
    held: list[dict[str, Any]] = []
    for position in range(len(rows)):
        held.append(rows[position])
        if batch_size is None:
            batch_size = _fitting(held[0])
        if len(held) == batch_size:
            yield held
            held = []
    if held:
        yield held


def _fitting(row: Mapping[str, Any]) -> int:
    size = sum(getattr(value, "nbytes", 0) for value in row.values())
    return min(BATCH_SIZE, max(1, BATCH_BYTES // max(1, size)))


def collated_batches(
    rows: Dataset, collator: Callable[[list[Any]], dict[str, Any]], batch_size: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yield ``row_batches``, collated; read from the rows' table where that gives the same. See ``data/batches.py``."""
    source, collate = for_loader(rows, collator)
    if source is rows:
        yield from map(collator, row_batches(rows, batch_size))
        return
    size = batch_size or _fitting(rows[0])
    for start in range(0, len(rows), size):
        yield source.__getitems__(range(start, min(start + size, len(rows))))


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Put a model into eval mode, without gradients and with its own random state, while inside."""
    was_training = model.training
    model.eval()
    # Some models draw random numbers even in eval mode: ViLT shuffles its patches.
    with torch.inference_mode(), torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    model.train(was_training)


def row_outputs(
    model: PreTrainedModel,
    rows: Dataset,
    collator: Callable[[list[Any]], dict[str, Any]] = default_data_collator,
    batch_size: int | None = None,
) -> RowOutputs:
    """Run a classifier over prepared rows in eval mode and return its logits in row order.

    The model keeps its mode and its device, and the caller's random state does not change.
    """
    start, logits, device = time.perf_counter(), [], next(model.parameters()).device
    with evaluating(model):
        for batch in collated_batches(rows, collator, batch_size):
            inputs = {name: value for name, value in batch.items() if name != "labels"}
            outputs = model(**send_to_device(inputs, device))
            made = outputs["logits"] if isinstance(outputs, Mapping) else outputs.logits
            logits.append(made.float().cpu().numpy())
    return RowOutputs(np.concatenate(logits), time.perf_counter() - start)


def cached_row_outputs(
    model: PreTrainedModel,
    rows: Dataset,
    cache_dir: str | Path | None,
    collator: Callable[[list[Any]], dict[str, Any]] = default_data_collator,
    batch_size: int | None = None,
) -> RowOutputs:
    """Return ``row_outputs``, computed at most once per set of weights.

    A table that was damaged, or made of other rows, is computed again.

    Args:
        model: The model; the hash of its weights, and of what its adapters do with theirs, names the table.
        rows: Prepared rows.
        cache_dir: Folder that belongs to these rows and their preparation; ``None`` keeps nothing.
        collator: Makes a batch of rows.
        batch_size: Rows per forward pass, if not as many as usual fit into memory.
    """
    if cache_dir is None:
        return row_outputs(model, rows, collator, batch_size)
    file = Path(cache_dir) / f"{_table_name(model)}.npy"
    note = file.with_suffix(".json")
    made_of = _sample_sha256(rows, collator)
    seconds = _noted_seconds(file, note, made_of)
    if seconds is None:
        outputs = row_outputs(model, rows, collator, batch_size)
        # The note is written last: a table without one was interrupted.
        write_atomic(file, lambda handle: np.save(handle, outputs.logits))
        content = sealed({"seconds": outputs.seconds, "sha256": known_sha256(file), "rows": made_of})
        write_atomic(note, lambda handle: handle.write(json.dumps(content).encode()))
        seconds = outputs.seconds
    return RowOutputs(np.load(file, mmap_mode="r", allow_pickle=False), seconds)


def _noted_seconds(file: Path, note: Path, made_of: str) -> float | None:
    """Return how long a table took, or ``None`` if there is none of these rows that is as it was written."""
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
        # Earlier versions noted no hash.
        whole = SEAL in content and seal_holds(content) and content["sha256"] == known_sha256(file)
        # A table whose note names no rows is of the folder's.
        return float(content["seconds"]) if whole and content.get("rows", made_of) == made_of else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _sample_sha256(rows: Dataset, collator: Callable[[list[Any]], dict[str, Any]]) -> str:
    """Return a hash of what a model would be given of a few rows, evenly spaced, and of how many rows there are."""
    places = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE)).astype(int)).tolist()
    batch = collator([rows[place] for place in places])
    inputs = {name: batch[name] for name in sorted(batch) if name not in LABELS}
    return row_sha256({"rows": len(rows), "inputs": inputs})


def _table_name(model: torch.nn.Module) -> str:
    weights, adapters = weights_sha256(model), adapter_settings(model)
    if adapters:
        weights = hashlib.sha256(f"{weights} {json.dumps(adapters, sort_keys=True)}".encode()).hexdigest()
    # Another kind of device rounds otherwise, and which run comes first may not decide what is read.
    device = next(model.parameters()).device.type
    return weights[:32] + (f"-{device}" if device != "cpu" else "")
