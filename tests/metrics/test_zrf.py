import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax

from mubench_hf.metrics.zrf import zrf


def test_agrees_with_the_distance_of_scipy(rng):
    logits, other = rng.normal(scale=3, size=(2, 80, 7))
    divergences = [jensenshannon(p, q, base=2) ** 2 for p, q in zip(softmax(logits, 1), softmax(other, 1), strict=True)]
    result = zrf(logits, other)
    assert result == {"zrf": pytest.approx(1 - np.mean(divergences), abs=1e-10)}
    assert type(result["zrf"]) is float


def test_agrees_with_a_sum_over_classes_by_definition(rng):
    logits, other = rng.normal(scale=2, size=(2, 1, 4))
    p, q = softmax(logits[0]), softmax(other[0])
    bits = sum(a * np.log2(2 * a / (a + b)) / 2 + b * np.log2(2 * b / (a + b)) / 2 for a, b in zip(p, q, strict=True))
    assert zrf(logits, other)["zrf"] == pytest.approx(1 - bits, abs=1e-12)


def test_limits(rng):
    logits = rng.normal(scale=5, size=(40, 6))
    assert zrf(logits, logits)["zrf"] == pytest.approx(1, abs=1e-12)
    # two models that are sure of different classes share nothing
    sure = 1000.0 * np.eye(6)
    assert zrf(sure, np.roll(sure, 1, axis=1)) == {"zrf": 0.0}


def test_value_lies_in_its_range_for_any_scale(rng):
    for scale in (1e-9, 1e-3, 1.0, 1e2, 1e5):
        logits, other = rng.normal(scale=scale, size=(2, 30, 3))
        assert 0 <= zrf(logits, other)["zrf"] <= 1, scale


def test_small_divergence_is_not_lost(rng):
    """Close predictions: JS = Σ (p − q)² / (8 p ln 2) to leading order, far below any clipping constant."""
    logits = rng.normal(size=(20, 5))
    other = logits + 1e-5 * rng.normal(size=(20, 5))
    p, q = softmax(logits, axis=1), softmax(other, axis=1)
    expected = np.mean(np.sum((p - q) ** 2 / (8 * p * np.log(2)), axis=1))
    assert 1 - zrf(logits, other)["zrf"] == pytest.approx(expected, rel=1e-3, abs=1e-15)


def test_symmetric_and_unchanged_by_a_constant_a_row(rows, rng):
    (logits, _), (other, _) = rows(100), rows(100)
    expected = zrf(logits, other)["zrf"]
    assert zrf(other, logits)["zrf"] == pytest.approx(expected, abs=1e-14)
    shift, other_shift = rng.integers(-80, 80, size=(2, 100, 1))
    assert zrf(logits + shift, other + other_shift)["zrf"] == pytest.approx(expected, abs=1e-14)


def test_moving_towards_the_incompetent_model_raises_it(rng):
    logits, other = rng.normal(scale=3, size=(2, 50, 5))
    scores = [zrf(logits + step * (other - logits), other)["zrf"] for step in (0, 0.5, 0.9, 1)]
    assert scores == sorted(scores) and scores[0] < scores[-1] - 0.05


@pytest.mark.parametrize("argument", [0, 1])
def test_impossible_inputs_are_named(rng, argument):
    name = ("forget_logits", "incompetent_forget_logits")[argument]
    for value, message in [(np.nan, "NaN or infinity in 1 of 10 rows"), (np.inf, "NaN or infinity")]:
        pair = rng.normal(size=(2, 10, 4))
        pair[argument, 2, 1] = value
        with pytest.raises(ValueError, match=f"^{name} holds {message}"):
            zrf(*pair)
    for broken, message in [
        (np.empty((0, 4)), "is empty"),
        (np.zeros(10), "has shape"),
        ([[1.0], [1, 2]], "rectangular"),
    ]:
        pair = list(rng.normal(size=(2, 10, 4)))
        pair[argument] = broken
        with pytest.raises(ValueError, match=f"^{name} .*{message}"):
            zrf(*pair)


@pytest.mark.parametrize("shape", [(9, 4), (10, 5)])
def test_both_models_must_answer_the_same_rows(rng, shape):
    with pytest.raises(ValueError, match="the same rows and classes are needed"):
        zrf(rng.normal(size=(10, 4)), rng.normal(size=shape))


def test_evaluate_agrees_and_gives_none_with_a_reason(rng, load):
    logits, other = rng.normal(size=(2, 30, 4))
    metric = load("zrf")
    assert metric.compute(predictions=logits, references=other) == zrf(logits, other)
    other[4, 0] = np.inf
    result = metric.compute(predictions=logits, references=other)
    assert result["zrf"] is None and result["zrf_reason"].startswith("incompetent_forget_logits")
    assert metric.compute(predictions=logits, references=logits[:, :3])["zrf"] is None


def test_divergences_of_rows_in_place_of_logits(rng):
    divergences = rng.random(30)
    found = zrf(incompetent_forget_divergences=divergences)["zrf"]
    assert found == pytest.approx(1 - divergences.mean())


def test_nothing_to_compare_is_said(rng):
    with pytest.raises(ValueError, match="no class distributions to compare"):
        zrf(forget_logits=rng.normal(size=(3, 4)))
    with pytest.raises(ValueError, match="incompetent_forget_divergences is 1.5 in row 1"):
        zrf(incompetent_forget_divergences=[0.5, 1.5])
