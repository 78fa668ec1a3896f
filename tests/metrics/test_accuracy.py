import numpy as np
import pytest

from mubench_hf.metrics.accuracy import RANGE, accuracy


def test_agrees_with_a_loop_over_rows(rows):
    logits, labels = rows(300)
    right = sum(z.index(max(z)) == y for z, y in zip(logits.tolist(), labels, strict=True))
    result = accuracy(logits, labels)
    assert result == {"accuracy": pytest.approx(right / 300, abs=1e-15)}
    assert type(result["accuracy"]) is float and RANGE[0] <= result["accuracy"] <= RANGE[1]


def test_limits(rng, rows):
    logits, labels = rows(200)
    chosen = logits.argmax(axis=1)
    assert accuracy(logits, chosen) == {"accuracy": 1.0}
    assert accuracy(logits, (chosen + rng.integers(1, 5, size=200)) % 5) == {"accuracy": 0.0}


def test_labels_drawn_apart_from_the_logits_give_chance(rows):
    logits, labels = rows(20_000)
    assert abs(accuracy(logits, labels)["accuracy"] - 1 / 5) < 0.02  # seven standard deviations


def test_first_of_equal_logits_counts_as_predicted():
    assert accuracy([[1.0, 1.0], [1.0, 1.0], [0.0, 2.0]], [0, 1, 1])["accuracy"] == pytest.approx(2 / 3)


def test_unchanged_by_a_constant_a_row_and_by_the_order_of_rows(rng, rows):
    logits, labels = rows(300)
    expected = accuracy(logits, labels)
    assert accuracy(logits + rng.integers(-50, 50, size=(300, 1)), labels) == expected
    order = rng.permutation(300)
    assert accuracy(logits[order], labels[order]) == expected


def test_single_precision_and_lists_are_welcome(rows):
    logits, labels = rows(50)
    expected = accuracy(logits, labels)
    assert accuracy(logits.astype(np.float32), labels.astype(np.uint8)) == expected
    assert accuracy(logits.tolist(), labels.tolist()) == expected


def test_impossible_inputs_are_named(rows, spoil):
    change, message = spoil
    with pytest.raises(ValueError, match=message):
        accuracy(*change(*rows(20)))


def test_evaluate_agrees_and_gives_none_with_a_reason(rows, load):
    logits, labels = rows(60)
    metric = load("accuracy")
    assert metric.compute(predictions=logits, references=labels) == accuracy(logits, labels)
    logits[7, 0] = np.nan
    result = metric.compute(predictions=logits, references=labels)
    assert result["accuracy"] is None and "first in row 7" in result["accuracy_reason"]
    assert metric.compute(predictions=[], references=[])["accuracy"] is None
