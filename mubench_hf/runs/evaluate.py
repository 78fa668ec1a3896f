"""Evaluates checkpoints into a folder of results, and fills in scores that earlier results lack."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mubench_hf.errors import BadInput
from mubench_hf.kinds import get_kind
from mubench_hf.metrics import METRICS, metrics_by_score, score_metric
from mubench_hf.runs.checked import check_files
from mubench_hf.runs.kept_tables import using_tables
from mubench_hf.runs.record import ORIGINAL, RunId, RunRecord
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.scores import references_of, score, score_names
from mubench_hf.runs.setup import recorded_model
from mubench_hf.runs.store import check_same_run, has_logits, load_logits, reference_results, save_logits, save_result
from mubench_hf.tasks import known_task
from mubench_hf.utils.files import known_sha256
from mubench_hf.utils.processes import by_first, together

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from mubench_hf.data.prepare import TaskData


class Measured(NamedTuple):
    """What a checkpoint's scores are computed from, and where it came from.

    Attributes:
        outputs: What the task's kind measured.
        evaluated: The ``device`` that the checkpoint ran on, and the ``dtype`` of its weights.
    """

    outputs: dict[str, np.ndarray]
    evaluated: dict[str, str]


def evaluate_checkpoint(
    checkpoint: Path | str, record: RunRecord, data: TaskData, results: Path, *, device: torch.device | None = None
) -> RunResult:
    """Measure a finished run's checkpoint, score it, and keep outputs and result in ``results``.

    It is compared with the original and with the retrained model of the same seed if ``results`` has them. Processes
    that are joined measure it together, each of them calling this, and the first writes.

    Args:
        checkpoint: Folder of the run.
        record: The finished run.
        data: The rows that it was made with.
        results: Folder of results.
        device: Where the model runs, see ``measure_checkpoint``.

    Raises:
        BadInput: If the run is not finished, was made with other data than these, or ``results`` holds another run's
            result of that name; if a file of the checkpoint was changed.
    """
    run = record.run.at(data.ratio)
    check_same_run(record, run, results)
    check_files(checkpoint, record)
    references = reference_results(record, run, results)
    with together():
        measured = measure_checkpoint(checkpoint, record, data, keep=run.method == ORIGINAL, device=device)
        return by_first(lambda: _scored(record, run, measured, data, results, references))


def _scored(
    record: RunRecord, run: RunId, measured: Measured, data: TaskData, results: Path, references: dict[str, RunResult]
) -> RunResult:
    """Return what was measured with its scores, and keep both."""
    outputs, evaluated = measured
    hashes = {"checkpoint": record.checkpoint_sha256, "outputs": known_sha256(save_logits(run.name, results, outputs))}
    result = evaluate_run(record, outputs, data, **{name: found.scores for name, found in references.items()})
    result = replace(result, hashes={name: sha256 for name, sha256 in hashes.items() if sha256}, evaluated=evaluated)
    save_result(result, results)
    return result


def measure_checkpoint(
    checkpoint: Path | str,
    record: RunRecord,
    data: TaskData,
    *,
    keep: bool = False,
    device: torch.device | None = None,
) -> Measured:
    """Return the outputs that a run's scores are computed from, in the precision that its weights have.

    On a CPU they are measured with as many threads as the run had, if it was trained on one.

    Args:
        checkpoint: Folder of the run.
        record: The finished run.
        data: The rows that it was made with.
        keep: Whether to keep small outputs on disk.
        device: Where the model runs; default: where a trainer of this process would run it.

    Raises:
        BadInput: If the run is not finished, or was made with other data than these.
    """
    from mubench_hf.kinds.measures import get_measure
    from mubench_hf.models.device import (
        device_name,
        exact_arithmetic,
        give_back_memory,
        model_device,
        on_device,
        usable_threads,
    )
    from mubench_hf.models.loading import load_model
    from mubench_hf.models.sources import reading

    if not record.finished:
        raise BadInput(f"{checkpoint} is not finished. Run the command that started it again; it goes on from there.")
    if record.data_fingerprint != data.manifest["fingerprint"]:
        raise BadInput(
            f"{checkpoint} was made with other rows (fingerprint {record.data_fingerprint[:12]}) than those of "
            f"{data.task.dataset_name(data.variant)} here ({data.manifest['fingerprint'][:12]}). "
            "Evaluate it beside its data."
        )
    spec = recorded_model(record.run.model, data.task, str(checkpoint))
    device = model_device() if device is None else device
    model = load_model(checkpoint, spec.architecture.auto_class, base_sha256=record.base_revision)
    check_labels(model, data, checkpoint)
    model = on_device(model, device)
    # A run on a GPU noted what its process happened to have, such as one thread under a launcher.
    noted = record.hardware.get("threads") if record.hardware.get("device", "cpu") == "cpu" else None
    threads = min(noted or usable_threads(), os.cpu_count() or 1)
    with (
        using_tables(data.cache_dir),
        exact_arithmetic(device, threads),
        reading(f"The model {checkpoint} cannot be measured on these rows"),
    ):
        outputs = get_measure(data.task.kind).measure(model, data, record.run.seed, keep=keep)
    evaluated = {"device": device_name(device), "dtype": str(model.dtype).removeprefix("torch.")}
    del model
    give_back_memory(circles=False)
    return Measured(outputs, evaluated)


def check_labels(model: PreTrainedModel, data: TaskData, checkpoint: Path | str | None) -> None:
    """Check that a classifier knows as many classes as the rows have.

    Raises:
        BadInput: If it does not.
    """
    found, needed = getattr(model.config, "num_labels", None), len(data.label_names)
    if get_kind(data.task.kind).label_is_class and found != needed:
        raise BadInput(
            f"The model {checkpoint} has num_labels={found}, but {data.task.dataset_name(data.variant)} has {needed} "
            "classes. Give an original of this task and source."
        )


def evaluate_run(
    record: RunRecord,
    outputs: dict[str, np.ndarray],
    data: TaskData,
    *,
    original: dict[str, float | None] | None = None,
    retrain: dict[str, float | None] | None = None,
) -> RunResult:
    """Return the result of a finished run.

    Args:
        record: The run; an original is evaluated at ``data.ratio``.
        outputs: What the task's kind measured of its checkpoint.
        data: The task's rows.
        original: Scores of the original that the run started from.
        retrain: Scores of the retrained model of the same seed.
    """
    scores, reasons = score(
        outputs,
        metrics=data.task.metrics,
        method=record.run.method,
        seed=record.run.seed,
        seconds=record.seconds,
        original=original,
        retrain=retrain,
    )
    return RunResult(**_shared(record, data.ratio), scores=scores, reasons=reasons, metrics=_from_outside(scores))


def failed_run(record: RunRecord, data: TaskData, reason: str) -> RunResult:
    """Return the result of a run that ended in an error: every score is missing, for that reason."""
    reason = reason.strip() or "the run broke off with an error that says nothing"
    keys = sorted(score_names(data.task.metrics))
    shared = {**_shared(record, data.ratio), "status": "failed", "status_reason": reason}
    return RunResult(**shared, scores=dict.fromkeys(keys), reasons=dict.fromkeys(keys, reason))


def completed(result: RunResult, results: Path) -> RunResult:
    """Return a result with missing scores filled in from its kept outputs; stated scores stay as they are.

    A score may be missing because its metric was added later, or the model it compares with was evaluated later. If the
    task is not known here, nothing says which scores it has.

    Args:
        result: The result.
        results: Folder with its outputs and with the results that it is compared with.
    """
    task = known_task(result.task, result.external)
    if task is None:
        return result
    metrics = task.metrics
    references = reference_results(result, result.run, results)
    # A score that a run can never have, such as an original's time to forget, has a reason of another kind.
    waiting = {
        key for key, why in result.reasons.items() if why.startswith("needs") and references_of(key) & references.keys()
    }
    lacking = (score_names(metrics) - result.scores.keys()) | waiting
    if not lacking or result.status == "failed" or not has_logits(result.name, results):
        return result
    scores, reasons = score(
        load_logits(result.name, results, result.hashes),
        metrics=metrics,
        method=result.method,
        seed=result.seed,
        seconds=result.scores.get("unlearn_seconds"),
        **{name: found.scores for name, found in references.items()},
    )
    stated = {key: value for key, value in result.scores.items() if value is not None}
    merged = {**result.scores, **scores, **stated}
    why = {**result.reasons, **reasons}
    reasons = {key: why[key] for key, value in merged.items() if value is None}
    # A stated score keeps the metric that it was computed with.
    return replace(result, scores=merged, reasons=reasons, metrics={**_from_outside(merged), **result.metrics})


def _from_outside(scores: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return those metrics behind some scores that are not part of this package."""
    known = metrics_by_score()
    metrics = {metric for metric in (score_metric(name, known) for name in scores) if metric}
    origins = {metric.key: METRICS.origin(metric) for metric in metrics}
    return {key: asdict(origin) for key, origin in sorted(origins.items()) if origin}


def _shared(record: RunRecord, del_ratio: int) -> dict[str, Any]:
    """Return the fields that a result takes from the run's record."""
    run = record.run.at(del_ratio)
    named = {name: getattr(run, name) for name in ("task", "variant", "model", "method", "del_ratio", "seed")}
    return named | {name: value for name, value in vars(record).items() if name not in ("run", "seconds", "files")}
