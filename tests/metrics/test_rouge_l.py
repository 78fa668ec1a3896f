import numpy as np
import pytest

from mubench_hf.metrics.rouge_l import RANGE, rouge_l, row_scores

WORDS = ["the", "a", "cat", "dog", "sat", "lay", "on", "under", "mat", "rug"]


@pytest.fixture
def texts(rng):
    return lambda rows: [" ".join(rng.choice(WORDS, size=rng.integers(1, 12))) for _ in range(rows)]


def common_subsequence(one, other):
    """Length of the longest one, by the textbook's table."""
    best = np.zeros((len(one) + 1, len(other) + 1), int)
    for i, word in enumerate(one):
        for j, known in enumerate(other):
            best[i + 1, j + 1] = best[i, j] + 1 if word == known else max(best[i, j + 1], best[i + 1, j])
    return best[-1, -1]


def common_grams(one, other, n):
    grams = [[tuple(words[i : i + n]) for i in range(len(words) - n + 1)] for words in (one, other)]
    return sum(min(grams[0].count(gram), grams[1].count(gram)) for gram in set(grams[0])), *map(len, grams)


def f_measure(hits, said, true):
    return 2 * hits / (said + true) if said and true else 0.0


def test_agrees_with_its_formula(texts):
    predictions, references = texts(40), texts(40)
    rows = row_scores(predictions, references)
    for row, (said, true) in enumerate(zip(predictions, references, strict=True)):
        said, true = said.split(), true.split()
        expected = f_measure(common_subsequence(said, true), len(said), len(true))
        assert rows["rouge_l"][row] == pytest.approx(expected)
        for n in (1, 2):
            assert rows[f"rouge_{n}"][row] == pytest.approx(f_measure(*common_grams(said, true, n)))
    scores = rouge_l(predictions, references)
    assert scores == {name: pytest.approx(values.mean()) for name, values in rows.items()}
    assert all(RANGE[0] <= value <= RANGE[1] for value in scores.values())


def test_limits(texts):
    references = [f"{text} end of it" for text in texts(20)]
    assert rouge_l(references, references) == {"rouge_l": 1.0, "rouge_1": 1.0, "rouge_2": 1.0}
    assert rouge_l(["nothing shared"] * 20, references) == {"rouge_l": 0.0, "rouge_1": 0.0, "rouge_2": 0.0}
    assert rouge_l([""] * 20, references)["rouge_l"] == 0


def test_arrays_of_texts_are_welcome(texts):
    predictions, references = texts(9), texts(9)
    assert rouge_l(np.array(predictions), np.array(references)) == rouge_l(predictions, references)


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [([], [], "empty"), (["a"], ["a", "b"], "1 predictions for 2"), (["a", None], ["a", "b"], "None in row 1")],
)
def test_impossible_inputs_are_named(predictions, references, message):
    with pytest.raises(ValueError, match=message):
        rouge_l(predictions, references)


def test_evaluate_agrees_and_gives_none_with_a_reason(texts, load):
    predictions, references = texts(9), texts(9)
    metric = load("rouge_l")
    assert metric.compute(predictions=predictions, references=references) == rouge_l(predictions, references)
    result = metric.compute(predictions=[], references=[])
    assert result["rouge_l"] is None and "empty" in result["rouge_l_reason"]
