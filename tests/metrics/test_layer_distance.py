import numpy as np
import pytest

from mubench_hf.metrics.layer_distance import layer_distance
from mubench_hf.metrics.weight_change import weight_change


@pytest.fixture
def model(rng):
    """Layers of random sizes and scales, the same shapes in each draw."""
    shapes = [tuple(rng.integers(1, 9, size=rng.integers(1, 4))) for _ in range(8)]
    return lambda: [rng.normal(scale=rng.exponential(), size=shape) for shape in shapes]


def layers(one, other):
    return [[np.linalg.norm(w - v), np.linalg.norm(w), np.linalg.norm(v)] for w, v in zip(one, other, strict=True)]


def test_agrees_with_flattened_weights(model):
    one, other = model(), model()
    flat = [np.concatenate([layer.ravel() for layer in each]) for each in (one, other)]
    shares = [np.sqrt(((w - v) ** 2).sum()) / (np.sqrt((w**2).sum()) + np.sqrt((v**2).sum()))
              for w, v in zip(one, other, strict=True)]  # fmt: skip
    found = layer_distance(layers(one, other))
    assert found["layer_distance"] == pytest.approx(np.linalg.norm(flat[0] - flat[1]))
    assert found["layer_distance_relative"] == pytest.approx(np.mean(shares))
    moved = weight_change(layers(one, other))
    assert list(moved.values()) == list(found.values()) and list(moved) == ["weight_change", "weight_change_relative"]


def test_limits(model, rng):
    one = model()
    assert layer_distance(layers(one, one)) == {"layer_distance": 0.0, "layer_distance_relative": 0.0}
    opposite = layer_distance(layers(one, [-3 * layer for layer in one]))
    assert opposite["layer_distance_relative"] == pytest.approx(1)
    assert layer_distance(layers([np.zeros(3)], [np.zeros(3)]))["layer_distance_relative"] == 0
    assert layer_distance(layers([np.zeros(3)], [np.ones(3)]))["layer_distance_relative"] == 1
    big = layers([rng.normal(size=50_000)], [rng.normal(size=50_000)])
    assert layer_distance(big)["layer_distance_relative"] == pytest.approx(2**-0.5, abs=0.02), "independent weights"


def test_invariances(model, rng):
    one, other = model(), model()
    expected = layer_distance(layers(one, other))
    assert layer_distance(layers(other, one)) == pytest.approx(expected), "symmetric"
    assert layer_distance(rng.permutation(layers(one, other))) == pytest.approx(expected)
    scaled = layer_distance(layers([4 * layer for layer in one], [4 * layer for layer in other]))
    assert scaled["layer_distance"] == pytest.approx(4 * expected["layer_distance"])
    assert scaled["layer_distance_relative"] == pytest.approx(expected["layer_distance_relative"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "has shape"),
        ([[1.0, 1.0]], r"has shape \(1, 2\)"),
        ([[0.0, 1.0, 1.0], [np.nan, 1.0, 1.0]], "in row 1"),
        ([[0.0, np.inf, 1.0]], "in row 0"),
        ([[-1.0, 1.0, 1.0]], "in row 0"),
        ([[2.1, 1.0, 1.0]], "between the difference and the sum of the norms"),
        ([[0.5, 1.0, 2.0]], "between the difference and the sum of the norms"),
        ([[1.0], [1.0, 2.0]], "not a rectangular array"),
    ],
)
def test_impossible_inputs_are_named(values, message):
    for metric, name in ((layer_distance, "weights_from_retrain"), (weight_change, "weights_from_original")):
        with pytest.raises(ValueError, match=f"^{name} .*{message}"):
            metric(values)


@pytest.mark.parametrize("metric", [layer_distance, weight_change])
def test_evaluate_agrees_and_gives_none_with_a_reason(metric, model, load):
    name, values = metric.__name__, layers(model(), model())
    assert load(name).compute(predictions=values) == metric(values)
    result = load(name).compute(predictions=[[-1.0, 1.0, 1.0]])
    assert result[name] is result[f"{name}_relative"] is None and "row 0" in result[f"{name}_reason"]
