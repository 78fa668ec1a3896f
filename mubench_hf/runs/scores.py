"""A checkpoint's outputs → its scores: one forward pass per split serves every metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from mubench_hf.errors import BadInput
from mubench_hf.metrics import METRICS, Metric, get_metric, metrics_by_score
from mubench_hf.metrics.parameters import REFERENCES, SPLITS, legal_parameters, what_is_missing

TIME_RATIO = "retrain_time_ratio"

Scores = dict[str, float | None]
Reasons = dict[str, str]


def score(
    outputs: Mapping[str, np.ndarray],
    *,
    metrics: Sequence[str | Metric],
    method: str,
    seed: int,
    seconds: float | None = None,
    original: Mapping[str, float | None] | None = None,
    retrain: Mapping[str, float | None] | None = None,
) -> tuple[Scores, Reasons]:
    """Return every score of a run: a pure function of outputs, times and the reference models' scores.

    A metric is called with the arguments that its parameters name; one metric's score can be another's argument. All
    metrics that compare splits or runs are computed; among those that score one split, only the task's own and those
    from outside.

    Args:
        outputs: What the task's kind measured of the run.
        metrics: Metrics that score a split; the first is the task's own score.
        method: ``original`` or the key of a method.
        seed: Seed of the run.
        seconds: Wall seconds of unlearning.
        original: Scores of the original that the run started from.
        retrain: Scores of the retrained model of the same seed.

    Returns:
        Score name → value or ``None``, and for each ``None`` the reason.

    Raises:
        BadInput: If a metric is unknown or not well declared, or one of ``metrics`` does not score a split.
    """
    of_splits, of_run = _chosen(metrics)
    run: dict[str, Any] = {"chance": float(outputs["chance"]), "seed": seed, "method": method}
    scores, reasons, correctness = _split_scores(outputs, of_splits, run)
    scores["unlearn_seconds"] = None if method == "original" else seconds
    references = {"original": original or {}, "retrain": retrain or {}}
    if method in REFERENCES:
        references[method] = scores  # A reference model is compared with itself.
    context = {**outputs, **correctness, **run}
    context |= {f"{split}_score": scores[f"{split}_{of_splits[0].key}"] for split in SPLITS}
    for name, reference in references.items():
        context |= {f"{name}_{key}": value for key, value in reference.items()}
        context |= {f"{name}_{split}_score": reference.get(f"{split}_{of_splits[0].key}") for split in SPLITS}
    _run_scores(context, of_run, scores, reasons)
    _add_time_ratio(scores, reasons, method, context.get("retrain_unlearn_seconds"))
    return scores, reasons


def score_names(metrics: Sequence[str | Metric]) -> set[str]:
    """Return the names of the scores that ``score`` gives a run, each a value or ``None``."""
    of_splits, of_run = _chosen(metrics)
    names = {f"{split}_{metric.key}" for metric, split in product(of_splits, SPLITS)}
    return names | {metric.key for metric in of_run} | {"unlearn_seconds", TIME_RATIO}


def references_of(key: str) -> set[str]:
    """Return with which of the original and the retrained model the score ``key`` compares, even if only in part."""
    if key == TIME_RATIO:
        return {"retrain"}
    known, found, waiting, seen = metrics_by_score(), set(), [key], set()
    legal = legal_parameters(known)
    while waiting:
        name = waiting.pop()
        if name in known and name not in seen:
            seen.add(name)
            found |= {legal[parameter].of for parameter in known[name].parameters} & {*REFERENCES}
            waiting += known[name].parameters
    return found


def _chosen(metrics: Sequence[str | Metric]) -> tuple[list[Metric], list[Metric]]:
    """Return the metrics that score one split, the task's own first, and those that compare splits or runs."""
    chosen = [get_metric(reference) for reference in metrics]
    known = metrics_by_score()
    every = list(dict.fromkeys(known.values()))
    for metric in every:
        if METRICS.origin(metric):  # The package's own are held to it by tests, and checking one imports it.
            metric.check(known)
    for metric in chosen:
        if not metric.of_split:
            raise BadInput(f"The metric {metric.key} compares splits or runs; a task's own metrics score one split.")
    brought = [metric for metric in every if metric.of_split and METRICS.origin(metric) and metric not in chosen]
    return [*chosen, *brought], [metric for metric in every if not metric.of_split]


def _split_scores(
    outputs: Mapping[str, np.ndarray], metrics: Sequence[Metric], run: Mapping[str, Any]
) -> tuple[Scores, Reasons, dict[str, np.ndarray]]:
    """Return the scores of every split, the reasons for those that are missing, and graded correctness.

    A metric reads the outputs of a split that its parameters name. If the main one scores rows, its row scores are
    ``<split>_correctness`` ``[rows]``, which say how right each row is.
    """
    scores, reasons, correctness = {}, {}, {}
    for metric, split in product(metrics, SPLITS):
        given = {
            name.removeprefix(f"{split}_"): value for name, value in outputs.items() if name.startswith(f"{split}_")
        }
        try:
            found = _called(metric, {**given, **run})
        except ValueError as error:
            scores[f"{split}_{metric.key}"], reasons[f"{split}_{metric.key}"] = None, str(error)
            continue
        if metric.row_scores and metric == metrics[0]:
            correctness[f"{split}_correctness"] = found[metric.key]
        scores |= {f"{split}_{name}": float(np.mean(value)) for name, value in found.items()}
    return scores, reasons, correctness


def _run_scores(context: dict[str, Any], metrics: Sequence[Metric], scores: Scores, reasons: Reasons) -> None:
    """Compute each metric as soon as everything it needs is known; if something never is, that is the reason given."""
    waiting, method = {metric.key: metric for metric in metrics}, context["method"]
    while ready := [metric for metric in waiting.values() if not _lacks(metric, context)]:
        for metric in ready:
            del waiting[metric.key]
            try:
                found = {name: float(value) for name, value in _called(metric, context).items()}
            except ValueError as error:
                scores[metric.key], reasons[metric.key] = None, str(error)
                continue
            scores |= found
            context |= found
            if method in REFERENCES:
                context |= {f"{method}_{key}": value for key, value in found.items()}
    for key, metric in waiting.items():
        scores[key], reasons[key] = None, _why_not(metric, context)


def _called(metric: Metric, context: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return a metric's scores, float []; of a metric that scores rows, float [rows].

    Raises:
        ValueError: If there is no score; the message is the reason.
    """
    if _lacks(metric, context):
        raise ValueError(_why_not(metric, context))
    given = {name: context[name] for name in metric.parameters if context.get(name) is not None}
    found = (metric.row_scores if metric.of_split and metric.row_scores else metric.compute)(**given)
    if not isinstance(found, Mapping) or {*found} != {*metric.names}:
        raise ValueError(f"{metric.key} returned {found!r}; a dictionary of {', '.join(metric.names)} is needed")
    found = {name: np.asarray(value, dtype=np.float64) for name, value in found.items()}
    low, high = metric.range
    for name, value in found.items():
        if not (low <= value.mean() <= high and np.isfinite(value).all()):
            raise ValueError(f"{name} came out as {value.mean()}; its range is {low:g} to {high:g}")
    return found


def _lacks(metric: Metric, context: Mapping[str, Any]) -> list[str]:
    return [name for name, is_needed in metric.parameters.items() if is_needed and context.get(name) is None]


def _why_not(metric: Metric, context: Mapping[str, Any]) -> str:
    return what_is_missing(_lacks(metric, context), legal_parameters(metrics_by_score()))


def _add_time_ratio(scores: Scores, reasons: Reasons, method: str, retrain_seconds: float | None) -> None:
    seconds, key = scores["unlearn_seconds"], TIME_RATIO
    scores[key] = seconds / retrain_seconds if seconds is not None and retrain_seconds else None
    if seconds is None:
        reason = "the original unlearns nothing" if method == "original" else "the run was not timed"
        reasons |= {"unlearn_seconds": reason, key: reason}
    elif not retrain_seconds:
        reasons[key] = "needs the retrained model of the same seed and its time"
