"""Whether a run's checkpoint and result are both there, and what is kept of one that broke off."""

from __future__ import annotations

from pathlib import Path

from mubench_hf.data.prepare import TaskData
from mubench_hf.models.loading import weights_sha256
from mubench_hf.runs.evaluate import failed_run
from mubench_hf.runs.plan import Plan
from mubench_hf.runs.record import RunRecord, load_record
from mubench_hf.runs.store import load_named_result, save_result
from mubench_hf.runs.train import new_record, start_of
from mubench_hf.utils.files import known_sha256


def has_result(file: Path, record: RunRecord) -> bool:
    """Return whether a run's result is there, and was computed from the run's checkpoint and the outputs beside it."""
    if not file.exists():
        return False
    result = load_named_result(file)
    if result.status == "failed" or result.data_fingerprint != record.data_fingerprint:
        return False
    outputs = file.with_suffix(".npz")
    kept = known_sha256(outputs) if outputs.is_file() else None
    there = {"checkpoint": record.checkpoint_sha256, "outputs": kept}
    # What an earlier version did not note, or nobody kept, cannot differ.
    return all(there[name] in (None, sha256) for name, sha256 in result.hashes.items())


def save_failure(plan: Plan, data: TaskData, reason: str) -> None:
    """Keep the result of a run that broke off: no scores, and why."""
    record = load_record(plan.folder) or new_record(plan, data.manifest, weights_sha256(start_of(plan)))
    save_result(failed_run(record, data, reason), plan.setup.results)
