import numpy as np
import pytest
from scipy.spatial.distance import euclidean, jensenshannon
from scipy.special import softmax

from mubench_hf.metrics.prediction_distance import ALSO, prediction_distance

NAMES = ("prediction_distance", *ALSO)
SPLITS = ("forget", "retain", "test")


def distances(own, other):
    """Compare the same two models on all three sets, or on sets by name."""
    own, other = (each if isinstance(each, dict) else dict.fromkeys(SPLITS, each) for each in (own, other))
    return prediction_distance(*(side[split] for split in SPLITS for side in (own, other)))


def test_agrees_with_distances_of_scipy(rng):
    own, other = ({split: rng.normal(scale=3, size=(size, 6)) for split, size in zip(SPLITS, (30, 50, 20), strict=True)}
                  for _ in range(2))  # fmt: skip
    found = distances(own, other)
    assert {*found} == {*NAMES}
    for split, suffix in (("forget", ""), ("retain", "_on_retain"), ("test", "_on_test")):
        pairs = list(zip(softmax(own[split], 1), softmax(other[split], 1), strict=True))
        assert found[f"prediction_distance{suffix}"] == pytest.approx(np.mean([euclidean(*pair) for pair in pairs]))
        js = np.mean([jensenshannon(*pair, base=2) ** 2 for pair in pairs])
        assert found[f"prediction_js{suffix}"] == pytest.approx(js, abs=1e-10)


def test_limits(rng):
    logits = rng.normal(scale=5, size=(40, 6))
    assert distances(logits, logits) == {name: pytest.approx(0, abs=1e-15) for name in NAMES}
    sure = 1000.0 * np.eye(6)
    found = distances(sure, np.roll(sure, 1, axis=1))
    assert found["prediction_distance"] == 2**0.5 and found["prediction_js"] == 1


def test_small_distances_are_not_lost(rng):
    """JS = Σ (p − q)² / (8 p ln 2) to leading order, where a root of it would hold half the digits."""
    logits = rng.normal(size=(20, 5))
    other = logits + 1e-5 * rng.normal(size=(20, 5))
    p, q = softmax(logits, axis=1), softmax(other, axis=1)
    expected = np.mean(np.sum((p - q) ** 2 / (8 * p * np.log(2)), axis=1))
    assert distances(logits, other)["prediction_js"] == pytest.approx(expected, rel=1e-3, abs=1e-15)


def test_symmetric_and_unchanged_by_order_and_by_constants(rows, rng):
    (own, _), (other, _) = rows(60), rows(60)
    expected, order, classes = distances(own, other), rng.permutation(60), rng.permutation(own.shape[1])
    shift = rng.integers(-80, 80, size=(60, 1))
    for found in (
        distances(other, own),
        distances(own[order], other[order]),
        distances(own[:, classes], other[:, classes]),
        distances(own + shift, other - shift),
    ):
        assert found == pytest.approx(expected, abs=1e-12)
    # Rows in another order are other rows.
    assert distances(own[order], other)["prediction_distance"] != pytest.approx(expected["prediction_distance"])


def test_moving_towards_the_retrained_model_lowers_it(rng):
    own, other = rng.normal(scale=3, size=(2, 50, 5))
    for name in NAMES:
        scores = [distances(own + step * (other - own), other)[name] for step in (0, 0.5, 0.9, 1)]
        assert scores == sorted(scores, reverse=True) and scores[0] > scores[-1] + 0.05


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("side", [0, 1])
def test_impossible_inputs_are_named(split, side, rng):
    name = f"{'retrain_' * side}{split}_logits"
    for broken, message in [
        (np.empty((0, 4)), "is empty"),
        (np.full((10, 4), np.nan), "holds NaN or infinity in 10 of 10 rows"),
        (np.zeros(10), "has shape"),
        ([[1.0], [1, 2]], "is not a rectangular"),
    ]:
        pair = [dict.fromkeys(SPLITS, rng.normal(size=(10, 4))) for _ in range(2)]
        pair[side] = {**pair[side], split: broken}
        with pytest.raises(ValueError, match=f"^{name} {message}"):
            distances(*pair)


@pytest.mark.parametrize("shape", [(9, 4), (10, 5)])
def test_both_models_must_answer_the_same_rows(rng, shape):
    with pytest.raises(ValueError, match="the same rows and classes are needed"):
        distances(rng.normal(size=(10, 4)), rng.normal(size=shape))


def test_evaluate_agrees_and_gives_none_with_a_reason(rng, load):
    own, other = rng.normal(size=(2, 30, 4))
    groups = list(rng.permutation(np.repeat(SPLITS, 10)))
    metric = load("prediction_distance")
    picked = [{split: side[np.array(groups) == split] for split in SPLITS} for side in (own, other)]
    assert metric.compute(predictions=own, references=other, groups=groups) == distances(*picked)
    result = metric.compute(predictions=own[:20], references=other[:20], groups=["forget", "test"] * 10)
    assert all(result[name] is None for name in NAMES)
    assert result["prediction_distance_reason"].startswith("retain_logits is empty")
