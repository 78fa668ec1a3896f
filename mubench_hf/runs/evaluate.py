"""Evaluates checkpoints into a folder of results."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mubench_hf.errors import BadInput
from mubench_hf.kinds import get_kind
from mubench_hf.metrics import METRICS, get_metric
from mubench_hf.runs.checked import check_files
from mubench_hf.runs.choice import Reference, behind, choose
from mubench_hf.runs.cost import compute_seconds, not_comparable
from mubench_hf.runs.draws import row_draws, rows_of
from mubench_hf.runs.kept_tables import using_tables
from mubench_hf.runs.record import ORIGINAL, RunId, RunRecord
from mubench_hf.runs.references import reference_outputs
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.scores import Effects, Source, score
from mubench_hf.runs.setup import recorded_model
from mubench_hf.runs.shadows.reading import RunPopulations
from mubench_hf.runs.store import check_same_run, load_named_result, reference_results, save_logits, save_result
from mubench_hf.runs.weights import weight_sources
from mubench_hf.utils.files import known_sha256
from mubench_hf.utils.processes import by_first, together

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from mubench_hf.data.prepare import TaskData
    from mubench_hf.kinds.measures import Measure


class Measured(NamedTuple):
    """What a checkpoint's scores are computed from, and where it came from.

    Attributes:
        outputs: What the task's kind measured.
        evaluated: The ``device`` that the checkpoint ran on, and the ``dtype`` of its weights.
    """

    outputs: dict[str, np.ndarray]
    evaluated: dict[str, str]


def evaluate_checkpoint(
    checkpoint: Path | str,
    record: RunRecord,
    data: TaskData,
    results: Path,
    *,
    metrics: Iterable[Reference] = (),
    device: torch.device | None = None,
) -> RunResult:
    """Measure a finished run's checkpoint, score it, and keep outputs and result in ``results``.

    It is compared with the original and with the retrained model of the same seed if ``results`` has them. Scores that
    ``results`` holds of the run are computed again too. Processes that are joined measure it together, each of them
    calling this, and the first writes.

    Args:
        checkpoint: Folder of the run.
        record: The finished run.
        data: The rows that it was made with.
        results: Folder of results.
        metrics: What to compute beside the task's metrics and the default ones, see ``choose``.
        device: Where the model runs, see ``measure_checkpoint``.

    Raises:
        BadInput: If the run is not finished, was made with other data than these, or ``results`` holds another run's
            result of that name; if a file of the checkpoint was changed; if a metric is unknown.
    """
    run = record.run.at(data.ratio)
    check_same_run(record, run, results)
    check_files(checkpoint, record)
    file = results / f"{run.name}.json"
    asked = [*metrics, *(behind(load_named_result(file).scores) if file.exists() else ())]
    arrays = choose(data.task.metrics, asked).arrays(run.method)
    references = reference_results(record, run, results)
    with together():
        measured = measure_checkpoint(
            checkpoint, record, data, keep=run.method == ORIGINAL, wanted=arrays, device=device
        )
        return by_first(lambda: _scored(record, run, measured, data, results, references, asked))


def _scored(
    record: RunRecord,
    run: RunId,
    measured: Measured,
    data: TaskData,
    results: Path,
    references: dict[str, RunResult],
    asked: Sequence[Reference],
) -> RunResult:
    """Return what was measured with its scores, and keep both."""
    outputs, evaluated = measured
    populations = RunPopulations(record, run, references, results)
    hashes = {"checkpoint": record.checkpoint_sha256, "outputs": known_sha256(save_logits(run.name, results, outputs))}
    result = evaluate_run(
        record,
        outputs,
        data,
        metrics=asked,
        sources=reference_outputs(record, outputs, references, results)
        | populations.sources
        | weight_sources(record, run, results),
        times_differ=not_comparable(record, references.get("retrain")),
        **{name: found.scores for name, found in references.items()},
    )
    result = replace(result, hashes={name: sha256 for name, sha256 in hashes.items() if sha256})
    result = replace(result, evaluated=populations.noted(evaluated))
    save_result(result, results)
    return result


def measure_checkpoint(
    checkpoint: Path | str,
    record: RunRecord,
    data: TaskData,
    *,
    keep: bool = False,
    wanted: Collection[str] | None = None,
    device: torch.device | None = None,
) -> Measured:
    """Return the outputs that a run's scores are computed from, in the precision that its weights have.

    On a CPU they are measured with as many threads as the run had, if it was trained on one.

    Args:
        checkpoint: Folder of the run.
        record: The finished run.
        data: The rows that it was made with.
        keep: Whether to keep small outputs on disk.
        wanted: Arrays that are needed, see ``Measure.measure``; all by default.
        device: Where the model runs; default: where a trainer of this process would run it.

    Raises:
        BadInput: If the run is not finished, or was made with other data than these.
    """
    return _measured(
        checkpoint,
        record,
        data,
        device,
        lambda measure, model: measure.measure(model, data, record.run.seed, keep=keep, wanted=wanted),
    )


def measure_truths(
    checkpoint: Path | str, record: RunRecord, data: TaskData, *, device: torch.device | None = None
) -> dict[str, np.ndarray]:
    """Return ``<split>_logits`` and ``<split>_labels`` of a run, see ``Measure.truths``.

    The arguments are those of ``measure_checkpoint``, whose logits these are.

    Raises:
        BadInput: As ``measure_checkpoint``, or if models of the task's kind give a row's truth no probability.
    """
    return _measured(checkpoint, record, data, device, lambda measure, model: measure.truths(model, data)).outputs


def _measured(
    checkpoint: Path | str,
    record: RunRecord,
    data: TaskData,
    device: torch.device | None,
    work: Callable[[Measure, PreTrainedModel], dict[str, np.ndarray]],
) -> Measured:
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
        outputs = work(get_measure(data.task.kind), model)
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
    metrics: Iterable[Reference] = (),
    sources: dict[str, Source] | None = None,
    times_differ: str | None = None,
) -> RunResult:
    """Return the result of a finished run.

    Args:
        record: The run; an original is evaluated at ``data.ratio``.
        outputs: What the task's kind measured of its checkpoint.
        data: The task's rows.
        original: Scores of the original that the run started from.
        retrain: Scores of the retrained model of the same seed.
        metrics: What to compute beside the task's metrics and the default ones, see ``choose``.
        sources: What else metrics may read, see ``score``.
        times_differ: Why its times cannot be compared with the retrained model's, see ``not_comparable``.
    """
    effects: Effects = {}
    scores, reasons = score(
        outputs,
        metrics=data.task.metrics,
        method=record.run.method,
        seed=record.run.seed,
        seconds=record.seconds,
        compute_seconds=compute_seconds(record.cost),
        times_differ=times_differ,
        effects=effects,
        original=original,
        retrain=retrain,
        asked=metrics,
        sources=sources,
    )
    draws, metrics = row_draws(effects, rows_of(record)), from_outside(scores)
    return RunResult(**_shared(record, data.ratio), scores=scores, reasons=reasons, metrics=metrics, draws=draws)


def failed_run(record: RunRecord, data: TaskData, reason: str, metrics: Iterable[Reference] = ()) -> RunResult:
    """Return the result of a run that ended in an error: every score is missing, for that reason."""
    reason = reason.strip() or "the run broke off with an error that says nothing"
    keys = sorted(choose(data.task.metrics, metrics).scores)
    shared = {**_shared(record, data.ratio), "status": "failed", "status_reason": reason}
    return RunResult(**shared, scores=dict.fromkeys(keys), reasons=dict.fromkeys(keys, reason))


def from_outside(scores: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return those metrics behind some scores that are not part of this package."""
    origins = {metric.key: METRICS.origin(metric) for metric in map(get_metric, behind(scores))}
    return {key: asdict(origin) for key, origin in sorted(origins.items()) if origin}


def _shared(record: RunRecord, del_ratio: int) -> dict[str, Any]:
    """Return the fields that a result takes from the run's record."""
    run = record.run.at(del_ratio)
    named = {name: getattr(run, name) for name in ("task", "variant", "model", "method", "del_ratio", "seed")}
    return named | {name: value for name, value in vars(record).items() if name not in ("run", "seconds", "files")}
