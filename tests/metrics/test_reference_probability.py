import numpy as np
import pytest

from mubench_hf.kinds.measures import truth_logits
from mubench_hf.metrics.reference_probability import reference_probability


def test_agrees_with_its_formula(rows):
    logits, labels = rows(200)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = np.mean([p[row, label] for row, label in enumerate(labels)])
    assert reference_probability(logits, labels) == {"reference_probability": pytest.approx(expected)}


def test_of_a_text_it_is_the_geometric_mean_of_its_tokens(rng):
    tokens = rng.uniform(0.01, 1, size=(40, 6))
    losses = -np.log(tokens).mean(axis=1)
    expected = np.mean(tokens.prod(axis=1) ** (1 / 6))
    found = reference_probability(*truth_logits(losses))["reference_probability"]
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_loss_of_zero_is_certainty_and_stays_finite():
    logits, labels = truth_logits(np.array([0.0, 50.0]))
    assert np.isfinite(logits).all()
    assert reference_probability(logits[:1], labels[:1])["reference_probability"] == pytest.approx(1.0)
    assert reference_probability(logits[1:], labels[1:])["reference_probability"] < 1e-20


def test_impossible_inputs_are_named(rows, spoil):
    change, message = spoil
    with pytest.raises(ValueError, match=message):
        reference_probability(*change(*rows(20)))


def test_evaluate_agrees_and_gives_none_with_a_reason(rows, load):
    logits, labels = rows(30)
    metric = load("reference_probability")
    assert metric.compute(predictions=logits, references=labels) == reference_probability(logits, labels)
    assert metric.compute(predictions=[], references=[])["reference_probability"] is None
