import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from mubench_hf.metrics.min_k import min_k


def texts(rng, size, shift=0.0):
    """Log-probabilities of texts of 1 to 30 tokens."""
    return [-rng.exponential(size=rng.integers(1, 31)) * np.exp(-shift) for _ in range(size)]


def padded(rows, before=0, after=0):
    longest = max(map(len, rows))
    return np.stack([np.pad(row, (before, longest - len(row) + after), constant_values=np.nan) for row in rows])


def test_agrees_with_the_definition_and_scikit_learn(rng):
    forget, test = texts(rng, 60, 0.3), texts(rng, 150)
    for k in (0.2, 0.5, 1.0):
        scores = [np.mean(np.sort(row)[: max(1, int(k * len(row)))]) for row in (*forget, *test)]
        member = [1] * 60 + [0] * 150
        found = min_k(padded(forget), padded(test), k=k)
        assert found["min_k"] == pytest.approx(roc_auc_score(member, scores), abs=1e-12)
        fpr, tpr, _ = roc_curve(member, scores, drop_intermediate=False)
        assert found["min_k_tpr_at_1fpr"] == pytest.approx(tpr[fpr <= 0.01].max(), abs=1e-12)
        assert {type(value) for value in found.values()} == {float}


def test_limits(rng):
    sure, unsure = ([-rng.uniform(*where, size=9) for _ in range(120)] for where in ((0, 0.5), (0.6, 3)))
    assert min_k(sure, unsure) == {"min_k": 1.0, "min_k_tpr_at_1fpr": 1.0}
    assert min_k(unsure, sure) == {"min_k": 0.0, "min_k_tpr_at_1fpr": 0.0}
    forget, test = texts(rng, 70, 0.2), texts(rng, 90)
    assert min_k(test, forget)["min_k"] == pytest.approx(1 - min_k(forget, test)["min_k"], abs=1e-14)
    assert abs(min_k(texts(rng, 1500), texts(rng, 1500))["min_k"] - 0.5) < 0.07, "six standard deviations"


def test_unchanged_by_padding_and_by_the_order_of_texts_and_tokens(rng):
    forget, test = texts(rng, 30, 0.2), texts(rng, 40)
    expected = min_k(forget, test)
    assert min_k(padded(forget, 2, 5), padded(test, 0, 1)) == expected
    assert min_k(forget[::-1], [row[::-1] for row in test]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ([], "has no rows"),
        ([[-0.5], []], "has no token in 1 of 2 rows, first in row 1"),
        ([[-0.5], [np.nan, np.nan]], "has no token in 1 of 2 rows"),
        ([[-0.5], [-np.inf]], "holds infinity"),
        ([[-0.5], [0.1]], "holds a number above 0, which is no log-probability"),
        ([-0.5, -0.2], "has no rows, or rows that are no lists"),
        ([["a"]], "is no list of rows of numbers"),
    ],
    ids=str,
)
@pytest.mark.parametrize("group", ["forget", "test"])
def test_impossible_inputs_are_named(rng, group, broken, message):
    given = {"forget": texts(rng, 5), "test": texts(rng, 5), group: broken}
    with pytest.raises(ValueError, match=f"{group}_token_log_probs {message}"):
        min_k(given["forget"], given["test"])


@pytest.mark.parametrize("k", [0, -1, 1.5, np.nan])
def test_share_out_of_range_is_named(rng, k):
    with pytest.raises(ValueError, match="a share above 0 and at most 1 is needed"):
        min_k(texts(rng, 5), texts(rng, 5), k=k)


def test_evaluate_agrees_and_gives_none_with_a_reason(rng, load):
    rows, groups = texts(rng, 60), rng.permutation(["forget", "retain", "test"] * 20)
    metric = load("min_k")
    forget, test = (
        [row for row, group in zip(rows, groups, strict=True) if group == one] for one in ("forget", "test")
    )
    assert metric.compute(predictions=rows, groups=groups) == min_k(forget, test)
    assert metric.compute(predictions=rows, groups=groups, k=0.5) == min_k(forget, test, k=0.5)
    result = metric.compute(predictions=rows, groups=["test", "retain"] * 30)
    assert result["min_k"] is None and result["min_k_tpr_at_1fpr"] is None
    assert result["min_k_reason"].startswith("forget_token_log_probs has no rows")
