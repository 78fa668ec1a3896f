import numpy as np
import pytest
from scipy.linalg import sqrtm

from mubench_hf.metrics.frechet_distance import frechet_distance


@pytest.fixture
def features(rng):
    return lambda rows, width=4: (
        rng.normal(size=(rows, width)) @ rng.normal(size=(width, width)) + rng.normal(size=width)
    )


def test_agrees_with_scipys_matrix_root(features):
    one, other = features(60), features(45)
    s, t = np.cov(one.T), np.cov(other.T)
    expected = np.sum((one.mean(0) - other.mean(0)) ** 2) + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet_distance(one, other)["frechet_distance"] == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(other, one)["frechet_distance"] == pytest.approx(expected, rel=1e-6)


def test_of_one_feature_it_is_in_closed_form(rng):
    one, other = rng.normal(size=(30, 1)), 3 + 2 * rng.normal(size=(30, 1))
    expected = (one.mean() - other.mean()) ** 2 + (one.std(ddof=1) - other.std(ddof=1)) ** 2
    assert frechet_distance(one, other)["frechet_distance"] == pytest.approx(expected)


def test_the_same_images_are_at_no_distance_and_moved_ones_at_their_own(features, rng):
    one = features(50)
    assert frechet_distance(one, rng.permutation(one))["frechet_distance"] == pytest.approx(0, abs=1e-6)
    shift = rng.normal(size=4)
    assert frechet_distance(one + shift, one)["frechet_distance"] == pytest.approx(np.sum(shift**2), abs=1e-6)


def test_fewer_rows_than_features(features):
    """The covariances have no inverse then, and a root of their product by `sqrtm` would be complex."""
    found = frechet_distance(features(3, 8), features(3, 8))["frechet_distance"]
    assert np.isfinite(found) and found > 0


def test_a_small_distance_of_few_rows_keeps_its_digits(features, rng):
    one, shift = features(50, 512), 1e-3 * rng.choice([-1, 1], size=512)
    assert frechet_distance(one + shift, one)["frechet_distance"] == pytest.approx(512e-6, rel=1e-6)
    larger = (1 + 1e-3) * (one - one.mean(0)) + one.mean(0)  # (s - t)^2 of each principal axis, as of one feature
    expected = 1e-6 * np.trace(np.cov(one.T))
    assert frechet_distance(larger, one)["frechet_distance"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("generated", "real", "message"),
    [
        ([[1.0, 2.0]], [[1.0, 2.0]] * 2, "generated_features has shape"),
        ([[1.0, 2.0]] * 2, [[1.0]] * 2, "2 and 1 columns"),
        ([[1.0, float("nan")]] * 2, [[1.0, 2.0]] * 2, "NaN"),
        ([[1.0], [1.0, 2.0]], [[1.0]] * 2, "rectangular"),
    ],
)
def test_impossible_inputs_are_named(generated, real, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(generated, real)


def test_evaluate_agrees_and_gives_none_with_a_reason(features, load):
    one, other = features(9), features(9)
    metric = load("frechet_distance")
    assert metric.compute(predictions=one, references=other) == frechet_distance(one, other)
    result = metric.compute(predictions=one[:1], references=other[:1])
    assert result["frechet_distance"] is None and "n >= 2" in result["frechet_distance_reason"]
