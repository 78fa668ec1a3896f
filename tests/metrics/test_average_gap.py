import inspect

import numpy as np
import pytest

from mubench_hf.metrics.average_gap import average_gap

NAMES = list(inspect.signature(average_gap).parameters)


def gap(unlearned, retrained):
    return average_gap(*map(float, unlearned), *map(float, retrained))["average_gap"]


def test_agrees_with_four_differences_by_name(rng):
    scores = dict(zip(NAMES, rng.uniform(size=8).tolist(), strict=True))
    expected = 0.0
    for name in ("forget_score", "retain_score", "test_score", "mia_confidence_svc"):
        expected += abs(scores[name] - scores[f"retrain_{name}"]) / 4
    result = average_gap(**scores)
    assert result == {"average_gap": pytest.approx(expected, abs=1e-14)}
    assert type(result["average_gap"]) is float


def test_limits(rng):
    scores = rng.uniform(size=4)
    assert gap(scores, scores) == 0
    ends = rng.integers(2, size=4)
    assert gap(ends, 1 - ends) == 1


def test_each_score_weighs_a_quarter_and_direction_does_not_matter(rng):
    retrained = rng.uniform(0.3, 0.7, size=4)
    for index in range(4):
        for change in (-0.2, 0.2):
            unlearned = retrained.copy()
            unlearned[index] += change
            assert gap(unlearned, retrained) == pytest.approx(0.05), NAMES[index]


def test_a_distance(rng):
    a, b, c = rng.uniform(size=(3, 4))
    assert gap(a, b) == gap(b, a)
    assert gap(a, c) <= gap(a, b) + gap(b, c) + 1e-12
    # the complement of membership inference, as some tables show it, has the same gap
    assert gap([*a[:3], 1 - a[3]], [*b[:3], 1 - b[3]]) == pytest.approx(gap(a, b), abs=1e-14)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [None, float("nan"), -0.01, 1.01, 73.0, "high"])
def test_impossible_inputs_are_named(name, value):
    with pytest.raises(ValueError, match=rf"^{name} is .*; a number in \[0, 1\] is needed"):
        average_gap(**{**dict.fromkeys(NAMES, 0.5), name: value})


def test_evaluate_gives_the_mean_over_runs_or_none_with_a_reason(rng, load):
    columns = dict(zip(NAMES, rng.uniform(size=(8, 15)), strict=True))
    metric = load("average_gap")
    expected = np.mean([average_gap(*run)["average_gap"] for run in zip(*columns.values(), strict=True)])
    assert metric.compute(**columns) == {"average_gap": pytest.approx(expected, abs=1e-15)}
    missing = {**columns, "retrain_mia_confidence_svc": [None, *columns["retrain_mia_confidence_svc"][1:]]}
    result = metric.compute(**missing)
    assert result["average_gap"] is None
    assert result["average_gap_reason"].startswith("run 0: retrain_mia_confidence_svc is None")
    assert metric.compute(**{name: [] for name in columns})["average_gap"] is None
