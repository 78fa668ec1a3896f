import numpy as np
import pytest
from sklearn.metrics import f1_score

from mubench_hf.metrics.macro_f1 import RANGE, macro_f1


def one_hot(chosen, classes):
    return np.eye(classes)[chosen]


def test_by_hand():
    # Class 0: 2 hits, 1 false alarm; class 1: 1 hit, 1 missed; class 2: only missed; class 3: only said.
    labels, chosen = [0, 0, 1, 1, 2], [0, 0, 1, 0, 3]
    expected = (2 * 2 / 5 + 2 * 1 / 3 + 0 + 0) / 4
    assert macro_f1(one_hot(chosen, 4), labels) == {"macro_f1": pytest.approx(expected, abs=1e-15)}


def test_classes_that_do_not_occur_are_left_out():
    labels, chosen = [0, 0, 2, 2], [0, 2, 2, 2]
    expected = (2 / 3 + 4 / 5) / 2
    for classes in (3, 4, 50):
        assert macro_f1(one_hot(chosen, classes), labels)["macro_f1"] == pytest.approx(expected, abs=1e-15)
    assert macro_f1(one_hot([3, 3], 5), [3, 3]) == {"macro_f1": 1.0}


def test_agrees_with_scikit_learn(rng):
    for _ in range(50):
        n, classes = rng.integers(1, 40), rng.integers(2, 9)
        logits, labels = rng.normal(size=(n, classes)), rng.integers(classes, size=n)
        result = macro_f1(logits, labels)
        expected = f1_score(labels, logits.argmax(axis=1), average="macro", zero_division=np.nan)
        assert result == {"macro_f1": pytest.approx(expected, abs=1e-12)}
        assert type(result["macro_f1"]) is float and RANGE[0] <= result["macro_f1"] <= RANGE[1]


def test_limits(rng, rows):
    logits, labels = rows(200)
    chosen = logits.argmax(axis=1)
    assert macro_f1(logits, chosen) == {"macro_f1": 1.0}
    assert macro_f1(logits, (chosen + rng.integers(1, 5, size=200)) % 5) == {"macro_f1": 0.0}


def test_always_the_common_class_is_not_enough(rng):
    labels = (rng.permutation(1000) < 50).astype(int)
    logits = np.tile([1.0, 0.0], (1000, 1))
    assert macro_f1(logits, labels)["macro_f1"] == pytest.approx(0.5 * 2 * 950 / 1950)


def test_unchanged_by_the_names_of_the_classes_and_the_order_of_rows(rng):
    logits, labels = rng.normal(size=(300, 5)), rng.integers(5, size=300)
    expected = pytest.approx(macro_f1(logits, labels)["macro_f1"], abs=1e-12)
    names, order = rng.permutation(5), rng.permutation(300)
    assert macro_f1(logits[:, np.argsort(names)], names[labels])["macro_f1"] == expected
    assert macro_f1(logits[order], labels[order])["macro_f1"] == expected


def test_impossible_inputs_are_named(rows, spoil):
    change, message = spoil
    with pytest.raises(ValueError, match=message):
        macro_f1(*change(*rows(20)))


def test_evaluate_agrees_and_gives_none_with_a_reason(rows, load):
    logits, labels = rows(60)
    metric = load("macro_f1")
    assert metric.compute(predictions=logits, references=labels) == macro_f1(logits, labels)
    logits[7, 0] = np.nan
    result = metric.compute(predictions=logits, references=labels)
    assert result["macro_f1"] is None and "first in row 7" in result["macro_f1_reason"]
    assert metric.compute(predictions=[], references=[])["macro_f1"] is None
