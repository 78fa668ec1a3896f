import zlib

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mubench_hf.kinds.measures import truth_logits
from mubench_hf.metrics.mia_loss_auc import mia_loss_auc
from mubench_hf.metrics.zlib_ratio import zlib_ratio


def draw(rng, size, low=0.1, high=4.0):
    """Losses of texts as a run keeps them, and texts of some letters, some of which repeat."""
    texts = [
        "".join(rng.choice([*"abcdeéя "], size=rng.integers(0, 60))) * int(rng.integers(1, 4)) for _ in range(size)
    ]
    return *truth_logits(rng.uniform(low, high, size=size)), texts


def test_agrees_with_the_definition_and_scikit_learn(rng):
    forget, test = draw(rng, 60), draw(rng, 80)
    scores = []
    for logits, _, texts in (forget, test):
        p = 1 / (1 + np.exp((logits[:, 1] - logits[:, 0]).astype(float)))
        scores += [np.log(p[row]) / len(zlib.compress(bytes(text, "utf-8"))) for row, text in enumerate(texts)]
    found = zlib_ratio(*forget, *test)
    assert found["zlib_ratio"] == pytest.approx(roc_auc_score([1] * 60 + [0] * 80, scores), abs=1e-12)
    assert {type(value) for value in found.values()} == {float}


def test_texts_of_one_size_leave_the_loss(rng):
    forget, test = draw(rng, 40), draw(rng, 50)
    one = ["as long"] * 50
    found = zlib_ratio(*forget[:2], one[:40], *test[:2], one)
    assert [*found.values()] == pytest.approx([*mia_loss_auc(*forget[:2], *test[:2]).values()], abs=1e-12)


def test_limits(rng):
    same = ["the same text"] * 120
    near, far = draw(rng, 120, 0.01, 0.1), draw(rng, 120, 0.2, 3)
    assert zlib_ratio(*near[:2], same, *far[:2], same) == {"zlib_ratio": 1.0, "zlib_ratio_tpr_at_1fpr": 1.0}
    assert zlib_ratio(*far[:2], same, *near[:2], same) == {"zlib_ratio": 0.0, "zlib_ratio_tpr_at_1fpr": 0.0}
    forget, test = draw(rng, 50), draw(rng, 70)
    value = zlib_ratio(*forget, *test)["zlib_ratio"]
    assert zlib_ratio(*test, *forget)["zlib_ratio"] == pytest.approx(1 - value, abs=1e-14)
    alike = draw(rng, 800), draw(rng, 800)
    assert abs(zlib_ratio(*alike[0], *alike[1])["zlib_ratio"] - 0.5) < 0.09, "six standard deviations"


def test_order_changes_nothing(rng):
    forget, test = draw(rng, 30), draw(rng, 40)
    order = rng.permutation(40)
    moved = test[0][order], test[1][order], [test[2][row] for row in order]
    assert zlib_ratio(*forget, *moved) == zlib_ratio(*forget, *test)


@pytest.mark.parametrize("group", ["forget", "test"])
def test_impossible_inputs_are_named(rows, spoil, rng, group):
    change, message = spoil
    groups = {name: (*rows(20), ["some text"] * 20) for name in ("forget", "test")}
    groups[group] = (*change(*groups[group][:2]), groups[group][2])
    with pytest.raises(ValueError, match=f"^{group}_{message}"):
        zlib_ratio(*groups["forget"], *groups["test"])


@pytest.mark.parametrize("texts", [["a"] * 19, ["a"] * 19 + [None], ["a"] * 19 + [7]], ids=["few", "none", "number"])
def test_texts_that_are_missing_are_named(rng, texts):
    given = draw(rng, 20)
    with pytest.raises(ValueError, match="test_references has .* entries; one text for each of 20 rows"):
        zlib_ratio(*given, *given[:2], texts)


def test_evaluate_agrees_and_gives_none_with_a_reason(rng, load):
    logits, labels, texts = draw(rng, 60)
    groups = rng.permutation(["forget", "retain", "test"] * 20)
    metric = load("zlib_ratio")
    inputs = {"predictions": logits, "labels": labels, "references": texts}
    parts = [part for one in ("forget", "test") for part in
             (logits[groups == one], labels[groups == one], np.array(texts)[groups == one].tolist())]  # fmt: skip
    assert metric.compute(**inputs, groups=groups) == zlib_ratio(*parts)
    result = metric.compute(**inputs, groups=["test", "retain"] * 30)
    assert result["zlib_ratio"] is None and result["zlib_ratio_tpr_at_1fpr"] is None
    assert result["zlib_ratio_reason"].startswith("forget_logits is empty")
