import numpy as np
import pytest

from mubench_hf.metrics.truth_ratio import row_scores, truth_ratio


@pytest.fixture
def answers(rng):
    """Mean log-probabilities of the right answer ``[rows]`` and of four wrong ones ``[rows, 4]``."""
    return lambda rows: (-rng.exponential(size=rows), -rng.exponential(size=(rows, 4)))


def test_agrees_with_products_of_probabilities(answers):
    right, wrong = answers(50)
    probability, others = np.exp(right), np.exp(wrong)
    ratios = np.prod(others, axis=1) ** (1 / 4) / probability
    expected = np.maximum(0, 1 - ratios)
    assert row_scores(right, wrong)["truth_ratio"] == pytest.approx(expected, abs=1e-12)
    assert truth_ratio(right, wrong) == {"truth_ratio": pytest.approx(expected.mean())}


def test_limits(answers):
    right, wrong = answers(40)
    assert truth_ratio(right, np.repeat(right[:, None], 3, axis=1)) == {"truth_ratio": pytest.approx(0, abs=1e-12)}
    assert truth_ratio(wrong.min(axis=1), wrong) == {"truth_ratio": 0.0}, "wrong ones are likelier"
    assert truth_ratio(np.zeros(40), np.full((40, 4), -1e4)) == {"truth_ratio": 1.0}
    assert truth_ratio(np.full(40, -1e4), np.zeros((40, 4))) == {"truth_ratio": 0.0}, "no overflow"


def test_order_of_rows_and_answers_and_a_common_factor_change_nothing(answers, rng):
    right, wrong = answers(40)
    expected, order = truth_ratio(right, wrong)["truth_ratio"], rng.permutation(40)
    assert truth_ratio(right[order], wrong[order][:, [2, 0, 3, 1]])["truth_ratio"] == pytest.approx(expected)
    assert truth_ratio(right - 3, wrong - 3)["truth_ratio"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ([], np.empty((0, 2)), "paraphrased_log_probs has shape"),
        ([-1.0], np.empty((1, 0)), "perturbed_log_probs has shape"),
        ([-1.0], [-1.0], "perturbed_log_probs has shape"),
        ([-1.0, -2.0], [[-1.0]], "2 rows and perturbed_log_probs 1"),
        ([-1.0, np.nan], [[-1.0], [-1.0]], "paraphrased_log_probs holds nan in row 1"),
        ([-1.0, 0.5], [[-1.0], [-1.0]], "paraphrased_log_probs holds 0.5 in row 1"),
        ([-1.0], [[-1.0, -np.inf]], "perturbed_log_probs holds .*inf.* in row 0"),
        ([-1.0, -1.0], [[-1.0], [-1.0, -2.0]], "perturbed_log_probs is not a rectangular"),
        (["high"], [[-1.0]], "paraphrased_log_probs is not a rectangular"),
    ],
)
def test_impossible_inputs_are_named(right, wrong, message):
    with pytest.raises(ValueError, match=message):
        truth_ratio(right, wrong)


def test_evaluate_agrees_and_gives_none_with_a_reason(answers, load):
    right, wrong = answers(9)
    metric = load("truth_ratio")
    assert metric.compute(predictions=wrong, references=right) == truth_ratio(right, wrong)
    right[4] = np.nan
    result = metric.compute(predictions=wrong, references=right)
    assert result["truth_ratio"] is None and "row 4" in result["truth_ratio_reason"]
