"""A published checkpoint's scores, computed again from its weights and compared with those that it states."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from mubench_hf.errors import BadInput
from mubench_hf.hub.bundle import RESULT
from mubench_hf.hub.download import checkpoint_folder, published_result, split_name
from mubench_hf.metrics.parameters import every_source, outputs_of
from mubench_hf.runs.agreement import (
    WRONG,
    ScoreCheck,
    check_scores,
    external_scores,
    weights_tolerances,
)
from mubench_hf.runs.choice import behind, choose
from mubench_hf.runs.cost import not_comparable
from mubench_hf.runs.evaluate import evaluate_run, measure_checkpoint
from mubench_hf.runs.record import RECORD, RunRecord, load_record, reference_names
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.setup import setup_of
from mubench_hf.runs.store import IDENTITY, load_result

if TYPE_CHECKING:
    import torch

    from mubench_hf.runs.kept_rows import KeptRows


@dataclass(frozen=True)
class Verification:
    """What came of computing a checkpoint's scores again.

    Attributes:
        repo: Repository ``org/name``.
        revision: Full hash of the commit that was read.
        checks: One per stated score.
    """

    repo: str
    revision: str
    checks: list[ScoreCheck]

    @property
    def differing(self) -> list[ScoreCheck]:
        """The scores that do not agree."""
        return [check for check in self.checks if check.agrees == WRONG]


def verify_checkpoint(
    name: str,
    revision: str | None = None,
    *,
    out: Path | str = ".",
    device: torch.device | None = None,
    rows: KeptRows | None = None,
) -> Verification:
    """Compute every score of a published checkpoint again.

    How far stated scores may lie from these hangs on what is measured here alone, see ``weights_tolerances``: nothing
    that is published of the hardware, the packages or the device changes it. Times are those of its ``run.json``. Its
    data set is read from ``out`` or else from its organisation on the Hub, and so are the results of its original and
    of the retrained model of the same seed that scores are compared with.

    Args:
        name: Repository ``org/name`` or ``org/name@revision``.
        revision: Branch, tag or commit; default: the newest.
        out: Folder that the data set may have been built in.
        device: Where the model runs, see ``measure_checkpoint``.
        rows: Where the data set's rows come from; default: ``load_rows``.

    Raises:
        BadInput: If the repository is no checkpoint of this benchmark, states no scores or those of another run, or its
            data set is neither built nor on the Hub.
    """
    import torch

    from mubench_hf.runs.train import load_rows

    repo, revision = split_name(name, revision)
    folder, org = checkpoint_folder(repo, revision), repo.split("/")[0]
    record, stated = load_record(folder), _stated(repo, folder)
    data = (rows or load_rows)(setup_of(record, folder, out, stated.del_ratio), folder, org)
    asked = behind(stated.scores)
    arrays = choose(data.task.metrics, asked).arrays(stated.method)
    with TemporaryDirectory() as kept:  # What is kept of models that one works with is no use here.
        beside = replace(data, cache_dir=Path(kept))
        measured = measure_checkpoint(folder, record, beside, wanted=arrays, device=device)
        outputs = {name: np.array(values) for name, values in measured.outputs.items()}
    references = _references(record, stated, org)
    compared = {name: result.scores for name, result in references.items()}
    # Earlier versions recorded no load and compared times all the same.
    differ = not_comparable(record, references.get("retrain")) if record.cost else None

    def scored(outputs: dict[str, np.ndarray]) -> RunResult:
        return evaluate_run(record, outputs, data, metrics=asked, times_differ=differ, **compared)

    found, dtype = scored(outputs), getattr(torch, measured.evaluated["dtype"])
    checks = check_scores(
        stated,
        found.scores,
        found.reasons,
        tolerance=weights_tolerances(outputs, lambda noisy: scored(noisy).scores, eps=torch.finfo(dtype).eps),
        missing=every_source() - references.keys() - {stated.method, outputs_of(stated.method)},
        outside=external_scores(stated),
    )
    return Verification(repo, folder.name, checks)


def _stated(repo: str, folder: Path) -> RunResult:
    """Return the result that a fetched checkpoint states, which must be of its own run."""
    if not (folder / RESULT).is_file():
        raise BadInput(f"{repo} has no {RESULT}: it states no scores to compare with.")
    record, stated = load_record(folder), load_result(folder / RESULT)
    run = record.run.at(stated.del_ratio)
    names = (*IDENTITY, "base_model", "status")
    differing = [name for name in names if getattr(stated, name) != getattr(record, name)]
    if stated.run != run or differing:
        what = f"{stated.name} in place of {run.name}" if stated.run != run else f"another {', '.join(differing)}"
        raise BadInput(f"The {RESULT} of {repo} is not of the run that its {RECORD} names ({what}).")
    return stated


def _references(record: RunRecord, stated: RunResult, org: str) -> dict[str, RunResult]:
    """Return the published results, of the same data and ratio, of the runs that scores are compared with."""
    names = reference_names(record.run.at(stated.del_ratio), record.base_model, record.external)
    found = {name: published_result(f"{org}/{repo}") for name, repo in names.items() if name != stated.method}
    shared = ("task", "variant", "model", "del_ratio", "data_fingerprint")
    return {
        name: result
        for name, result in found.items()
        if result
        and result.run.checkpoint_name == names[name]
        and all(getattr(result, field) == getattr(stated, field) for field in shared)
    }
