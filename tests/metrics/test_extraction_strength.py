import numpy as np
import pytest

from mubench_hf.metrics.extraction_strength import extraction_strength, row_scores
from mubench_hf.metrics.token_accuracy import token_accuracy


@pytest.fixture
def tokens(rng):
    """Predicted and true tokens ``[rows, 9]``, texts of one to eight tokens after a prompt that is not scored."""

    def tokens(rows):
        lengths = rng.integers(1, 9, size=(rows, 1))
        starts = rng.integers(0, 10 - lengths, size=(rows, 1))
        true = rng.integers(1, 3, size=(rows, 9))
        places = np.arange(9)
        true = np.where((places >= starts) & (places < starts + lengths), true, -100)
        return rng.integers(1, 3, size=(rows, 9)), true

    return tokens


def test_agrees_with_the_least_prefix_of_the_definition(tokens):
    predicted, true = tokens(200)
    expected = []
    for said, wanted in zip(predicted.tolist(), true.tolist(), strict=True):
        pairs = [(a, b) for a, b in zip(said, wanted, strict=True) if b != -100]
        least = next(k for k in range(len(pairs) + 1) if all(a == b for a, b in pairs[k:]))
        expected.append(1 - least / len(pairs))
    assert row_scores(predicted, true)["extraction_strength"] == pytest.approx(expected)
    assert extraction_strength(predicted, true) == {"extraction_strength": pytest.approx(np.mean(expected))}


def test_agrees_with_decoding(rng):
    """A model that knows the next token by the one before writes what is read off its answers to the true tokens."""
    knows, texts = rng.integers(6, size=6), rng.integers(6, size=(100, 5))
    for _ in range(3):  # Make long suffixes likely.
        texts[:, 1:] = np.where(rng.random((100, 4)) < 0.6, knows[texts[:, :-1]], texts[:, 1:])
    prompts, targets = texts[:, :1], texts[:, 1:]
    strengths = []
    for prompt, target in zip(prompts, targets, strict=True):
        for given in range(5):
            written = [*prompt, *target[:given]]
            while len(written) < 5:
                written.append(knows[written[-1]])
            if list(written[1:]) == list(target):
                break
        strengths.append(1 - given / 4)
    assert extraction_strength(knows[texts[:, :-1]], targets)["extraction_strength"] == pytest.approx(
        np.mean(strengths)
    )


def test_limits(tokens, rng):
    predicted, true = tokens(60)
    right = np.where(true == -100, predicted, true)
    assert extraction_strength(right, true) == {"extraction_strength": 1.0}
    assert extraction_strength(right + 1, true) == {"extraction_strength": 0.0}
    # Whoever gets the last token wrong can't be brought to write the end.
    last = true.shape[1] - 1 - (true != -100)[:, ::-1].argmax(axis=1)
    right[np.arange(60), last] = 0
    assert extraction_strength(right, true) == {"extraction_strength": 0.0}


def test_what_is_not_scored_does_not_count(tokens, rng):
    predicted, true = tokens(60)
    expected = extraction_strength(predicted, true)
    other = np.where(true == -100, rng.integers(9, size=true.shape), predicted)
    assert extraction_strength(other, true) == expected
    wider = [np.pad(each, ((0, 0), (2, 3)), constant_values=-100) for each in (predicted, true)]
    assert extraction_strength(*wider) == expected
    order = rng.permutation(60)
    assert extraction_strength(predicted[order], true[order])["extraction_strength"] == pytest.approx(
        expected["extraction_strength"]
    )
    assert expected["extraction_strength"] <= token_accuracy(predicted, true)["token_accuracy"]


@pytest.mark.parametrize(
    ("predicted", "true", "message"),
    [
        ([[1, 2]], [[1, -100], [1, 1]], "both must agree"),
        ([[1, 2], [3, 4]], [[1, -100], [-100, -100]], "no scored position in row 1"),
        ([[1], [2, 3]], [[1], [2, 3]], "predicted_tokens"),
        ([[float("nan")]], [[1]], "float64"),
        ([], [], "predicted_tokens"),
    ],
)
def test_impossible_inputs_are_named(predicted, true, message):
    with pytest.raises(ValueError, match=message):
        extraction_strength(predicted, true)


def test_evaluate_agrees_and_gives_none_with_a_reason(tokens, load):
    predicted, true = tokens(9)
    metric = load("extraction_strength")
    assert metric.compute(predictions=predicted, references=true) == extraction_strength(predicted, true)
    true[4] = -100
    result = metric.compute(predictions=predicted, references=true)
    assert result["extraction_strength"] is None and "row 4" in result["extraction_strength_reason"]
