import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from mubench_hf.metrics import mia_loss_cv as module

score = module.mia_loss_cv


def margin_rows(margins):
    """Two-class rows with label 0 whose loss, log(1 + exp(-margin)), falls with the margin."""
    margins = np.asarray(margins, dtype=float)
    return np.stack([margins, np.zeros_like(margins)], axis=1), np.zeros(len(margins), dtype=int)


def judged(x, y, at):
    """A logistic regression with half the squared slope as penalty, written out, fitted on x, y and asked at `at`."""
    sign = np.where(y == 1, 1.0, -1.0)
    loss = lambda w: 0.5 * w[0] ** 2 - np.log(np.maximum(expit(sign * (w[0] * x + w[1])), 1e-300)).sum()  # noqa: E731
    slope, offset = minimize(loss, np.zeros(2), method="BFGS", options={"gtol": 1e-8}).x
    return (slope * at + offset > 0).astype(int)


def test_agrees_with_folds_and_a_regression_written_out(rng, monkeypatch):
    seen = {}

    def keep(estimator, features, members, cv):
        seen.update(estimator=estimator, x=features[:, 0], y=members, folds=[*cv.split(features, members)])
        return found(estimator, features, members, cv=cv)

    found = module.cross_val_score
    monkeypatch.setattr(module, "cross_val_score", keep)
    forget, test = margin_rows(rng.normal(1, 1, size=60)), margin_rows(rng.normal(0, 1, size=200))
    value = score(*forget, *test, seed=int(rng.integers(99)))["mia_loss_cv"]
    x, y, folds = seen["x"], seen["y"], seen["folds"]
    losses = [np.log1p(np.exp(-rows[0][:, 0])) for rows in (forget, test)]
    assert np.bincount(y).tolist() == [60, 60] and len(folds) == 5
    assert np.allclose(np.sort(x[y == 1]), np.sort(losses[0])), "all of the smaller group"
    assert np.abs(x[y == 0][:, None] - losses[1]).min(1).max() < 1e-12 and len(np.unique(x[y == 0])) == 60
    assert sorted(np.concatenate([held for _, held in folds])) == [*range(120)], "each row is judged once"
    expected = np.mean([np.mean(judged(x[fit], y[fit], x[held]) == y[held]) for fit, held in folds])
    assert value == pytest.approx(expected, abs=0.0085), "one row may lie on the border"


def test_separated_groups_give_one_whichever_way(rng):
    near, far = margin_rows(rng.uniform(5, 9, size=50)), margin_rows(rng.uniform(-9, -4, size=80))
    assert score(*near, *far, seed=0) == {"mia_loss_cv": 1.0} == score(*far, *near, seed=0)


@pytest.mark.slow
def test_equal_distributions_give_chance(rng):
    values = [score(*margin_rows(rng.normal(size=80)), *margin_rows(rng.normal(size=90)), seed=seed)["mia_loss_cv"]
              for seed in range(10)]  # fmt: skip
    assert abs(np.mean(values) - 0.5) < 0.09, "six standard deviations of a mean of 10"


def test_swapping_the_groups_changes_nothing_much(rng):
    forget, test = margin_rows(rng.normal(1, 1, size=200)), margin_rows(rng.normal(size=200))
    value = score(*forget, *test, seed=1)["mia_loss_cv"]
    assert score(*test, *forget, seed=1)["mia_loss_cv"] == pytest.approx(value, abs=0.04)


def test_depends_on_seed_and_not_on_order_or_other_classes(rows, rng):
    forget, test = rows(40), rows(300)
    forget[1][:] = forget[1] % 2
    by_seed = [score(*forget, *test, seed=seed)["mia_loss_cv"] for seed in range(3)]
    assert len({*by_seed}) > 1
    orders = rng.permutation(40), rng.permutation(300)
    moved = [part[order] for group, order in zip((forget, test), orders, strict=True) for part in group]
    assert [score(*moved, seed=seed)["mia_loss_cv"] for seed in range(3)] == by_seed
    other = test[1] > 1
    test[0][other] = rng.normal(size=test[0][other].shape)
    assert score(*forget, *test, seed=2)["mia_loss_cv"] == by_seed[2], "only D_f's classes are non-members"


def test_losses_are_cut_off(rng):
    forget, test = margin_rows(rng.uniform(-400, -200, size=30)), margin_rows(rng.uniform(-900, -700, size=30))
    assert abs(score(*forget, *test, seed=0)["mia_loss_cv"] - 0.5) < 0.01, "all are 100"


@pytest.mark.parametrize("group", ["forget", "test"])
def test_impossible_inputs_are_named(rows, spoil, group):
    change, message = spoil
    groups = {"forget": rows(20), "test": rows(20)}
    groups[group] = change(*groups[group])
    with pytest.raises(ValueError, match=f"^{group}_{message}"):
        score(*groups["forget"], *groups["test"], seed=0)


def test_too_few_rows_have_a_reason(rows):
    forget, test = rows(20), rows(20)
    with pytest.raises(ValueError, match="D_f has 4 rows and test"):
        score(*(part[:4] for part in forget), *test, seed=0)
    test[1][:] = 4
    forget[1][:] = forget[1] % 4
    with pytest.raises(ValueError, match="D_f has 20 rows and test 0 of D_f's classes; 5 folds need 5 of each"):
        score(*forget, *test, seed=0)
    with pytest.raises(ValueError, match="seed is 0.5; a non-negative integer"):
        score(*forget, *forget, seed=0.5)


def test_evaluate_agrees_and_gives_none_with_a_reason(rows, rng, load):
    logits, labels = rows(90)
    groups = rng.permutation(["forget", "retain", "test"] * 30)
    metric = load("mia_loss_cv")
    parts = [a[groups == g] for g in ("forget", "test") for a in (logits, labels)]
    assert metric.compute(predictions=logits, references=labels, groups=groups, seed=4) == score(*parts, seed=4)
    result = metric.compute(predictions=logits, references=labels, groups=["retain", "test"] * 45)
    assert result["mia_loss_cv"] is None and result["mia_loss_cv_reason"].startswith("forget_logits is empty")
