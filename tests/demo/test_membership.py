"""The attacker against one written out in NumPy."""

import numpy as np
import pytest
from scipy.special import expit

from mubench_hf.demo.membership import Attacker, confidences
from mubench_hf.errors import BadInput
from mubench_hf.kinds.measures import truth_logits


@pytest.fixture
def rng():
    return np.random.default_rng()


def draw(rng, classes=4, members=120, others=40):
    """Return outputs of a model that is surer of its members."""
    found = {}
    for split, rows, sure in (("retain", members, 3.0), ("test", others, 1.0)):
        labels = rng.integers(classes, size=rows)
        logits = rng.normal(size=(rows, classes))
        logits[np.arange(rows), labels] += sure
        found |= {f"{split}_logits": logits.astype("f4"), f"{split}_labels": labels}
    return found


def newton(feature, member, weight):
    """Return the logistic regression that scikit-learn documents: weighted loss plus half the squared slope, C = 1."""
    design, w = np.stack([feature, np.ones_like(feature)], axis=1), np.zeros(2)
    for _ in range(100):
        p = expit(design @ w)
        gradient = design.T @ (weight * (p - member)) + [w[0], 0]
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + np.diag([1.0, 0])
        w -= np.linalg.solve(hessian, gradient)
    return w


def test_the_attacker_is_the_documented_regression(rng):
    outputs = draw(rng)
    confidence = []
    for split in ("retain", "test"):
        logits = outputs[f"{split}_logits"].astype(float)
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        confidence.append(shares[np.arange(len(shares)), outputs[f"{split}_labels"]])
        np.testing.assert_allclose(confidences(outputs, split), confidence[-1])
    seen, member = np.concatenate(confidence), np.repeat([1.0, 0.0], list(map(len, confidence)))
    weight = np.where(member == 1, len(seen) / (2 * len(confidence[0])), len(seen) / (2 * len(confidence[1])))
    mean, std = seen.mean(), seen.std()
    slope, start = newton((seen - mean) / std, member, weight)
    attacker = Attacker(outputs)
    for loss in rng.exponential(size=20):
        expected = expit(slope * (np.exp(-loss) - mean) / std + start)
        assert attacker.membership(loss) == pytest.approx(expected, abs=1e-4)
    assert attacker.membership(0.01) > 0.5 > attacker.membership(6.0)


def test_rows_of_any_kind_are_read(rng):
    """A loss written as logits of two classes has the confidence exp(-loss)."""
    losses = rng.exponential(size=50)
    logits, labels = truth_logits(losses)
    np.testing.assert_allclose(
        confidences({"test_logits": logits, "test_labels": labels}, "test"), np.exp(-losses), rtol=1e-4
    )


def test_who_cannot_tell_says_half(rng):
    outputs = draw(rng)
    same = {
        f"{split}_{what}": outputs[f"retain_{what}"] for split in ("retain", "test") for what in ("logits", "labels")
    }
    assert Attacker(same).membership(rng.exponential()) == pytest.approx(0.5, abs=1e-3)


def test_what_cannot_be_fitted_says_why(rng):
    outputs = draw(rng)
    alike = {**outputs, "retain_logits": np.zeros((120, 4)), "test_logits": np.zeros((40, 4))}
    with pytest.raises(BadInput, match="equally sure of every row"):
        Attacker(alike)
    outputs["test_logits"][3, 1] = np.nan
    with pytest.raises(BadInput, match="not all finite"):
        Attacker(outputs)
