"""A checkpoint's outputs → its scores: one forward pass a split serves every metric."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from mubench_hf.metrics import get_metric, list_metrics
from mubench_hf.trainers import get_method

SPLITS = ("test", "forget", "retain")
REFERENCES = ("original", "retrain")
"""Runs whose scores other runs' scores are compared with."""
TIME_RATIO = "retrain_time_ratio"

ONE_SPLIT = {"logits", "predictions", "predicted_tokens", "generated_logits", "generated_features"}
"""Parameters by which a metric is known to score any one split."""

Scores = dict[str, float | None]
Reasons = dict[str, str]


def score(
    outputs: Mapping[str, np.ndarray],
    *,
    metrics: Sequence[str],
    method: str,
    seed: int,
    seconds: float | None = None,
    original: Mapping[str, float | None] | None = None,
    retrain: Mapping[str, float | None] | None = None,
) -> tuple[Scores, Reasons]:
    """Return every score of a run, a pure function of outputs, times and the reference models' scores.

    A metric is called with the arguments that its parameters name; one metric's score can be another's argument.

    Args:
        outputs: What the task's kind measured of the run.
        metrics: Metric modules that score a split; the first is the task's own score.
        method: ``original`` or the key of a method.
        seed: Seed of the run.
        seconds: Wall seconds of unlearning.
        original: Scores of the original that the run started from.
        retrain: Scores of the retrained model of the same seed.

    Returns:
        Score name → value or ``None``, and for each ``None`` the reason.
    """
    scores, reasons, correctness = _split_scores(outputs, metrics)
    metric = metrics[0]
    context: dict[str, Any] = {**outputs, **correctness, "seed": seed, "chance": float(outputs["chance"])}
    if method != "original":
        context["allowed_utility_drop"] = get_method(method).allowed_utility_drop
    scores["unlearn_seconds"] = None if method == "original" else seconds
    for name, reference in (("original", original), ("retrain", retrain), (method, scores)):
        # The last one lets a reference be compared with itself.
        reference = reference or {}
        context |= {f"{name}_{key}": value for key, value in reference.items()}
        context |= {f"{name}_{split}_score": reference.get(f"{split}_{metric}") for split in SPLITS}
    context |= {f"{split}_score": scores[f"{split}_{metric}"] for split in SPLITS}
    _call_metrics(context, method, scores, reasons)
    _add_time_ratio(scores, reasons, method, context.get("retrain_unlearn_seconds"))
    return scores, reasons


def score_names(metrics: Sequence[str]) -> set[str]:
    """Return the names of the scores that ``score`` gives a run, each a value or ``None``."""
    names = {f"{split}_{metric}" for metric, split in product(metrics, SPLITS)}
    others = {name for name in list_metrics() if not ONE_SPLIT & set(_parameters(name))}
    return names | others | {"unlearn_seconds", TIME_RATIO}


def _parameters(name: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(getattr(get_metric(name), name)).parameters


def _split_scores(
    outputs: Mapping[str, np.ndarray], metrics: Sequence[str]
) -> tuple[Scores, Reasons, dict[str, np.ndarray]]:
    """Return the task's own scores of every split, the reasons for those that are missing, and graded correctness.

    A metric reads the outputs of a split that its parameters name. Where it scores rows, the main one says how right
    each row is: ``<split>_correctness`` ``[rows]``.
    """
    scores, reasons, correctness = {}, {}, {}
    for metric, split in product(metrics, SPLITS):
        module = get_metric(metric)
        of_rows = getattr(module, "row_scores", None)
        call = of_rows or getattr(module, metric)
        given = {name: outputs.get(f"{split}_{name}") for name in inspect.signature(call).parameters}
        try:
            found = call(**{name: value for name, value in given.items() if value is not None})
        except ValueError as error:
            scores[f"{split}_{metric}"], reasons[f"{split}_{metric}"] = None, str(error)
            continue
        if of_rows and metric == metrics[0]:
            correctness[f"{split}_correctness"] = found[metric]
        scores |= {f"{split}_{name}": float(np.mean(value)) for name, value in found.items()}
    return scores, reasons, correctness


def _call_metrics(context: dict[str, Any], method: str, scores: Scores, reasons: Reasons) -> None:
    """Call each metric as soon as all it needs is there; what never comes is why it is missing."""
    waiting = {name: getattr(get_metric(name), name) for name in list_metrics()}
    # A metric of any one split is a task's own score, which is taken already where it is the task's.
    waiting = {name: call for name, call in waiting.items() if not ONE_SPLIT & set(inspect.signature(call).parameters)}
    while ready := [name for name, call in waiting.items() if not _missing(call, context)]:
        for name in ready:
            call = waiting.pop(name)
            given = {key: context[key] for key in inspect.signature(call).parameters if context.get(key) is not None}
            try:
                found = call(**given)
            except ValueError as error:
                scores[name], reasons[name] = None, str(error)
            else:
                scores |= found
                context |= found | {f"{method}_{key}": value for key, value in found.items()}
    for name, call in waiting.items():
        scores[name], reasons[name] = None, f"needs {', '.join(_missing(call, context))}, which this run lacks"


def _missing(call: Callable[..., Any], context: Mapping[str, Any]) -> list[str]:
    parameters = inspect.signature(call).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and context.get(p.name) is None]


def references_of(key: str) -> set[str]:
    """Return which of the original and the retrained model the score ``key`` is a comparison with."""
    if key == TIME_RATIO:
        return {"retrain"}
    parameters = inspect.signature(getattr(get_metric(key), key)).parameters if key in list_metrics() else ()
    return {name for name in REFERENCES if any(parameter.startswith(f"{name}_") for parameter in parameters)}


def _add_time_ratio(scores: Scores, reasons: Reasons, method: str, retrain_seconds: float | None) -> None:
    seconds, key = scores["unlearn_seconds"], TIME_RATIO
    scores[key] = seconds / retrain_seconds if seconds is not None and retrain_seconds else None
    if seconds is None:
        reason = "the original unlearns nothing" if method == "original" else "the run was not timed"
        reasons |= {"unlearn_seconds": reason, key: reason}
    elif not retrain_seconds:
        reasons[key] = "needs the retrained model of the same seed and its time"
