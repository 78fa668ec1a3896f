import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import hmean

from mubench_hf.metrics.model_utility import model_utility


@pytest.fixture
def sets(rows, rng):
    """Score, logits and labels of D_r and of the test set."""
    return lambda: ((rng.random(), *rows(40)), (rng.random(), *rows(30)))


def parts(*sets):
    for score, logits, labels in sets:
        yield score
        yield np.mean([softmax(row)[label] for row, label in zip(logits, labels, strict=True)])


def test_agrees_with_the_harmonic_mean_of_scipy(sets):
    retain, test = sets()
    found = model_utility(*retain, *test)
    assert found == {"model_utility": pytest.approx(hmean(list(parts(retain, test))))}
    assert type(found["model_utility"]) is float


def test_limits():
    sure = 1000.0 * np.eye(4)
    right, wrong = (1.0, sure, np.arange(4)), (1.0, sure, (np.arange(4) + 1) % 4)
    assert model_utility(*right, *right) == {"model_utility": 1.0}
    assert model_utility(*right, *wrong) == {"model_utility": 0.0}
    assert model_utility(*right, 0.0, *right[1:]) == {"model_utility": 0.0}
    guess = (0.25, np.zeros((4, 4)), np.arange(4))
    assert model_utility(*guess, *guess)["model_utility"] == pytest.approx(0.25)


def test_both_sets_count_alike_and_order_does_not(sets, rng):
    retain, test = sets()
    expected = model_utility(*retain, *test)["model_utility"]
    assert model_utility(*test, *retain)["model_utility"] == pytest.approx(expected)
    order = rng.permutation(40)
    turned = (retain[0], retain[1][order] + 3, retain[2][order])
    assert model_utility(*turned, *test)["model_utility"] == pytest.approx(expected)
    values = list(parts(retain, test))
    assert min(values) <= expected <= np.mean(values)


@pytest.mark.parametrize("split", ["retain", "test"])
def test_impossible_inputs_are_named(sets, spoil, split):
    change, message = spoil
    retain, test = sets()
    chosen = {"retain": retain, "test": test}
    chosen[split] = (chosen[split][0], *change(*chosen[split][1:]))
    with pytest.raises(ValueError, match=f"{split}_{message}"):
        model_utility(*chosen["retain"], *chosen["test"])
    for score in (None, float("nan"), 1.5):
        with pytest.raises(ValueError, match=r"^retain_score is .*; a number in \[0, 1\] is needed"):
            model_utility(score, *retain[1:], *test)


def test_evaluate_agrees_and_gives_none_with_a_reason(rows, rng, load):
    logits, labels = rows(30)
    scores, groups = rng.random(30), np.array(["retain"] * 12 + ["test"] * 10 + ["forget"] * 8)
    rows_of = {name: (scores[groups == name].mean(), logits[groups == name], labels[groups == name]) for name in groups}
    metric, given = load("model_utility"), {"predictions": logits, "references": labels, "scores": scores}
    found = metric.compute(**given, groups=list(groups))
    assert found["model_utility"] == pytest.approx(model_utility(*rows_of["retain"], *rows_of["test"])["model_utility"])
    result = metric.compute(**given, groups=["retain"] * 30)
    assert result["model_utility"] is None and "test_score is None" in result["model_utility_reason"]
