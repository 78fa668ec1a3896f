"""Which metrics a run computes, and what each of them needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import ModuleType

from mubench_hf.errors import BadInput
from mubench_hf.metrics import METRICS, Metric, get_metric, metrics_by_score, score_metric
from mubench_hf.metrics.parameters import ANY, REFERENCES, RUN, SPLIT, SPLITS, legal_parameters, outputs_of
from mubench_hf.runs.cost import TIME_RATIO, WALL

ALL = "all"
"""What stands for every metric that is known."""

Reference = str | Path | ModuleType | Metric
"""What names a metric, see ``get_metric``."""


@dataclass(frozen=True)
class Choice:
    """The metrics that a run computes.

    Attributes:
        of_splits: Those that score one split, the task's main one first.
        of_run: Those that compare splits or runs.
    """

    of_splits: tuple[Metric, ...]
    of_run: tuple[Metric, ...]

    @property
    def scores(self) -> set[str]:
        """Names of the scores that every run gets, each a value or ``None``."""
        names = {f"{split}_{metric.key}" for metric, split in product(self.of_splits, SPLITS)}
        return names | {metric.key for metric in self.of_run} | {WALL, TIME_RATIO}

    def arrays(self, method: str) -> set[str]:
        """Return the arrays that these metrics read of a run's outputs, if there are any.

        Args:
            method: Key of the run's method: what is compared with a retrained model reads that model's arrays too.
        """
        return {name for metric in (*self.of_splits, *self.of_run) for name in _arrays(metric, method)}

    def without(self, scores: Iterable[str]) -> Choice:
        """Return those metrics whose own scores are not all among ``scores``."""
        there = set(scores)
        of_splits = [each for each in self.of_splits if not {f"{split}_{each.key}" for split in SPLITS} <= there]
        return Choice(tuple(of_splits), tuple(each for each in self.of_run if each.key not in there))


def choose(metrics: Sequence[Reference], asked: Iterable[Reference] = ()) -> Choice:
    """Return the metrics that a run computes: the task's, the default ones, those asked for, and what these read.

    Args:
        metrics: Metrics that score a split; the first is the task's own score.
        asked: What is asked for beside them; ``all`` stands for every metric.

    Raises:
        BadInput: If a metric is unknown or not well declared, or one of ``metrics`` does not score a split.
    """
    own = [get_metric(reference).key for reference in metrics]
    named = {ALL if reference == ALL else get_metric(reference).key for reference in asked}
    known = metrics_by_score()  # Some may have been brought just now.
    every = {metric.key: metric for metric in known.values()}
    for key in own:
        if not every[key].of_split:
            raise BadInput(f"The metric {key} compares splits or runs; a task's own metrics score one split.")
    wanted = {key for key, metric in every.items() if metric.default or named & {key, ALL}}
    chosen = _with_what_they_read({*own, *wanted}, known)
    for key in chosen:
        if METRICS.origin(every[key]):  # The package's own are held to it by tests, and checking one imports it.
            every[key].check(known)
    others = [metric for key, metric in every.items() if key in chosen and key not in own]
    return Choice(
        (*(every[key] for key in dict.fromkeys(own)), *(metric for metric in others if metric.of_split)),
        tuple(metric for metric in others if not metric.of_split),
    )


def behind(scores: Iterable[str]) -> list[str]:
    """Return the keys of the metrics known to this process that some scores of a run are of."""
    known = metrics_by_score()
    return list(dict.fromkeys(metric.key for key in scores if (metric := score_metric(key, known))))


def sources_of(key: str) -> set[str]:
    """Return what a score hangs on beside the run's own outputs, even if only in part, as ``Parameter.of`` names it.

    ``original`` and ``retrain`` are scores of those runs, ``original outputs`` and ``retrain outputs`` their arrays.
    """
    if key == TIME_RATIO:
        return {"retrain"}
    known, found, waiting, seen = metrics_by_score(), set(), [key], set()
    legal = legal_parameters(known)
    while waiting:
        name = waiting.pop()
        if name in known and name not in seen:
            seen.add(name)
            found |= {legal[parameter].of for parameter in known[name].parameters} - {SPLIT, RUN, ANY}
            waiting += [_score_of(parameter) for parameter in known[name].parameters]
    return found


def _with_what_they_read(keys: Iterable[str], known: dict[str, Metric]) -> set[str]:
    """Return the keys of some metrics, and of those whose scores they are called with."""
    found, waiting = set(), list(keys)
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            read = [known.get(_score_of(parameter)) for parameter in known[key].parameters]
            waiting += [each.key for each in read if each and not each.of_split]
    return found


def _score_of(parameter: str) -> str:
    """Return a parameter's name without that of the reference run whose score it may be."""
    return parameter.removeprefix("original_").removeprefix("retrain_")


def _arrays(metric: Metric, method: str) -> Iterator[str]:
    legal = legal_parameters(())
    for name in metric.parameters:
        of = legal[name].of if name in legal else None
        if of == SPLIT:
            yield from (f"{split}_{name}" for split in SPLITS)
        elif of == RUN:
            yield name
        elif method in REFERENCES and of == outputs_of(method):
            yield name.removeprefix(f"{method}_")
