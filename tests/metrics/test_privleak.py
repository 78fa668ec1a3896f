import numpy as np
import pytest

from mubench_hf.metrics.privleak import privleak


def test_agrees_with_the_definition_by_the_other_class(rng):
    """MUSE's AUC takes the texts held out for positives, which turns it round."""
    scores = [rng.normal(size=(2, 40)) for _ in range(2)]
    held_out = [np.mean([[b < a for b in forget] for a in test]) for forget, test in scores]
    members = [np.mean([[b > a for a in test] for b in forget]) for forget, test in scores]
    found = privleak(*members)
    assert held_out == [pytest.approx(1 - auc) for auc in members]
    assert found == {"privleak": pytest.approx((held_out[0] - held_out[1]) / held_out[1])}
    assert type(found["privleak"]) is float


def test_limits_and_signs(rng):
    own, retrained = rng.uniform(0.05, 0.95, size=2)
    assert privleak(retrained, retrained) == {"privleak": 0.0}
    assert privleak(1.0, retrained) == {"privleak": -1.0}
    assert privleak(0.0, 0.5) == {"privleak": 1.0}
    assert (privleak(own, retrained)["privleak"] < 0) == (own > retrained), "still known: below 0"
    # Swapping the models inverts the ratio that the score is off 1.
    there, back = privleak(own, retrained)["privleak"], privleak(retrained, own)["privleak"]
    assert (1 + there) * (1 + back) == pytest.approx(1)


@pytest.mark.parametrize("value", [None, float("nan"), -0.01, 1.01, "high"])
def test_impossible_inputs_are_named(value):
    for name in ("min_k", "retrain_min_k"):
        with pytest.raises(ValueError, match=rf"^{name} is .*; a number in \[0, 1\] is needed"):
            privleak(**{"min_k": 0.5, "retrain_min_k": 0.5, name: value})
    with pytest.raises(ValueError, match="retrain_min_k is 1"):
        privleak(0.5, 1.0)


def test_evaluate_gives_the_mean_over_runs_or_none_with_a_reason(rng, load):
    own, retrained = rng.uniform(0.1, 0.9, size=(2, 9))
    metric = load("privleak")
    expected = np.mean([privleak(*run)["privleak"] for run in zip(own, retrained, strict=True)])
    assert metric.compute(min_k=own, retrain_min_k=retrained) == {"privleak": pytest.approx(expected)}
    result = metric.compute(min_k=own, retrain_min_k=[*retrained[:8], 1.0])
    assert result["privleak"] is None and result["privleak_reason"].startswith("run 8: retrain_min_k is 1")
