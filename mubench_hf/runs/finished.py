"""Whether a run's checkpoint and result are both there, and what is kept of one that broke off."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mubench_hf.data.prepare import TaskData
from mubench_hf.models.loading import weights_sha256
from mubench_hf.runs.choice import Reference
from mubench_hf.runs.completed import completed, is_measured
from mubench_hf.runs.evaluate import failed_run
from mubench_hf.runs.plan import Plan
from mubench_hf.runs.record import RunRecord, load_record
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.store import load_named_result, save_result
from mubench_hf.runs.train import new_record, start_of
from mubench_hf.utils.files import known_sha256


def has_result(file: Path, record: RunRecord, metrics: Iterable[Reference] = ()) -> bool:
    """Return whether a run's result is there, and was computed from the run's checkpoint and the outputs beside it.

    Args:
        file: The result's file.
        record: The run.
        metrics: What is asked for beside the task's metrics and the default ones: the outputs must do for these too.
    """
    if not file.exists():
        return False
    result = load_named_result(file)
    if result.status == "failed" or result.data_fingerprint != record.data_fingerprint:
        return False
    outputs = file.with_suffix(".npz")
    kept = known_sha256(outputs) if outputs.is_file() else None
    there = {"checkpoint": record.checkpoint_sha256, "outputs": kept}
    # What an earlier version did not note, or nobody kept, cannot differ.
    whole = all(there[name] in (None, sha256) for name, sha256 in result.hashes.items())
    return whole and is_measured(result, file.parent, metrics)


def fill_in(file: Path, record: RunRecord, metrics: Iterable[Reference]) -> RunResult | None:
    """Return a run's result with the scores that are asked for, and keep it; ``None`` if its outputs do not suffice.

    Args:
        file: The result's file.
        record: The run.
        metrics: See ``has_result``.
    """
    asked = list(metrics)
    if not has_result(file, record, asked):
        return None
    result = completed(load_named_result(file), file.parent, asked)
    save_result(result, file.parent)
    return result


def save_failure(plan: Plan, data: TaskData, reason: str, metrics: Iterable[Reference] = ()) -> None:
    """Keep the result of a run that broke off: no scores, and why."""
    record = load_record(plan.folder) or new_record(plan, data.manifest, weights_sha256(start_of(plan)))
    save_result(failed_run(record, data, reason, metrics), plan.setup.results)
