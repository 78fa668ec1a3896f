"""A folder of results: the evaluation of a checkpoint into it, and the pictures drawn from it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mubench_hf.data.prepare import TaskData
from mubench_hf.errors import BadInput
from mubench_hf.kinds import get_kind
from mubench_hf.metrics.mia_loss_auc.mia_loss_auc import loss_roc
from mubench_hf.models import get_model
from mubench_hf.models.loading import load_model
from mubench_hf.results.aggregate import aggregate, heading
from mubench_hf.results.evaluate import evaluate_run
from mubench_hf.results.plots import plot_forgetting_utility, plot_mia_roc, plot_time
from mubench_hf.results.schema import RunResult
from mubench_hf.results.store import load_logits, load_result, save_logits, save_result
from mubench_hf.runs.record import RunRecord


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
            f"{data.task.dataset_name(data.mini)} here ({data.manifest['fingerprint'][:12]}). "
            "Evaluate it beside its data."
        )
    model = load_model(checkpoint, get_model(record.run.model).architecture.auto_class)
    threads = torch.get_num_threads()  # On a CPU, the last bits of a sum depend on how many share it.
    torch.set_num_threads(min(record.hardware.get("threads", threads), os.cpu_count() or 1))
    try:
        return get_kind(data.task.kind).measure(model, data, record.run.seed, keep=keep)
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


def draw_plots(
    results: Sequence[RunResult], logits: Path, plots: Path, title: str | None = None, metric: str | None = None
) -> list[Path]:
    """Draw the pictures of one table's results into ``plots`` and return their paths.

    Args:
        results: Results of one task, source, model and ratio.
        logits: Folder with their outputs.
        plots: Where the PNG files go.
        title: Title of the task.
        metric: The task's metric; needed only where the results hold several.
    """
    (groups,) = aggregate(results)
    curves: dict[str, list] = {}
    for result in results:
        if result.scores.get("mia_loss_auc") is not None:  # Else a diverged or failed run has no ranking to draw.
            outputs = load_logits(result.name, logits)
            arrays = (outputs[f"{split}_{what}"] for split in ("forget", "test") for what in ("logits", "labels"))
            curves.setdefault(result.method, []).append(loss_roc(*arrays))
    return [
        plot_forgetting_utility(groups, plots / "forgetting_utility.png", title, metric),
        plot_time(groups, plots / "time.png", title),
        plot_mia_roc(curves, plots / "mia_roc.png", heading(groups, title)),
    ]
