"""A checkpoint's outputs → its scores: one forward pass per split serves every metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np

from mubench_hf.metrics import Metric, metrics_by_score
from mubench_hf.metrics.parameters import (
    ANY,
    REFERENCES,
    RUN,
    SPLIT,
    SPLITS,
    legal_parameters,
    outputs_of,
    what_is_missing,
)
from mubench_hf.runs.choice import Reference, choose
from mubench_hf.runs.cost import COMPUTE, TIME_RATIO, TIMES, WALL

Scores = dict[str, float | None]
Reasons = dict[str, str]
Effects = dict[str, Mapping[str, np.ndarray]]
Source = Callable[[], Mapping[str, np.ndarray]]
"""Returns what metrics read that is no part of the run, by the names of their parameters; a ValueError says why not."""


def score(
    outputs: Mapping[str, np.ndarray],
    *,
    metrics: Sequence[Reference],
    method: str,
    seed: int,
    seconds: float | None = None,
    compute_seconds: float | None = None,
    times_differ: str | None = None,
    original: Mapping[str, float | None] | None = None,
    retrain: Mapping[str, float | None] | None = None,
    asked: Iterable[Reference] = (),
    sources: Mapping[str, Source] | None = None,
    effects: Effects | None = None,
) -> tuple[Scores, Reasons]:
    """Return every score of a run: a pure function of outputs, times and what it is compared with.

    A metric is called with the arguments that its parameters name; one metric's score can be another's argument. Which
    metrics are computed says ``choose``.

    Args:
        outputs: What the task's kind measured of the run.
        metrics: Metrics that score a split; the first is the task's own score.
        method: ``original`` or the key of a method.
        seed: Seed of the run.
        seconds: Wall seconds of unlearning.
        compute_seconds: Processor seconds of unlearning, see ``runs.cost``.
        times_differ: Why its times cannot be compared with the retrained model's, if they cannot.
        original: Scores of the original that the run started from.
        retrain: Scores of the retrained model of the same seed.
        asked: Metrics beside the task's and the default ones, see ``choose``.
        sources: ``Parameter.of`` → what returns the arrays that are called so, such as ``retrain outputs``: each is
            called when the first metric asks for one of them.
        effects: Takes what each row contributes to a score, by score and split, see ``runs.draws``.

    Returns:
        Score name → value or ``None``, and for each ``None`` the reason.

    Raises:
        BadInput: If a metric is unknown or not well declared, or one of ``metrics`` does not score a split.
    """
    choice = choose(metrics, asked)
    run: dict[str, Any] = {"chance": float(outputs["chance"]), "seed": seed, "method": method}
    effects = {} if effects is None else effects
    scores, reasons, correctness = _split_scores(outputs, choice.of_splits, run, effects)
    scores[WALL] = None if method == "original" else seconds
    if compute_seconds is not None:
        scores[COMPUTE] = None if method == "original" else compute_seconds
    references, sources = {"original": original or {}, "retrain": retrain or {}}, dict(sources or {})
    if method in REFERENCES:  # A reference model is compared with itself.
        references[method] = scores
        sources[outputs_of(method)] = lambda: {f"{method}_{name}": value for name, value in outputs.items()}
    main = choice.of_splits[0].key
    context = {**outputs, **correctness, **run}
    context |= {f"{split}_score": scores[f"{split}_{main}"] for split in SPLITS}
    for name, reference in references.items():
        context |= {f"{name}_{key}": value for key, value in reference.items()}
        context |= {f"{name}_{split}_score": reference.get(f"{split}_{main}") for split in SPLITS}
    _run_scores(_Given(context, sources), choice.of_run, method, scores, reasons, effects)
    _add_time_ratio(scores, reasons, method, references["retrain"], None if method == "retrain" else times_differ)
    return scores, reasons


class _Given:
    """What metrics are called with: values at hand, and sources that are read when a metric first asks for them."""

    def __init__(self, values: Mapping[str, Any], sources: Mapping[str, Source]):
        self._values, self._sources = dict(values), sources
        self._read: dict[str, Mapping[str, np.ndarray]] = {}
        self._legal = legal_parameters(metrics_by_score())

    def add(self, values: Mapping[str, Any]) -> None:
        self._values |= values

    def lacks(self, metric: Metric) -> list[str]:
        """Return the required parameters that nothing at hand has; what no source was asked for yet may be there."""
        needed = [name for name, is_needed in metric.parameters.items() if is_needed]
        return [name for name in needed if self._values.get(name) is None and not self._in_source(name)]

    def arguments(self, metric: Metric) -> dict[str, Any]:
        """Return what a metric is called with.

        Raises:
            ValueError: If something required is missing; the message is the reason.
        """
        for of in dict.fromkeys(self._legal[name].of for name in metric.parameters if self._in_source(name)):
            self._read[of] = self._sources[of]()
            self._values |= self._read[of]
        if lacking := self.lacks(metric):
            raise ValueError(what_is_missing(lacking, self._legal))
        return {name: self._values[name] for name in metric.parameters if self._values.get(name) is not None}

    def _in_source(self, name: str) -> bool:
        """Return whether a name may be in a source that was not read yet."""
        of = self._legal[name].of
        return of not in (SPLIT, RUN, ANY) and of in self._sources and of not in self._read


def _split_scores(
    outputs: Mapping[str, np.ndarray], metrics: Sequence[Metric], run: Mapping[str, Any], effects: Effects
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
        mine = _Given({**given, **run}, {})
        try:
            found = _called(metric, mine)
        except ValueError as error:
            scores[f"{split}_{metric.key}"], reasons[f"{split}_{metric.key}"] = None, str(error)
            continue
        if metric.row_scores and metric == metrics[0]:
            correctness[f"{split}_correctness"] = found[metric.key]
        scores |= {f"{split}_{name}": float(np.mean(value)) for name, value in found.items()}
        of_rows = metric.row_effects(**mine.arguments(metric)) if metric.row_effects else found
        effects |= {f"{split}_{name}": {split: value} for name, value in of_rows.items() if np.ndim(value)}
    return scores, reasons, correctness


def _run_scores(
    given: _Given, metrics: Sequence[Metric], method: str, scores: Scores, reasons: Reasons, effects: Effects
) -> None:
    """Compute each metric as soon as everything it needs is known; if something never is, that is the reason given."""
    waiting = {metric.key: metric for metric in metrics}
    while ready := [metric for metric in waiting.values() if not given.lacks(metric)]:
        for metric in ready:
            del waiting[metric.key]
            try:
                of_rows = metric.row_effects(**given.arguments(metric)) if metric.row_effects else {}
                found = {name: float(value) for name, value in _called(metric, given, of_rows).items()}
            except ValueError as error:
                scores[metric.key], reasons[metric.key] = None, str(error)
                continue
            scores |= found
            effects |= of_rows
            given.add(found)
            if method in REFERENCES:
                given.add({f"{method}_{key}": value for key, value in found.items()})
    for key, metric in waiting.items():
        scores[key], reasons[key] = None, what_is_missing(given.lacks(metric), legal_parameters(metrics_by_score()))


def _called(
    metric: Metric, given: _Given, of_rows: Mapping[str, Mapping[str, np.ndarray]] = MappingProxyType({})
) -> dict[str, np.ndarray]:
    """Return a metric's scores, float []; of a metric that scores rows, float [rows].

    Args:
        metric: The metric.
        given: What it is called with.
        of_rows: What its rows contribute, if that is known by now: some scores are no more than the mean.

    Raises:
        ValueError: If there is no score; the message is the reason.
    """
    arguments = given.arguments(metric)
    if of_rows and metric.mean_of:
        found = {name: parts[metric.mean_of].mean() for name, parts in of_rows.items()}
    else:
        found = (metric.row_scores if metric.of_split and metric.row_scores else metric.compute)(**arguments)
    if not isinstance(found, Mapping) or {*found} != {*metric.names}:
        raise ValueError(f"{metric.key} returned {found!r}; a dictionary of {', '.join(metric.names)} is needed")
    found = {name: np.asarray(value, dtype=np.float64) for name, value in found.items()}
    low, high = metric.range
    for name, value in found.items():
        if not (low <= value.mean() <= high and np.isfinite(value).all()):
            raise ValueError(f"{name} came out as {value.mean()}; its range is {low:g} to {high:g}")
    return found


def _add_time_ratio(
    scores: Scores, reasons: Reasons, method: str, retrain: Mapping[str, float | None], differ: str | None
) -> None:
    """Add the ratio of processor seconds; of wall seconds where neither run has others, as in earlier versions."""
    name = COMPUTE if COMPUTE in scores or COMPUTE in retrain else WALL
    seconds, other = scores.get(name), retrain.get(name)
    scores[TIME_RATIO] = seconds / other if seconds is not None and other and not differ else None
    if scores[WALL] is None:
        reason = "the original unlearns nothing" if method == "original" else "the run was not timed"
        reasons |= {key: reason for key in TIMES if key in scores and scores[key] is None}
    elif scores[TIME_RATIO] is None:
        reasons[TIME_RATIO] = differ or "needs the retrained model of the same seed and its time"
