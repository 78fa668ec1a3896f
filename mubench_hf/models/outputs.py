"""A model's outputs on each row: one forward pass per split, kept on disk if they are needed again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

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
from mubench_hf.models.sharded import is_sharded
from mubench_hf.utils.files import known_sha256, write_atomic
from mubench_hf.utils.processes import agreed, by_first, spread
from mubench_hf.utils.sealed import SEAL, seal_holds, sealed
from mubench_hf.utils.spent import Spent, reading

Made = TypeVar("Made")

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
        spent: What computing them took, also if they come from disk.
    """

    logits: np.ndarray
    spent: Spent


def over_batches(
    rows: Dataset,
    collate: Callable[[list[Any]], Any],
    work: Callable[[Any, range], Made],
    batch_size: int | None = None,
) -> list[Made]:
    """Return ``work(batch, places)`` of each batch of rows, in order; processes that work together share the batches.

    A batch is read from the rows' table where that gives what ``collate`` makes of them. See ``data/batches.py``.

    Args:
        rows: The rows.
        collate: Makes a batch of a list of rows.
        work: Runs a model on a batch, whose rows have these numbers.
        batch_size: Rows of a batch; by default as many as ``BATCH_BYTES`` hold, by the first row.
    """
    if not len(rows):
        return []
    source, collate = for_loader(rows, collate)
    first: Any = rows[0] if source is rows or batch_size is None else None
    size = batch_size or _fitting(first)
    places = [range(start, min(start + size, len(rows))) for start in range(0, len(rows), size)]

    def one(batch: range) -> Made:
        if source is not rows:
            return work(source.__getitems__(batch), batch)
        return work(collate([rows[place] if place else first for place in batch]), batch)

    return spread(places, one)


def _fitting(row: Mapping[str, Any]) -> int:
    size = sum(getattr(value, "nbytes", 0) for value in row.values())
    return min(BATCH_SIZE, max(1, BATCH_BYTES // max(1, size)))


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Put a model into eval mode, without gradients and with its own random state, while inside."""
    was_training = model.training
    model.eval()
    # Some models draw random numbers even in eval mode: ViLT shuffles its patches.
    # What a sharded model gathers in inference mode could not be trained with afterwards.
    mode = torch.inference_mode if not is_sharded(model) else torch.no_grad
    with mode(), torch.random.fork_rng():
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
    start, device = reading(), next(model.parameters()).device

    def logits(batch: Mapping[str, Any], places: range) -> np.ndarray:
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        outputs = model(**send_to_device(inputs, device))
        made = outputs["logits"] if isinstance(outputs, Mapping) else outputs.logits
        return made.float().cpu().numpy()

    with evaluating(model):
        made = over_batches(rows, collator, logits, batch_size)
    return RowOutputs(np.concatenate(made), reading().since(start))


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
    there = agreed(lambda: _noted(file, note, made_of))
    spent = max((each for each in there if each is not None), key=lambda each: each.wall, default=Spent())
    if None in there:
        outputs = row_outputs(model, rows, collator, batch_size)
        spent = by_first(lambda: _write(file, note, made_of, outputs))
        if not file.is_file():  # The first process may be on another machine.
            return RowOutputs(outputs.logits, spent)
    return RowOutputs(np.load(file, mmap_mode="r", allow_pickle=False), spent)


def _write(file: Path, note: Path, made_of: str, outputs: RowOutputs) -> Spent:
    # The note is written last: a table without one was interrupted.
    write_atomic(file, lambda handle: np.save(handle, outputs.logits))
    taken = {"seconds": outputs.spent.wall, "cpu_seconds": outputs.spent.cpu}
    content = sealed({**taken, "sha256": known_sha256(file), "rows": made_of})
    write_atomic(note, lambda handle: handle.write(json.dumps(content).encode()))
    return outputs.spent


def _noted(file: Path, note: Path, made_of: str) -> Spent | None:
    """Return what a table took, or ``None`` if there is none of these rows that is as it was written."""
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
        # Earlier versions noted no hash.
        whole = SEAL in content and seal_holds(content) and content["sha256"] == known_sha256(file)
        # A table whose note names no rows is of the folder's.
        if not whole or content.get("rows", made_of) != made_of:
            return None
        cpu = content.get("cpu_seconds")  # Earlier versions noted none.
        return Spent(float(content["seconds"]), None if cpu is None else float(cpu))
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
