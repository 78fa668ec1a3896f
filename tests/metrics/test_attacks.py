"""What attacks on membership share: ranks, weighted ROC curves, class weights, tokens."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from mubench_hf.metrics.attacks import (
    attack_auc,
    attack_roc,
    attack_scores,
    check_positions,
    class_weights,
    lowest_mean,
)
from mubench_hf.metrics.mia_loss_auc import mia_loss_auc


def test_weighted_curve_and_area_agree_with_scikit_learn(rng):
    forget, test = rng.integers(0, 12, size=70) / 4, rng.integers(0, 9, size=90) / 4  # Many ties.
    weights = rng.uniform(0, 3, size=90)
    member, score = np.repeat([1, 0], [70, 90]), np.concatenate([forget, test])
    all_weights = np.concatenate([np.ones(70), weights])
    assert attack_auc(forget, test, weights) == pytest.approx(roc_auc_score(member, score, sample_weight=all_weights))
    fpr, tpr = attack_roc(forget, test, weights)
    curve = roc_curve(member, score, sample_weight=all_weights, drop_intermediate=False)
    assert np.allclose(fpr, curve[0]) and np.allclose(tpr, curve[1])
    found = attack_scores("auc", "tpr", forget, test, weights=weights)
    assert found["tpr"] == pytest.approx(max(curve[1][curve[0] <= 0.01]))


def test_weights_of_one_change_nothing(rng):
    forget, test = rng.normal(size=50), rng.normal(size=130)
    plain = attack_scores("auc", "tpr", forget, test)
    assert attack_scores("auc", "tpr", forget, test, weights=np.ones(130)) == plain


def test_a_whole_weight_is_so_many_rows(rng):
    forget, test = rng.normal(size=40).round(1), rng.normal(size=60).round(1)
    times = rng.integers(0, 4, size=60)
    times[0] = 1
    found = attack_scores("auc", "tpr", forget, test, weights=times.astype(float))
    assert found == pytest.approx(attack_scores("auc", "tpr", forget, np.repeat(test, times)))


def test_scores_that_differ_by_rounding_are_ties(rng):
    """Losses of one set of logits in another order are equal in theory, and not always in their last bits."""
    logits = rng.normal(0, 9, size=101)

    def shuffled(n):
        orders = np.stack([rng.permutation(101) for _ in range(n)])
        return logits[orders], np.argmax(orders == 7, axis=1)

    assert mia_loss_auc(*shuffled(60), *shuffled(200)) == {"mia_loss_auc": 0.5, "mia_loss_tpr_at_1fpr": 0.0}
    values = rng.exponential(size=80)
    noisy = values * (1 + rng.uniform(-1e-15, 1e-15, size=80))
    assert attack_auc(values, rng.permutation(noisy)) == attack_auc(values, values) == 0.5
    # Differences of two numbers near 10 have the rounding of such numbers.
    assert attack_auc([1e-15, 0.0], [0.0, 3e-15, 2e-14], scale=10.0) == 0.5
    assert attack_auc([1e-6], [1.001e-6]) == 0.0, "what differs by more is no tie"


NO_SHAPE, NOT_FINITE = "test has scores of shape", "test has a score that is not finite in 1 rows"


@pytest.mark.parametrize(("broken", "message"), [([], NO_SHAPE), ([[0.1]], NO_SHAPE), ([0.1, np.nan], NOT_FINITE)])
def test_scores_that_rank_nothing_are_refused(broken, message):
    with pytest.raises(ValueError, match=message):
        attack_auc([0.5, 1.0], broken)


def test_class_weights_give_a_group_the_classes_of_the_other(rng):
    forget, test = rng.integers(0, 4, size=60), rng.permutation(np.repeat(np.arange(6), rng.integers(1, 30, size=6)))
    weights = class_weights("test", test, forget)
    shares = [weights[test == one].sum() / weights.sum() for one in range(6)]
    assert np.allclose(shares, np.bincount(forget, minlength=6) / 60) and weights.sum() == pytest.approx(len(test))
    times = int(rng.integers(1, 9))
    alike = rng.permutation(np.repeat(forget, times))
    assert (class_weights("test", alike, forget) == 1).all(), "equal shares: exactly 1"
    with pytest.raises(
        ValueError, match=r"test has no row of class 3, which 2 of 3 rows of D_f are of; classes cannot"
    ):
        class_weights("test", np.array([0, 1, 2]), np.array([3, 3, 1]))
    with pytest.raises(ValueError, match="of class 3, which 3 of 3 rows of D_f are of or of 1 more"):
        class_weights("test", np.array([0, 1, 2]), np.array([3, 3, 5]))


def test_lowest_mean_takes_a_share_of_each_row_and_one_at_least(rng):
    rows = [rng.normal(size=size) for size in rng.integers(1, 30, size=40)]
    values = check_positions("x", rows)
    for share in (0.2, 0.35, 1.0):
        expected = [np.sort(row)[: max(1, int(share * len(row)))].mean() for row in rows]
        np.testing.assert_allclose(lowest_mean(values, share), expected, rtol=1e-12)
    wider = np.concatenate([np.full((40, 3), np.nan), values, np.full((40, 2), np.nan)], axis=1)
    assert np.array_equal(lowest_mean(wider, 0.2), lowest_mean(values, 0.2)), "what is not scored changes nothing"
    with pytest.raises(ValueError, match=r"k is 0; a share above 0"):
        lowest_mean(values, 0)
