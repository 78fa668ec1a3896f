"""Runs to groups: mean and spread of each score over seeds, beside the retrained model's."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mubench_hf.errors import BadInput
from mubench_hf.runs.result import RunResult

REFERENCES = ("original", "retrain")
"""Methods that unlearn nothing; every other one is an unlearning method. Tables start with these."""
MAIN_PREFIXES = ("test_", "forget_", "retain_")
"""The task's own score is reported on these splits, as prefix and metric name: ``test_accuracy``."""
NOT_REPORTED = "not reported by the run"


@dataclass(frozen=True)
class ScoreSummary:
    """One score over the seeds of a group.

    Attributes:
        mean: Mean over the runs that have the score; ``None`` if none has.
        std: Sample standard deviation (divisor n - 1); ``None`` below two runs.
        count: Number of runs behind the mean.
        reasons: Why it is missing in the others, each reason once.
    """

    mean: float | None
    std: float | None
    count: int
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """All seeds of one method on one task, source, model and deletion ratio.

    Attributes:
        task: Key of the task.
        variant: ``full`` or ``mini``.
        model: Model name.
        del_ratio: Percent of the train set that is deleted.
        method: ``original``, ``retrain`` or an unlearning method.
        status: ``ok`` if every run is, else for example ``diverged 1/3`` or ``diverged 1/3, failed 1/3``.
        averaged: Status of the runs behind the means: ``ok``, or ``diverged`` where no run is ok, or ``failed``.
        status_reasons: Why runs are not ok, each reason once.
        seeds: Seeds of all runs, sorted.
        scores: Score name to its summary over the ``averaged`` runs; empty if all failed.
        retrain: Means of the retrained model's ok runs; empty if there are none.
    """

    task: str
    variant: str
    model: str
    del_ratio: int
    method: str
    status: str
    averaged: str
    status_reasons: tuple[str, ...]
    seeds: tuple[int, ...]
    scores: dict[str, ScoreSummary]
    retrain: dict[str, float] = field(default_factory=dict, repr=False)

    def score(self, key: str) -> ScoreSummary:
        """Return the summary of ``key``; an empty one that says why if no run reports it."""
        reasons = self.status_reasons if self.averaged == "failed" else (NOT_REPORTED,)
        return self.scores.get(key, ScoreSummary(None, None, 0, reasons))

    def gap_to_retrain(self, key: str) -> float | None:
        """Return this group's mean minus the retrained model's, ``None`` where either is missing."""
        mean = self.score(key).mean
        return None if mean is None or key not in self.retrain else mean - self.retrain[key]

    @property
    def is_method(self) -> bool:
        """Whether this is an unlearning method, not the original or the retrained model."""
        return self.method not in REFERENCES


def aggregate(results: Iterable[RunResult]) -> list[list[Group]]:
    """Summarise runs over seeds, one list of groups for each task, source, model and deletion ratio.

    Groups of different lists are not comparable. Within one, they stand in the order original, retrain, then methods by
    name. A diverged run is averaged with diverged runs only, and only where no run of its group is ok.

    Args:
        results: Runs in any order.

    Returns:
        Lists of groups, sorted by task, source, model and ratio.

    Raises:
        BadInput: If runs that belong to one list were made from different data or deletion lists, or a run comes twice.
    """
    tables: dict[tuple[str, str, str, int], list[RunResult]] = defaultdict(list)
    for result in results:
        tables[result.task, result.variant, result.model, result.del_ratio].append(result)
    return [_groups(tables[key]) for key in sorted(tables)]


def check_comparable(groups: Sequence[Group]) -> None:
    """Raise unless all groups belong into one table.

    Raises:
        BadInput: If there is no group, or tasks, sources, models or deletion ratios differ.
    """
    if not groups:
        raise BadInput("There are no results to show.")
    for name in ("task", "variant", "model", "del_ratio"):
        found = sorted({getattr(group, name) for group in groups})
        if len(found) > 1:
            raise BadInput(f"Results differ in {name} ({', '.join(map(str, found))}); show them in separate tables.")


def split_metrics(groups: Sequence[Group]) -> list[str]:
    """Return the names of all metrics whose ``test_``, ``forget_`` and ``retain_`` scores the groups hold, sorted."""
    names = set().union(*(group.scores for group in groups))
    suffixes = ({name.removeprefix(split) for name in names if name.startswith(split)} for split in MAIN_PREFIXES)
    return sorted(set.intersection(*suffixes))


def main_metric(groups: Sequence[Group]) -> str | None:
    """Return the task metric whose ``test_``, ``forget_`` and ``retain_`` scores the groups hold, ``None`` if none.

    Raises:
        BadInput: If they hold several.
    """
    found = split_metrics(groups)
    if len(found) > 1:
        raise BadInput(f"Results hold several main metrics ({', '.join(found)}); say which one to show with metric=.")
    return found[0] if found else None


def heading(groups: Sequence[Group], title: str | None = None) -> str:
    """Return the line that says what ``groups`` were measured on: task, stand-in or not, model, ratio, seeds."""
    first = groups[0]
    seeds = sorted(set().union(*(group.seeds for group in groups)))
    task = title or first.task
    named = f"{task}-mini (not {task})" if first.variant == "mini" else task
    return (
        f"{named} · {first.model} · {first.del_ratio}% deleted · "
        f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    )


def _groups(results: list[RunResult]) -> list[Group]:
    """Return the groups of runs that share task, source, model and ratio."""
    for name in ("data_fingerprint", "deletion_sha256"):
        found = sorted({getattr(result, name) for result in results})
        if len(found) > 1:
            where = f"{results[0].run.original_name} at {results[0].del_ratio}%"
            raise BadInput(
                f"Runs of {where} differ in {name} ({', '.join(found)}), so their scores cannot be compared. "
                "Keep the results of one data build in a folder."
            )
    by_method: dict[str, list[RunResult]] = defaultdict(list)
    for result in results:
        by_method[result.method].append(result)
    summaries = _summarise(by_method.get("retrain", []), "ok")
    reference = {key: summary.mean for key, summary in summaries.items() if summary.mean is not None}
    order = [*(name for name in REFERENCES if name in by_method), *sorted(by_method.keys() - set(REFERENCES))]
    return [_group(by_method[method], reference) for method in order]


def _group(runs: list[RunResult], retrain: dict[str, float]) -> Group:
    seeds = sorted(run.seed for run in runs)
    for seed, after in zip(seeds, seeds[1:], strict=False):
        if seed == after:
            raise BadInput(f"The run {next(run.name for run in runs if run.seed == seed)} is there twice; keep one.")
    statuses = [run.status for run in runs]
    bad = [f"{kind} {statuses.count(kind)}/{len(runs)}" for kind in ("diverged", "failed") if kind in statuses]
    averaged = next(kind for kind in ("ok", "diverged", "failed") if kind in statuses)
    first = runs[0]
    return Group(
        task=first.task,
        variant=first.variant,
        model=first.model,
        del_ratio=first.del_ratio,
        method=first.method,
        status=", ".join(bad) or "ok",
        averaged=averaged,
        status_reasons=tuple(dict.fromkeys(run.status_reason for run in runs if run.status_reason)),
        seeds=tuple(seeds),
        scores=_summarise(runs, averaged),
        retrain=retrain,
    )


def _summarise(runs: list[RunResult], status: str) -> dict[str, ScoreSummary]:
    """Return each score over the runs of ``status``, none for failed runs: they left nothing to average."""
    if status == "failed":
        return {}
    averaged = sorted((run for run in runs if run.status == status), key=lambda run: run.seed)
    summaries = {}
    for key in sorted(set().union(*(run.scores for run in averaged))):
        values = [run.scores[key] for run in averaged if run.scores.get(key) is not None]
        missing = [run.reasons.get(key, NOT_REPORTED) for run in averaged if run.scores.get(key) is None]
        summaries[key] = ScoreSummary(
            mean=statistics.fmean(values) if values else None,
            std=statistics.stdev(values) if len(values) > 1 else None,
            count=len(values),
            reasons=tuple(dict.fromkeys(missing)),
        )
    return summaries
