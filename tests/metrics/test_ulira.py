import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from mubench_hf.metrics.populations import as_logits
from mubench_hf.metrics.ulira import ulira

ROWS, MODELS = 60, 40


def population(rng, mean_in=1.5, mean_out=0.0, rows=ROWS, models=MODELS, spread=1.0):
    """Return the four arrays of shadow models: half of them saw each row, and say more of it after unlearning it."""
    member = np.zeros((models, rows), dtype=bool)
    for row in range(rows):
        member[rng.permutation(models)[: models // 2], row] = True
    unlearned = rng.normal(np.where(member, mean_in, mean_out), spread)
    trained = rng.normal(np.where(member, mean_in + 5, mean_out), spread)
    return unlearned, member, trained, member


def both(own, retrained):
    return *as_logits(own), *as_logits(retrained)


def test_agrees_with_the_definition_row_by_row(rng):
    unlearned, member, trained, _ = population(rng, models=12)
    own, retrained = rng.normal(1, 2, ROWS), rng.normal(0, 2, ROWS)
    pooled = [
        np.mean([np.var(values[side[:, row], row], ddof=1) for row in range(ROWS)])
        for values, side in ((unlearned, member), (trained, ~member))
    ]
    scores = []
    for target in (own, retrained):
        for row in range(ROWS):
            inside, outside = unlearned[member[:, row], row], trained[~member[:, row], row]
            spread_in = np.sqrt(max(np.var(inside, ddof=1), pooled[0] / 4))
            spread_out = np.sqrt(max(np.var(outside, ddof=1), pooled[1] / 4))
            scores.append(
                norm.logpdf(target[row], inside.mean(), spread_in)
                - norm.logpdf(target[row], outside.mean(), spread_out)
            )
    truth, scores = np.repeat([1, 0], ROWS), np.asarray(scores)
    found = ulira(*both(own, retrained), unlearned, member, trained, member)
    assert found["ulira"] == pytest.approx(np.mean((scores > 0) == truth), abs=1e-12)
    assert found["ulira_auc"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert found["ulira_tpr_at_1fpr"] == pytest.approx(tpr[fpr <= 0.01].max(), abs=1e-12)
    assert {type(value) for value in found.values()} == {float}


def test_two_gaussians_of_known_means_give_the_known_accuracy_and_auc(rng):
    """With as many models as one likes: accuracy Φ(d/2) and AUC Φ(d/√2), for means d standard deviations apart."""
    rows, apart = 4000, 1.5
    shadow = population(rng, mean_in=apart, rows=rows, models=60)
    found = ulira(*both(rng.normal(apart, 1, rows), rng.normal(0, 1, rows)), *shadow)
    assert found["ulira"] == pytest.approx(norm.cdf(apart / 2), abs=0.03)
    assert found["ulira_auc"] == pytest.approx(norm.cdf(apart / np.sqrt(2)), abs=0.03)


def test_limits(rng):
    shadow = population(rng, mean_in=30)
    high, low = rng.normal(30, 1, ROWS), rng.normal(0, 1, ROWS)
    assert ulira(*both(high, low), *shadow) == {"ulira": 1.0, "ulira_auc": 1.0, "ulira_tpr_at_1fpr": 1.0}
    assert ulira(*both(low, high), *shadow) == {"ulira": 0.0, "ulira_auc": 0.0, "ulira_tpr_at_1fpr": 0.0}
    alike = ulira(*both(low, low), *population(rng))
    assert alike["ulira"] == alike["ulira_auc"] == 0.5


def test_a_method_that_lowers_what_it_forgot_is_found_too(rng):
    """A row that models say less of than those that never saw it was there as well: a threshold alone would miss it."""
    shadow = population(rng, mean_in=-30)
    assert ulira(*both(rng.normal(-30, 1, ROWS), rng.normal(0, 1, ROWS)), *shadow)["ulira"] == 1.0


def test_swapping_the_two_models_mirrors_it(rng):
    shadow, (own, retrained) = population(rng), rng.normal(0.5, 2, (2, ROWS))
    there, back = ulira(*both(own, retrained), *shadow), ulira(*both(retrained, own), *shadow)
    assert back["ulira"] == pytest.approx(1 - there["ulira"]) and back["ulira_auc"] == pytest.approx(
        1 - there["ulira_auc"]
    )


def test_order_of_rows_and_models_and_the_scale_do_not_matter(rng):
    shadow, (own, retrained) = population(rng), rng.normal(0.5, 2, (2, ROWS))
    expected = ulira(*both(own, retrained), *shadow)
    rows, models = rng.permutation(ROWS), rng.permutation(MODELS)
    moved = [each[models][:, rows] for each in shadow]
    assert ulira(*both(own[rows], retrained[rows]), *moved) == pytest.approx(expected)
    scaled = [3 * shadow[0] + 7, shadow[1], 3 * shadow[2] + 7, shadow[3]]
    assert ulira(*both(3 * own + 7, 3 * retrained + 7), *scaled) == pytest.approx(expected)
    # What models say of rows that do not count for a side says nothing.
    noisy = [np.where(shadow[1], shadow[0], 99), shadow[1], np.where(shadow[3], -99, shadow[2]), shadow[3]]
    assert ulira(*both(own, retrained), *noisy) == expected


def test_the_floor_keeps_models_that_agree_by_chance_from_deciding(rng):
    unlearned, member, trained, _ = population(rng)
    unlearned[:, 0] = 0.0  # No variance at all in one row.
    own = rng.normal(1, 2, ROWS)
    assert np.isfinite([*ulira(*both(own, own), unlearned, member, trained, member).values()]).all()
    with pytest.raises(ValueError, match=r"^variance_floor is 0; a number above 0"):
        ulira(*both(own, own), unlearned, member, trained, member, variance_floor=0)


WRONG = {
    "one model on a side": (
        lambda s: (s[0][:1], s[1][:1] | True, *s[2:]),
        "fewer than two shadow models that were trained",
    ),
    "nobody left it out": (lambda s: (*s[:3], s[3] | True), "fewer than two shadow models that were not trained on it"),
    "other rows": (
        lambda s: (s[0][:, 1:], s[1][:, 1:], *s[2:]),
        rf"shape \({MODELS}, {ROWS - 1}\); \[models, {ROWS}\]",
    ),
    "other members": (lambda s: (s[0], s[1][1:], *s[2:]), "unlearned_shadow_forget_member has shape"),
    "no truths": (lambda s: (*s[:3], s[3] + 1), "shadow_forget_member has dtype int"),
    "nan": (lambda s: (s[0] * np.nan, *s[1:]), "unlearned_shadow_forget_log_odds holds NaN or infinity"),
    "none": (lambda s: (s[0][:0], s[1][:0], *s[2:]), "one or more models and rows is needed"),
    "ragged": (lambda s: ([[1.0], [1.0, 2.0]], *s[1:]), "is not a rectangular array"),
    "nothing varies": (lambda s: (s[0] * 0, *s[1:]), "the same log-odds; nothing varies"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_impossible_populations_are_named(rng, wrong):
    change, message = WRONG[wrong]
    own = rng.normal(size=ROWS)
    with pytest.raises(ValueError, match=message):
        ulira(*both(own, own), *change(population(rng)))


@pytest.mark.parametrize("group", ["forget", "retrain_forget"])
def test_impossible_logits_are_named(rows, rng, spoil, group):
    change, message = spoil
    groups = {"forget": rows(20), "retrain_forget": rows(20)}
    groups[group] = change(*groups[group])
    with pytest.raises(ValueError, match=f"^{group}_{message}"):
        ulira(*groups["forget"], *groups["retrain_forget"], *population(rng, rows=20))


def test_rows_of_two_sizes_are_refused(rows, rng):
    with pytest.raises(ValueError, match="forget_logits has 20 rows and retrain_forget_logits 19"):
        ulira(*rows(20), *rows(19), *population(rng, rows=20))


def test_evaluate_agrees_and_gives_none_with_a_reason(rng, load):
    unlearned, member, trained, _ = population(rng)
    own, retrained = rng.normal(0.5, 2, (2, ROWS))
    given = {
        "predictions": own,
        "references": retrained,
        "unlearned": [unlearned[member[:, row], row].tolist() for row in range(ROWS)],
        "unseen": [trained[~member[:, row], row].tolist() for row in range(ROWS)],
    }
    expected = ulira(*both(own, retrained), unlearned, member, trained, member)
    assert load("ulira").compute(**given) == pytest.approx(expected)
    given["unseen"] = [each[:1] for each in given["unseen"]]
    found = load("ulira").compute(**given)
    assert found["ulira"] is found["ulira_auc"] is found["ulira_tpr_at_1fpr"] is None
    assert found["ulira_reason"].startswith("60 of 60 rows have fewer than two shadow models that were not trained")
