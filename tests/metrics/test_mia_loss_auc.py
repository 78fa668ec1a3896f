import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn.metrics import auc, log_loss, roc_auc_score, roc_curve

from mubench_hf.metrics.mia_loss_auc import loss_roc, mia_loss_auc


def losses(logits, labels):
    """Cross-entropy row by row, by scikit-learn."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = shifted / shifted.sum(axis=1, keepdims=True)
    return np.array([log_loss([y], [row], labels=range(len(row))) for row, y in zip(p, labels, strict=True)])


def margin_rows(margins):
    """Two-class rows with label 0 whose loss, log(1 + exp(-margin)), falls with the margin."""
    margins = np.asarray(margins, dtype=float)
    return np.stack([margins, np.zeros_like(margins)], axis=1), np.zeros(len(margins), dtype=int)


def test_agrees_with_two_other_auc_and_an_explicit_curve(rows):
    forget, test = rows(60), rows(110)
    loss_f, loss_t = losses(*forget), losses(*test)
    result = mia_loss_auc(*forget, *test)
    assert result["mia_loss_auc"] == pytest.approx(mannwhitneyu(loss_t, loss_f).statistic / (60 * 110), abs=1e-12)
    member, score = [1] * 60 + [0] * 110, -np.concatenate([loss_f, loss_t])
    assert result["mia_loss_auc"] == pytest.approx(roc_auc_score(member, score), abs=1e-12)
    allowed = [t for t in loss_f if np.mean(loss_t <= t) <= 0.01]
    expected = max((np.mean(loss_f <= t) for t in allowed), default=0)
    assert result["mia_loss_tpr_at_1fpr"] == pytest.approx(expected, abs=1e-12)
    assert {type(value) for value in result.values()} == {float}


def test_equal_losses_count_half(rng):
    """Few distinct margins, so that most pairs tie."""
    a, b = rng.integers(0, 3, size=40), rng.integers(0, 3, size=50)
    pairs = [(x > y) + 0.5 * (x == y) for x in a for y in b]
    assert mia_loss_auc(*margin_rows(a), *margin_rows(b))["mia_loss_auc"] == pytest.approx(np.mean(pairs), abs=1e-12)


def test_true_positive_rate_at_exactly_one_percent():
    """The one false positive among 100 test rows is allowed, the second is not."""
    test = margin_rows([5.0, 3.0] + [-5.0] * 98)
    forget = margin_rows([6.0, 4.0, 3.0, 0.0])
    assert mia_loss_auc(*forget, *test)["mia_loss_tpr_at_1fpr"] == 0.5
    assert mia_loss_auc(*forget, *(part[:99] for part in test))["mia_loss_tpr_at_1fpr"] == 0.25


def test_equal_distributions_give_chance(rows):
    result = mia_loss_auc(*rows(5_000), *rows(5_000))
    assert abs(result["mia_loss_auc"] - 0.5) < 0.04  # seven standard deviations
    assert 0 <= result["mia_loss_tpr_at_1fpr"] < 0.03


def test_separated_groups_give_one_and_zero(rng):
    remembered, unseen = margin_rows(rng.uniform(5, 9, size=150)), margin_rows(rng.uniform(-4, 4, size=200))
    assert mia_loss_auc(*remembered, *unseen) == {"mia_loss_auc": 1.0, "mia_loss_tpr_at_1fpr": 1.0}
    assert mia_loss_auc(*unseen, *remembered) == {"mia_loss_auc": 0.0, "mia_loss_tpr_at_1fpr": 0.0}


def test_swapping_the_groups_mirrors_it(rows):
    forget, test = rows(70), rows(40)
    value = mia_loss_auc(*forget, *test)["mia_loss_auc"]
    assert mia_loss_auc(*test, *forget)["mia_loss_auc"] == pytest.approx(1 - value, abs=1e-14)


def test_unchanged_by_a_constant_a_row_and_stable_for_large_logits(rows, rng):
    forget, test = rows(80), rows(80)
    expected = mia_loss_auc(*forget, *test)
    assert mia_loss_auc(forget[0] + rng.integers(-60, 60, size=(80, 1)), forget[1], *test) == expected
    # A loss of 2000 nats, where a probability would underflow to 0, still ranks behind one of 1000.
    far, near = margin_rows([-2000.0]), margin_rows([-1000.0])
    assert mia_loss_auc(*far, *near)["mia_loss_auc"] == 0.0


def test_curve_is_a_roc_curve_with_the_reported_area(rows):
    forget, test = rows(60), rows(90)
    fpr, tpr = loss_roc(*forget, *test)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert np.all(np.diff(fpr) >= 0) and np.all(np.diff(tpr) >= 0)
    assert auc(fpr, tpr) == pytest.approx(mia_loss_auc(*forget, *test)["mia_loss_auc"], abs=1e-12)
    score = -np.concatenate([losses(*forget), losses(*test)])
    other_fpr, other_tpr, _ = roc_curve([1] * 60 + [0] * 90, score, drop_intermediate=False)
    assert np.allclose(fpr, other_fpr) and np.allclose(tpr, other_tpr)


@pytest.mark.parametrize("group", ["forget", "test"])
@pytest.mark.parametrize("function", [mia_loss_auc, loss_roc])
def test_impossible_inputs_are_named(rows, spoil, group, function):
    change, message = spoil
    groups = {"forget": rows(20), "test": rows(20)}
    groups[group] = change(*groups[group])
    with pytest.raises(ValueError, match=f"^{group}_{message}"):
        function(*groups["forget"], *groups["test"])


def test_groups_of_different_models_are_refused(rows):
    (forget, labels), test = rows(20), rows(20)
    with pytest.raises(ValueError, match="Numbers of classes differ, {'forget': 6, 'test': 5}"):
        mia_loss_auc(np.pad(forget, ((0, 0), (0, 1))), labels, *test)


def test_evaluate_agrees_and_gives_none_with_a_reason(rows, rng, load):
    logits, labels = rows(90)
    groups = rng.permutation(["forget", "retain", "test"] * 30)
    metric = load("mia_loss_auc")
    expected = mia_loss_auc(*(a[groups == g] for g in ("forget", "test") for a in (logits, labels)))
    assert metric.compute(predictions=logits, references=labels, groups=groups) == expected
    result = metric.compute(predictions=logits, references=labels, groups=["retain", "test"] * 45)
    assert result["mia_loss_auc"] is None and result["mia_loss_tpr_at_1fpr"] is None
    assert result["mia_loss_auc_reason"].startswith("forget_logits is empty")
    with pytest.raises(ValueError, match=r"Unknown groups \['val'\]; allowed are \['forget', 'retain', 'test'\]"):
        metric.compute(predictions=logits, references=labels, groups=["val"] * 90)
