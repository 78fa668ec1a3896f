"""Runs → groups: mean and spread of each score over seeds, beside the retrained model's."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mubench_hf.errors import BadInput
from mubench_hf.metrics.parameters import REFERENCES, SPLITS
from mubench_hf.results.uncertainty import Sample
from mubench_hf.runs.draws import draws_of
from mubench_hf.runs.result import RunResult

MAIN_PREFIXES = tuple(f"{split}_" for split in SPLITS)
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
    """The runs of one method that differ only in their seeds, on one task, variant, model and deletion ratio.

    Attributes:
        task: Key of the task.
        variant: ``full`` or ``mini``.
        model: Model name.
        del_ratio: Percent of the train set that is deleted; ``None`` if the rows are named.
        method: ``original``, ``retrain`` or an unlearning method.
        differs: Settings in which the runs differ from the preset or, if results do not say so, from the method's
            other groups.
        external: Part that is not from this package (``method``, ``model``) → its name and SHA-256.
        runs: Names of the runs.
        made_on: What they were made on, each machine once.
        busy: How busy the machine was during each averaged run, 0 to 1; ``None`` where it was not recorded.
        status: ``ok`` if every run is, else for example ``diverged 1/3`` or ``diverged 1/3, failed 1/3``.
        averaged: Status of the runs behind the means: ``ok``, or ``diverged`` if no run is ok, or ``failed``.
        status_reasons: Why runs are not ok, each reason once.
        seeds: Seeds of all runs, sorted.
        scores: Score name to its summary over the ``averaged`` runs; empty if all failed.
        samples: Score name to its values over the ``averaged`` runs, by seed.
        retrained: The same of the retrained model's ok runs; empty if there are none.
    """

    task: str
    variant: str
    model: str
    del_ratio: int | None
    method: str
    differs: dict[str, Any]
    external: dict[str, dict[str, str]]
    runs: tuple[str, ...]
    made_on: tuple[str, ...]
    busy: tuple[float | None, ...]
    status: str
    averaged: str
    status_reasons: tuple[str, ...]
    seeds: tuple[int, ...]
    scores: dict[str, ScoreSummary]
    samples: dict[str, Sample] = field(default_factory=dict, repr=False)
    retrained: dict[str, Sample] = field(default_factory=dict, repr=False)

    @property
    def label(self) -> str:
        """The group's name in tables: its method, and what sets it apart."""
        return f"{self.method} ({', '.join(self.distinctions)})" if self.distinctions else self.method

    @property
    def distinctions(self) -> list[str]:
        """What sets the group apart from the method with preset settings."""
        return ["external"] * ("method" in self.external) + [f"{name}={value}" for name, value in self.differs.items()]

    def score(self, key: str) -> ScoreSummary:
        """Return the summary of ``key``; an empty one that says why if no run reports it."""
        reasons = self.status_reasons if self.averaged == "failed" else (NOT_REPORTED,)
        return self.scores.get(key, ScoreSummary(None, None, 0, reasons))

    def gap_sample(self, key: str) -> Sample | None:
        """Return the differences to the retrained model of the same seed; ``None`` if no seed has both."""
        if key not in self.samples or key not in self.retrained:
            return None
        found = self.samples[key].minus(self.retrained[key])
        return found if found.values else None

    def gap_to_retrain(self, key: str) -> float | None:
        """Return the mean difference to the retrained model of the same seed; ``None`` if no seed has both."""
        found = self.gap_sample(key)
        return None if found is None else found.mean

    @property
    def is_method(self) -> bool:
        """Whether this is an unlearning method, not the original or the retrained model."""
        return self.method not in REFERENCES


def aggregate(results: Iterable[RunResult]) -> list[list[Group]]:
    """Summarise runs over seeds, one list of groups for each task, variant, model and deletion ratio.

    Only runs that differ in nothing but their seeds are averaged. Groups of different lists are not comparable. The
    order within a list is original, retrain, then methods by name, presets first. Diverged runs are averaged only with
    each other, and only if no run of their group is ok.

    Args:
        results: Runs in any order.

    Returns:
        Lists of groups, sorted by task, variant, model and ratio.

    Raises:
        BadInput: If runs of one list were made from different data or deletion lists, or a run comes twice.
    """
    tables: dict[tuple[str, str, str, int | None], list[RunResult]] = defaultdict(list)
    for result in results:
        tables[result.task, result.variant, result.model, result.del_ratio].append(result)
    return [_groups(tables[key]) for key in sorted(tables, key=lambda key: (*key[:3], key[3] or 0))]


def check_comparable(groups: Sequence[Group]) -> None:
    """Raise an error unless all groups belong in one table.

    Raises:
        BadInput: If there is no group, or tasks, variants, models or deletion ratios differ.
    """
    if not groups:
        raise BadInput("There are no results to show.")
    for name in ("task", "variant", "model", "del_ratio"):
        found = sorted({getattr(group, name) for group in groups}, key=str)
        if len(found) > 1:
            raise BadInput(f"Results differ in {name} ({', '.join(map(str, found))}); show them in separate tables.")


def split_metrics(groups: Sequence[Group]) -> list[str]:
    """Return the names of all metrics whose ``test_``, ``forget_`` and ``retain_`` scores the groups hold, sorted."""
    names = set().union(*(group.scores for group in groups))
    suffixes = ({name.removeprefix(split) for name in names if name.startswith(split)} for split in MAIN_PREFIXES)
    return sorted(set.intersection(*suffixes))


def main_metric(groups: Sequence[Group]) -> str | None:
    """Return the task metric whose ``test_``, ``forget_`` and ``retain_`` scores the groups hold; ``None`` without any.

    Raises:
        BadInput: If they hold several.
    """
    found = split_metrics(groups)
    if len(found) > 1:
        raise BadInput(f"Results hold several main metrics ({', '.join(found)}); say which one to show with metric=.")
    return found[0] if found else None


def deleted(del_ratio: int | None) -> str:
    """Return how much was deleted, in words."""
    return "named rows deleted" if del_ratio is None else f"{del_ratio}% deleted"


def heading(groups: Sequence[Group], title: str | None = None) -> str:
    """Return the line that says what ``groups`` were measured on: task, full or mini data, model, ratio, seeds."""
    first = groups[0]
    seeds = sorted(set().union(*(group.seeds for group in groups)))
    task = title or first.task
    named = f"{task}-mini (not {task})" if first.variant == "mini" else task
    return (
        f"{named} · {first.model} · {deleted(first.del_ratio)} · "
        f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    )


def _groups(results: list[RunResult]) -> list[Group]:
    """Return the groups of runs that share task, variant, model and ratio."""
    for name in ("data_fingerprint", "deletion_sha256"):
        found = sorted({getattr(result, name) for result in results})
        if len(found) > 1:
            where = f"{results[0].run.table_name}, {deleted(results[0].del_ratio)},"
            raise BadInput(
                f"Runs of {where} differ in {name} ({', '.join(found)}), so their scores cannot be compared. "
                "Keep the results of one data build in a folder."
            )
    rows = _rows(results)
    references = _references(rows)
    order = sorted(rows, key=lambda row: (_rank(row.method), row.method, row.original or "", len(row.rest), row.rest))
    return [_group(rows[row], _differences(row, rows), references.get(row.original, {})) for row in order]


class _Row(NamedTuple):
    """What the runs of one group share.

    Attributes:
        method: The method.
        original: Name of the original that they started from; ``None`` for the one of each run's own seed.
        rest: All other settings, as JSON.
    """

    method: str
    original: str | None
    rest: str


def _rows(results: Iterable[RunResult]) -> dict[_Row, list[RunResult]]:
    """Return the runs of each group."""
    rows: dict[_Row, list[RunResult]] = defaultdict(list)
    for run in results:
        others = {name: value for name, value in run.settings.items() if name != "original"}
        rest = json.dumps([run.config, others, run.external], sort_keys=True)
        rows[_Row(run.method, run.settings.get("original"), rest)].append(run)
    for row in [row for row in rows if row.original is not None]:
        # If one original serves every seed, the run with that original's own seed belongs with the others.
        own = rows.get(own_row := row._replace(original=None), [])
        seeds = {run.seed for run in rows[row]}
        if own and all(run.base_model == f"mubench/{row.original}" and run.seed not in seeds for run in own):
            rows[row] += rows.pop(own_row)
    return dict(rows)


def _rank(method: str) -> int:
    return REFERENCES.index(method) if method in REFERENCES else len(REFERENCES)


def _references(rows: Mapping[_Row, list[RunResult]]) -> dict[str | None, dict[str, Sample]]:
    """Return the retrained model's scores, by the original that it started from; if there are several, the preset's."""
    found: dict[str | None, dict[str, Sample]] = {}
    for row in sorted((row for row in rows if row.method == "retrain"), key=lambda row: (len(row.rest), row.rest)):
        found.setdefault(row.original, _samples(rows[row], "ok"))
    if len(found) == 1 and None not in found:  # The original is compared with the only one there is.
        found[None] = next(iter(found.values()))
    return found


def _differences(row: _Row, rows: Mapping[_Row, list[RunResult]]) -> dict[str, Any]:
    """Return what tells a group from others, see ``Group.differs``."""
    mine = _settings(row, rows)
    alike = [rows[other][0] for other in rows if other.method == row.method and _settings(other, rows) == mine]
    first, found = rows[row][0], dict(mine)
    # Results from before 0.2 state no settings, defaults may change between versions, and files keep their names.
    for name in sorted({name for run in alike for name in run.config}):
        if name not in mine and any(run.config.get(name) != first.config.get(name) for run in alike):
            found[name] = first.config.get(name, "default")
    for part in sorted({part for run in alike for part in run.external}):
        if any(run.external.get(part) != first.external.get(part) for run in alike):
            found[part] = origin_text(first.external[part]) if part in first.external else "of mubench_hf"
    return found


def _settings(row: _Row, rows: Mapping[_Row, list[RunResult]]) -> dict[str, Any]:
    return {**rows[row][0].settings, **({"original": row.original} if row.original else {})}


def origin_text(origin: Mapping[str, str]) -> str:
    """Return the origin of a part from outside, short enough for a table: its name and the start of its hash."""
    return f"{origin['name']} {origin['sha256'][:8]}"


def _group(runs: list[RunResult], differs: dict[str, Any], retrained: dict[str, Sample]) -> Group:
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
        differs=differs,
        external=first.external,
        runs=tuple(sorted(run.name for run in runs)),
        made_on=tuple(sorted({_machine(run) for run in runs})),
        busy=tuple(run.cost.get("busy") for run in runs if run.status == averaged),
        status=", ".join(bad) or "ok",
        averaged=averaged,
        status_reasons=tuple(dict.fromkeys(run.status_reason for run in runs if run.status_reason)),
        seeds=tuple(seeds),
        scores=_summarise(runs, averaged),
        samples=_samples(runs, averaged),
        retrained=retrained,
    )


def _samples(runs: list[RunResult], status: str) -> dict[str, Sample]:
    """Return each score of the runs with ``status`` by seed; none of failed runs."""
    kept = sorted((run for run in runs if run.status == status != "failed"), key=lambda run: run.seed)
    drawn = {run.seed: draws_of(run) for run in kept}
    found = {}
    for key in sorted(set().union(*(run.scores for run in kept))):
        values = {run.seed: value for run in kept if (value := run.scores.get(key)) is not None}
        if values:
            found[key] = Sample(values, {seed: drawn[seed][key] for seed in values if key in drawn[seed]})
    return found


def _machine(run: RunResult) -> str:
    """Return the hardware that a run was made on, as far as it affects times and last digits."""
    threads, processes = run.hardware.get("threads", "?"), run.world_size
    device = run.hardware.get("device", "?")
    name = run.hardware.get("cpu", "?") if device == "cpu" else device
    return f"{name}, {threads} thread{'s' * (threads != 1)}, {processes} process{'es' * (processes > 1)}"


def _summarise(runs: list[RunResult], status: str) -> dict[str, ScoreSummary]:
    """Return each score over the runs with ``status``; none for failed runs, which left nothing to average."""
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
