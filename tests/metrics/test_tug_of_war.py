import inspect

import numpy as np
import pytest

from mubench_hf.metrics.tug_of_war import tug_of_war

NAMES = list(inspect.signature(tug_of_war).parameters)


def tow(unlearned, retrained):
    return tug_of_war(*map(float, unlearned), *map(float, retrained))["tug_of_war"]


def test_agrees_with_a_sum_of_logarithms_by_name(rng):
    scores = dict(zip(NAMES, rng.uniform(size=6).tolist(), strict=True))
    logs = [np.log1p(-abs(scores[name] - scores[f"retrain_{name}"])) for name in NAMES[:3]]
    result = tug_of_war(**scores)
    assert result == {"tug_of_war": pytest.approx(np.exp(sum(logs)), abs=1e-14)}
    assert type(result["tug_of_war"]) is float


def test_limits(rng):
    scores = rng.uniform(size=3)
    assert tow(scores, scores) == 1
    opposite = scores.copy()
    place = rng.integers(3)
    scores[place], opposite[place] = 0, 1
    assert tow(scores, opposite) == 0, "one set as far off as can be is enough"


def test_each_set_counts_alike_and_both_directions_do(rng):
    a, b = rng.uniform(size=(2, 3))
    order = rng.permutation(3)
    assert tow(a, b) == tow(b, a) == pytest.approx(tow(a[order], b[order]), abs=1e-14)
    assert tow(1 - a, 1 - b) == pytest.approx(tow(a, b), abs=1e-14)
    middle = (a + b) / 2
    assert tow(middle, b) >= tow(a, b)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [None, float("nan"), -0.01, 1.01, "high"])
def test_impossible_inputs_are_named(name, value):
    with pytest.raises(ValueError, match=rf"^{name} is .*; a number in \[0, 1\] is needed"):
        tug_of_war(**{**dict.fromkeys(NAMES, 0.5), name: value})


def test_evaluate_gives_the_mean_over_runs_or_none_with_a_reason(rng, load):
    columns = dict(zip(NAMES, rng.uniform(size=(6, 15)), strict=True))
    metric = load("tug_of_war")
    expected = np.mean([tug_of_war(*run)["tug_of_war"] for run in zip(*columns.values(), strict=True)])
    assert metric.compute(**columns) == {"tug_of_war": pytest.approx(expected, abs=1e-15)}
    missing = {**columns, "retrain_test_score": [None, *columns["retrain_test_score"][1:]]}
    result = metric.compute(**missing)
    assert result["tug_of_war"] is None
    assert result["tug_of_war_reason"].startswith("run 0: retrain_test_score is None")
    assert metric.compute(**{name: [] for name in columns})["tug_of_war"] is None
