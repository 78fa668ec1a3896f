import numpy as np
import pytest

from mubench_hf.metrics.token_accuracy import token_accuracy


@pytest.fixture
def tokens(rng):
    """Predicted and true tokens ``[rows, 7]``; every row has one to seven scored positions."""

    def tokens(rows):
        scored = rng.random((rows, 7)) < 0.5
        scored[np.arange(rows), rng.integers(7, size=rows)] = True
        predicted, true = rng.integers(3, size=(2, rows, 7))
        return predicted, np.where(scored, true, -100)

    return tokens


def test_agrees_with_a_loop_over_tokens(tokens):
    predicted, true = tokens(50)
    shares = []
    for said, wanted in zip(predicted.tolist(), true.tolist(), strict=True):
        pairs = [(a, b) for a, b in zip(said, wanted, strict=True) if b != -100]
        shares.append(sum(a == b for a, b in pairs) / len(pairs))
    assert token_accuracy(predicted, true) == {"token_accuracy": pytest.approx(sum(shares) / 50)}


def test_limits_and_what_is_not_scored(tokens, rng):
    _, true = tokens(30)
    right = np.where(true == -100, rng.integers(3, size=true.shape), true)
    assert token_accuracy(right, true) == {"token_accuracy": 1.0}
    assert token_accuracy(right + 1, true) == {"token_accuracy": 0.0}


@pytest.mark.parametrize(
    ("predicted", "true", "message"),
    [
        ([[1, 2]], [[1, -100], [1, 1]], "both must agree"),
        ([[1, 2], [3, 4]], [[1, -100], [-100, -100]], "no scored position in row 1"),
        ([[1], [2, 3]], [[1], [2, 3]], "predicted_tokens"),
        ([[0.5]], [[1]], "float64"),
        ([], [], "predicted_tokens"),
    ],
)
def test_impossible_inputs_are_named(predicted, true, message):
    with pytest.raises(ValueError, match=message):
        token_accuracy(predicted, true)


def test_evaluate_agrees_and_gives_none_with_a_reason(tokens, load):
    predicted, true = tokens(9)
    metric = load("token_accuracy")
    assert metric.compute(predictions=predicted, references=true) == token_accuracy(predicted, true)
    true[4] = -100
    result = metric.compute(predictions=predicted, references=true)
    assert result["token_accuracy"] is None and "row 4" in result["token_accuracy_reason"]
