"""Fills in the scores that finished runs lack, from the outputs that were kept of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from mubench_hf.metrics.parameters import POPULATIONS, REFERENCES, outputs_of, weights_of
from mubench_hf.runs.choice import Reference, behind, choose, sources_of
from mubench_hf.runs.cost import WALL, compute_seconds, not_comparable
from mubench_hf.runs.draws import row_draws, rows_of
from mubench_hf.runs.evaluate import from_outside
from mubench_hf.runs.record import ORIGINAL
from mubench_hf.runs.references import reference_outputs
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.scores import Effects, score
from mubench_hf.runs.shadows.reading import RunPopulations
from mubench_hf.runs.store import Results, has_logits, kept_names, load_logits, reference_results
from mubench_hf.runs.weights import weight_sources
from mubench_hf.tasks import known_task


def is_measured(result: RunResult, results: Path, metrics: Iterable[Reference] = ()) -> bool:
    """Return whether the kept outputs of a run hold all that scores which it lacks are computed from.

    Args:
        result: Its result.
        results: Folder with its outputs.
        metrics: What to compute beside the task's metrics and the default ones, see ``choose``.
    """
    from mubench_hf.kinds.measures import get_measure

    task = known_task(result.task, result.external)
    if task is None:
        return True
    has = {key for key in result.scores if not result.reasons.get(key, "").startswith("needs")}
    can = get_measure(task.kind).measurable(task)
    arrays = choose(task.metrics, metrics).without(has).arrays(result.method) & can
    return not arrays or arrays <= kept_names(result.name, results)


def completed_all(runs: Iterable[RunResult], results: Path, metrics: Iterable[Reference] = ()) -> Results:
    """Return results, in their order, with missing scores filled in, see ``completed``."""
    found, asked = {run.name: run for run in runs}, list(metrics)
    order = sorted(found.values(), key=lambda run: [*REFERENCES, run.method].index(run.method))
    # Originals come first, and once more when the retrained models that they are compared with have their scores.
    for run in (*order, *(run for run in order if run.method == ORIGINAL)):
        found[run.name] = completed(found[run.name], results, asked, known=found)
    return Results(found.values())


def completed(
    result: RunResult,
    results: Path,
    metrics: Iterable[Reference] = (),
    known: Mapping[str, RunResult] = MappingProxyType({}),
) -> RunResult:
    """Return a result with missing scores filled in from its kept outputs; stated scores stay as they are.

    A score may be missing because nobody asked for it or its metric was added later, or because what it compares with
    was evaluated later. If the task is not known here, nothing says which scores it has.

    Args:
        result: The result.
        results: Folder with its outputs and with the results that it is compared with.
        metrics: What to compute beside the task's metrics and the default ones, see ``choose``.
        known: Name of a run → its result, where that is newer than the one in the folder.
    """
    task = known_task(result.task, result.external)
    if task is None or result.status == "failed" or not has_logits(result.name, results):
        return result
    references = reference_results(result, result.run, results)
    references = {name: known.get(found.name, found) for name, found in references.items()}
    available = {
        *references,
        *POPULATIONS,
        *map(weights_of, REFERENCES),
        *(outputs_of(name) for name, run in references.items() if has_logits(run.name, results)),
    }
    # A score that a run can never have, such as an original's time to forget, has a reason of another kind.
    waiting = {key for key, why in result.reasons.items() if why.startswith("needs") and sources_of(key) & available}
    asked = [*metrics, *behind(waiting)]
    if not waiting and choose(task.metrics, asked).scores <= result.scores.keys():
        return result
    populations = RunPopulations(result, result.run, references, results)
    outputs = load_logits(result.name, results, result.hashes)
    effects: Effects = {}
    scores, reasons = score(
        outputs,
        metrics=task.metrics,
        method=result.method,
        seed=result.seed,
        seconds=result.scores.get(WALL),
        compute_seconds=compute_seconds(result.cost),
        times_differ=not_comparable(result, references.get("retrain")),
        effects=effects,
        asked=asked,
        sources=reference_outputs(result, outputs, references, results)
        | populations.sources
        | weight_sources(result, result.run, results),
        **{name: found.scores for name, found in references.items()},
    )
    stated = {key: value for key, value in result.scores.items() if value is not None}
    merged = {**result.scores, **scores, **stated}
    why = {**result.reasons, **reasons}
    reasons = {key: why[key] for key, value in merged.items() if value is None}
    draws = row_draws({key: rows for key, rows in effects.items() if key not in result.draws}, rows_of(result))
    # A stated score keeps the metric that it was computed with.
    metrics = {**from_outside(merged), **result.metrics}
    made = replace(result, scores=merged, reasons=reasons, metrics=metrics, draws={**draws, **result.draws})
    made = replace(made, evaluated=populations.noted(result.evaluated))
    return result if made == result else made
