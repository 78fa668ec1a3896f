"""The average gap to retrain by seed, and the floor: the same gap between two retrained models of different seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mubench_hf.metrics import get_metric, metrics_by_score, score_metric
from mubench_hf.metrics.parameters import SPLITS
from mubench_hf.results.aggregate import Group
from mubench_hf.results.columns import Column
from mubench_hf.results.uncertainty import Interval, Sample, pairwise

GAP = "average_gap"


def gap_parts(metric: str | None) -> tuple[str, ...]:
    """Return the scores whose absolute differences to the retrained model's are averaged."""
    own = {f"{split}_score": f"{split}_{metric}" for split in SPLITS}
    names = get_metric(GAP).parameters
    return tuple(own.get(name, name) for name in names if f"retrain_{name}" in names)


def is_of_pair(key: str) -> bool:
    """Return whether a score compares a run with its retrained model."""
    found = score_metric(key, metrics_by_score())
    return found is not None and any(name.startswith("retrain_") for name in found.parameters)


def column_sample(group: Group, column: Column, metric: str | None) -> Sample | None:
    """Return a group's scores in a column by seed; the gap's draws are put together from those of its parts."""
    key = column.score_key(metric)
    sample = group.samples.get(key)
    if sample is None or key != GAP:
        return sample
    found = [group.gap_sample(part) for part in gap_parts(metric)]
    gaps = [part for part in found if part is not None]
    draws = {}
    for seed in sample.values:
        drawn = [np.abs(part.draws[seed]) for part in gaps if seed in part.draws]
        if len(drawn) == len(found) and len({len(each) for each in drawn}) == 1:
            draws[seed] = np.mean(drawn, axis=0)
    return Sample(sample.values, draws)


def merit_sample(group: Group, column: Column, metric: str | None) -> Sample | None:
    """Return how good a group is in a column, by seed: larger is better; ``None`` if nothing can tell.

    Towards retrain, a seed's merit is how far it lies on the side of the retrained model where the mean does, negated:
    the mean over seeds is then the mean gap, negated.
    """
    if column.direction == "match_retrained":
        gaps = group.gap_sample(column.score_key(metric))
        return None if gaps is None else gaps.times(-1.0 if gaps.mean > 0 else 1.0)
    sample = column_sample(group, column, metric)
    if sample is None or column.direction is None:
        return None
    return sample if column.direction == "higher" else sample.times(-1.0)


def floor_of(
    retrained: dict[str, Sample], column: Column, metric: str | None
) -> tuple[dict[int, float], Interval | None]:
    """Return how far retrained models of different seeds lie apart in a column, see ``pairwise``.

    A score that is itself a comparison with the retrained model has none, except for the gap: of the retrained model it
    is what it is of any model and itself.

    Args:
        retrained: Scores of the retrained models, see ``Group``.
        column: The column.
        metric: The task's metric.
    """
    key = column.score_key(metric)
    if key != GAP and is_of_pair(key):
        return {}, None
    keys: Sequence[str] = gap_parts(metric) if key == GAP else (key,)
    parts = [retrained[each] for each in keys if each in retrained]
    return pairwise(parts) if len(parts) == len(keys) else ({}, None)
