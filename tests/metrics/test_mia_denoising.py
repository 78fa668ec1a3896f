import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mubench_hf.metrics.mia_denoising import mia_denoising


def test_agrees_with_scikit_learn_and_limits(rng):
    forget, test = rng.exponential(size=(80, 5)), rng.exponential(1.3, size=(130, 5))
    found = mia_denoising(forget, test)
    scores = -np.concatenate([forget, test]).sum(axis=1)
    expected = roc_auc_score([1] * 80 + [0] * 130, scores)
    assert found["mia_denoising"] == pytest.approx(expected, abs=1e-12)
    assert {type(value) for value in found.values()} == {float}
    assert mia_denoising(test, forget)["mia_denoising"] == pytest.approx(1 - expected, abs=1e-12)
    assert [*mia_denoising(forget, test + 99).values()] == [1.0, 1.0]
    assert [*mia_denoising(forget + 99, test).values()] == [0.0, 0.0]
    alike = rng.exponential(size=(2, 1500, 3))
    assert abs(mia_denoising(*alike)["mia_denoising"] - 0.5) < 0.065, "six standard deviations"
    order = rng.permutation(130)
    assert mia_denoising(forget[:, ::-1], test[order][:, ::-1]) == pytest.approx(found), "whatever the order"


@pytest.mark.parametrize(
    ("broken", "message"),
    [([], r"has shape \(0,\)"), ([[1.0], [np.inf]], "holds inf in row 1"), ([[-1.0]], "holds -1.0 in row 0"),
     ([1.0], r"has shape \(1,\); a list of numbers for each"), ([[1.0], [1.0, 2.0]], "is not a rectangular array")],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("group", ["forget", "test"])
def test_impossible_inputs_are_named(group, broken, message):
    given = {"forget": [[1.0]], "test": [[2.0]], group: broken}
    with pytest.raises(ValueError, match=f"{group}_denoising_errors {message}"):
        mia_denoising(given["forget"], given["test"])


def test_errors_at_other_times_are_refused():
    with pytest.raises(ValueError, match="D_f has errors at 3 times and test at 2; the same are needed"):
        mia_denoising([[1.0, 1.0, 1.0]], [[1.0, 1.0]])


def test_evaluate_agrees_and_gives_none_with_a_reason(rng, load):
    errors, groups = rng.exponential(size=(60, 5)), rng.permutation(["forget", "retain", "test"] * 20)
    metric = load("mia_denoising")
    found = metric.compute(predictions=errors, groups=groups)
    assert found == mia_denoising(errors[groups == "forget"], errors[groups == "test"])
    result = metric.compute(predictions=errors, groups=["retain"] * 60)
    assert result["mia_denoising"] is None
    assert result["mia_denoising_reason"].startswith("forget_denoising_errors has shape (0,)")
