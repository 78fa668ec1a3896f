import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import ks_2samp

from mubench_hf.metrics.tofu_forget_quality import tofu_forget_quality


@pytest.fixture
def answers(rng):
    """Mean log-probabilities of the right answer ``[rows]`` and of three wrong ones ``[rows, 3]``."""
    return lambda rows, right=1.0: (-right * rng.exponential(size=rows), -rng.exponential(size=(rows, 3)))


def ratios(right, wrong):
    return np.exp(wrong.mean(axis=1) - right)


@pytest.mark.parametrize("rows", [1, 2, 7, 40, 300])
def test_agrees_with_the_exact_test_of_scipy(answers, rows):
    for right in (1.0, 0.8, 0.3):
        own, other = answers(rows, right), answers(rows)
        expected = ks_2samp(ratios(*own), ratios(*other), method="exact").pvalue
        found = tofu_forget_quality(*own, *other)
        assert found == {"tofu_forget_quality": pytest.approx(np.log10(expected), abs=1e-9)}
        assert type(found["tofu_forget_quality"]) is float


def test_agrees_with_scipy_where_samples_have_ties(rng):
    own, other = (rng.integers(-4, 1, size=60).astype(float) for _ in range(2))
    wrong = np.full((60, 1), -1.0)
    expected = ks_2samp(ratios(own, wrong), ratios(other, wrong), method="exact").pvalue
    assert tofu_forget_quality(own, wrong, other, wrong)["tofu_forget_quality"] == pytest.approx(
        np.log10(expected), abs=1e-9
    )


def test_limits(answers, rng):
    own = answers(50)
    assert tofu_forget_quality(*own, *own) == {"tofu_forget_quality": 0.0}
    # Apart altogether: p = 2 / C(2n, n), also where that is no float64 any more.
    for rows in (5, 2000):
        right, wrong = answers(rows)
        low = (np.full(rows, -500.0), wrong)
        expected = (np.log(2) + 2 * gammaln(rows + 1) - gammaln(2 * rows + 1)) / np.log(10)
        assert tofu_forget_quality(right * 0, wrong, *low)["tofu_forget_quality"] == pytest.approx(expected, rel=1e-9)
    assert expected < -1000


def test_alike_samples_are_seldom_told_apart(answers):
    found = np.array([tofu_forget_quality(*answers(100), *answers(100))["tofu_forget_quality"] for _ in range(200)])
    assert (found < np.log10(0.05)).mean() < 0.12, "a test of level 5 %, more than four standard errors away"


def test_invariances(answers, rng):
    own, other = answers(60, 0.6), answers(60)
    expected = tofu_forget_quality(*own, *other)
    assert tofu_forget_quality(*other, *own) == expected, "swapped"
    order = rng.permutation(60)
    assert tofu_forget_quality(own[0][order], own[1][order], *other) == expected, "rows are compared as samples"
    assert tofu_forget_quality(own[0], own[1][:, [2, 0, 1]], *other)["tofu_forget_quality"] == pytest.approx(
        expected["tofu_forget_quality"]
    )


@pytest.mark.parametrize("side", [0, 1])
def test_impossible_inputs_are_named(answers, side):
    prefix = ("forget_", "retrain_forget_")[side]
    for place, value, message in (
        (0, np.array([]), "paraphrased_log_probs has shape"),
        (0, np.full(10, np.nan), "paraphrased_log_probs holds nan in row 0"),
        (0, np.full(10, 0.1), "paraphrased_log_probs holds 0.1 in row 0"),
        (1, np.empty((10, 0)), "perturbed_log_probs has shape"),
        (1, np.full((10, 3), -np.inf), "perturbed_log_probs holds"),
    ):
        sides = [list(answers(10)), list(answers(10))]
        sides[side][place] = value
        with pytest.raises(ValueError, match=f"^{prefix}{message}"):
            tofu_forget_quality(*sides[0], *sides[1])
    with pytest.raises(ValueError, match="the same answers to the same rows are needed"):
        tofu_forget_quality(*answers(10), *answers(9))


def test_evaluate_agrees_and_gives_none_with_a_reason(answers, load):
    own, other = answers(20, 0.5), answers(20)
    columns = [np.column_stack(side) for side in (own, other)]
    metric = load("tofu_forget_quality")
    assert metric.compute(predictions=columns[0], references=columns[1]) == tofu_forget_quality(*own, *other)
    columns[0][3, 0] = np.nan
    result = metric.compute(predictions=columns[0], references=columns[1])
    assert result["tofu_forget_quality"] is None and "nan in row 3" in result["tofu_forget_quality_reason"]
    result = metric.compute(predictions=columns[1][:, :1], references=columns[1])
    assert result["tofu_forget_quality"] is None
