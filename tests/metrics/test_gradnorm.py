import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mubench_hf.metrics.gradnorm import gradnorm


def test_agrees_with_scikit_learn_and_limits(rng):
    forget, test = rng.exponential(size=80).round(1), rng.exponential(2, size=130).round(1)
    found = gradnorm(forget, test)
    expected = roc_auc_score([1] * 80 + [0] * 130, -np.concatenate([forget, test]))
    assert found["gradnorm"] == pytest.approx(expected, abs=1e-12) and {type(one) for one in found.values()} == {float}
    assert gradnorm(test, forget)["gradnorm"] == pytest.approx(1 - expected, abs=1e-12)
    assert gradnorm(forget, test + 99) == {"gradnorm": 1.0, "gradnorm_tpr_at_1fpr": 1.0}
    assert gradnorm(forget + 99, test) == {"gradnorm": 0.0, "gradnorm_tpr_at_1fpr": 0.0}
    alike = rng.exponential(size=(2, 2000))
    assert abs(gradnorm(*alike)["gradnorm"] - 0.5) < 0.06, "six standard deviations"
    assert gradnorm(rng.permutation(forget), rng.permutation(test) * 1.0) == found
    assert gradnorm(7 * forget, 7 * test) == pytest.approx(found), "the size of the model falls out"


@pytest.mark.parametrize(
    ("broken", "message"),
    [([], r"has shape \(0,\)"), ([1.0, np.nan], "holds nan in row 1"), ([-1.0], "holds -1.0 in row 0"),
     ([[1.0]], r"has shape \(1, 1\); one number for each"), (["a"], "is not a rectangular array")],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("group", ["forget", "test"])
def test_impossible_inputs_are_named(group, broken, message):
    given = {"forget": [1.0], "test": [2.0], group: broken}
    with pytest.raises(ValueError, match=f"{group}_gradient_norms {message}"):
        gradnorm(given["forget"], given["test"])


def test_evaluate_agrees_and_gives_none_with_a_reason(rng, load):
    norms, groups = rng.exponential(size=60), rng.permutation(["forget", "retain", "test"] * 20)
    metric = load("gradnorm")
    found = metric.compute(predictions=norms, groups=groups)
    assert found == gradnorm(norms[groups == "forget"], norms[groups == "test"])
    result = metric.compute(predictions=norms, groups=["retain"] * 60)
    assert result["gradnorm"] is None and result["gradnorm_reason"].startswith("forget_gradient_norms has shape (0,)")
