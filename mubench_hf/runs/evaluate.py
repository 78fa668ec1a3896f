"""The evaluation of a checkpoint into a folder of results."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mubench_hf.data.prepare import TaskData
from mubench_hf.errors import BadInput
from mubench_hf.kinds.measures import get_measure
from mubench_hf.models import get_model
from mubench_hf.models.loading import load_model
from mubench_hf.runs.record import RunRecord
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.scores import evaluate_run
from mubench_hf.runs.store import load_logits, load_result, save_logits, save_result


def evaluate_checkpoint(checkpoint: Path | str, record: RunRecord, data: TaskData, results: Path) -> RunResult:
    """Measure a finished run's checkpoint, score it, and keep outputs and result in ``results``.

    It is compared with the original and with the retrained model of the same seed as far as ``results`` has them.

    Raises:
        BadInput: If the run is not finished, or was made with other data than these.
    """
    outputs = measure_checkpoint(checkpoint, record, data, keep=record.run.method == "original")
    save_logits(replace(record.run, del_ratio=data.ratio).name, results, outputs)
    return _score(record, outputs, data, results)


def measure_checkpoint(
    checkpoint: Path | str, record: RunRecord, data: TaskData, *, keep: bool = False
) -> dict[str, np.ndarray]:
    """Return what a run's scores are computed from, measured with as many threads as the run had.

    Args:
        checkpoint: Folder of the run.
        record: The finished run.
        data: The rows that it was made with.
        keep: Whether to keep small outputs on disk.

    Raises:
        BadInput: If the run is not finished, or was made with other data than these.
    """
    if not record.finished:
        raise BadInput(f"{checkpoint} is not finished. Run the command that started it again; it goes on from there.")
    if record.data_fingerprint != data.manifest["fingerprint"]:
        raise BadInput(
            f"{checkpoint} was made with other rows (fingerprint {record.data_fingerprint[:12]}) than those of "
            f"{data.task.dataset_name(data.variant)} here ({data.manifest['fingerprint'][:12]}). "
            "Evaluate it beside its data."
        )
    model = load_model(checkpoint, get_model(record.run.model).architecture.auto_class)
    threads = torch.get_num_threads()  # On a CPU, the last bits of a sum depend on how many share it.
    torch.set_num_threads(min(record.hardware.get("threads", threads), os.cpu_count() or 1))
    try:
        return get_measure(data.task.kind).measure(model, data, record.run.seed, keep=keep)
    finally:
        torch.set_num_threads(threads)


def rescore(record: RunRecord, data: TaskData, results: Path) -> RunResult:
    """Score a run again from its kept outputs, once the models that it is compared with have been evaluated."""
    outputs = load_logits(replace(record.run, del_ratio=data.ratio).name, results)
    return _score(record, outputs, data, results)


def _score(record: RunRecord, outputs: dict[str, Any], data: TaskData, results: Path) -> RunResult:
    run = replace(record.run, del_ratio=data.ratio)
    retrain = f"{replace(run, method='retrain').name}.json"
    original = f"{run.original_name}-original-df{run.del_ratio}pct-s*.json"
    result = evaluate_run(record, outputs, data, original=_scores(results, original), retrain=_scores(results, retrain))
    save_result(result, results)
    return result


def _scores(results: Path, pattern: str) -> dict[str, float | None] | None:
    files = sorted(results.glob(pattern))
    return load_result(files[0]).scores if files else None
