from statistics import harmonic_mean

import numpy as np
import pytest

from mubench_hf.metrics.unlearning_score import unlearning_score


def test_agrees_with_the_harmonic_mean_where_both_limits_hold(rng):
    for _ in range(200):
        original, chance = rng.uniform(0.4, 1), rng.uniform(0.01, 0.3)
        test, forget = rng.uniform(0.81 * original, 1), rng.uniform(0.81 * chance, 1)
        expected = harmonic_mean([1 - abs(test - original), 1 - abs(forget - chance)])
        result = unlearning_score(test, forget, original, chance)
        assert result == {"unlearning_score": pytest.approx(expected, abs=1e-12)}, (test, forget, original, chance)
        assert type(result["unlearning_score"]) is float and 0 < result["unlearning_score"] <= 1


def test_best_run_has_one_and_worse_runs_less():
    assert unlearning_score(0.9, 0.1, 0.9, 0.1) == {"unlearning_score": 1.0}
    by_forgetting = [unlearning_score(0.9, forget, 0.9, 0.1)["unlearning_score"] for forget in (0.1, 0.3, 0.6, 0.9)]
    by_utility = [unlearning_score(test, 0.1, 0.9, 0.1)["unlearning_score"] for test in (0.9, 0.85, 0.8, 0.75)]
    for scores in (by_forgetting, by_utility):
        assert scores == sorted(scores, reverse=True) and len(set(scores)) == 4


def test_zero_beyond_either_limit(rng):
    original, chance = rng.uniform(0.4, 1), rng.uniform(0.05, 0.3)
    assert unlearning_score(0.79 * original, chance, original, chance) == {"unlearning_score": 0.0}
    assert unlearning_score(original, 0.79 * chance, original, chance) == {"unlearning_score": 0.0}


def test_allowed_drop_moves_the_limit(rng):
    original, chance = rng.uniform(0.4, 1), rng.uniform(0.05, 0.3)
    test = 0.7 * original
    assert unlearning_score(test, chance, original, chance)["unlearning_score"] == 0
    expected = harmonic_mean([1 - (original - test), 1])
    for drop in (0.31, 0.4, 1):
        assert unlearning_score(test, chance, original, chance, allowed_utility_drop=drop)[
            "unlearning_score"
        ] == pytest.approx(expected)


def test_a_score_on_the_limit_passes_whatever_the_rounding():
    """Among these, (1 − 0.2) · original exceeds the test score in floating point only."""
    for percent in range(1, 101):
        original = percent / 100
        assert unlearning_score(percent * 80 / 10_000, 0.1, original, 0.1)["unlearning_score"] > 0, original
        assert unlearning_score(0.9, percent * 80 / 10_000, 0.9, original)["unlearning_score"] > 0, original


def test_two_terms_of_zero_have_the_limit_zero():
    assert unlearning_score(1.0, 1.0, 0.0, 0.0) == {"unlearning_score": 0.0}


def test_the_reference_lets_neggrad_lose_twice_as_much(rng):
    original, chance = rng.uniform(0.4, 1), rng.uniform(0.05, 0.3)
    for test, passing in ((0.79 * original, {"neggrad"}), (0.59 * original, set())):
        by_method = {
            method: unlearning_score(test, chance, original, chance, method)["unlearning_score"]
            for method in ("neggrad", "scrub", "original", "one_of_my_own", None)
        }
        assert {method for method, score in by_method.items() if score > 0} == passing


@pytest.mark.parametrize(
    "name", ["test_score", "forget_score", "original_test_score", "chance", "allowed_utility_drop"]
)
@pytest.mark.parametrize("value", [None, float("nan"), -0.01, 1.01, 73.0, "high"])
def test_impossible_inputs_are_named(name, value):
    if (name, value) == ("allowed_utility_drop", None):
        return  # The method's own.
    scores = {"test_score": 0.8, "forget_score": 0.2, "original_test_score": 0.9, "chance": 0.1}
    with pytest.raises(ValueError, match=rf"^{name} is .*; a number in \[0, 1\] is needed"):
        unlearning_score(**{**scores, name: value})


def test_evaluate_gives_the_mean_over_runs_or_none_with_a_reason(rng, load):
    columns = {
        "test_score": rng.uniform(0.6, 0.9, size=20),
        "forget_score": rng.uniform(0, 0.4, size=20),
        "original_test_score": rng.uniform(0.85, 0.95, size=20),
        "chance": np.full(20, 0.1),
    }
    metric = load("unlearning_score")
    for options in ({}, {"allowed_utility_drop": 0.4}, {"method": "neggrad"}):
        runs = [unlearning_score(*map(float, run), **options) for run in zip(*columns.values(), strict=True)]
        expected = np.mean([run["unlearning_score"] for run in runs])
        assert metric.compute(**columns, **options) == {"unlearning_score": pytest.approx(expected, abs=1e-15)}
    columns["forget_score"][3] = np.nan
    result = metric.compute(**columns)
    assert result["unlearning_score"] is None and result["unlearning_score_reason"].startswith(
        "run 3: forget_score is nan"
    )
    assert metric.compute(**{name: [] for name in columns})["unlearning_score"] is None
