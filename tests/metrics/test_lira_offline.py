import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from mubench_hf.metrics.lira_offline import lira_offline
from mubench_hf.metrics.populations import as_logits

ROWS, MODELS = 70, 24


def population(rng, rows=ROWS, models=MODELS, centre=0.0):
    member = rng.random((models, rows)) < 0.5
    member[:2], member[2:4] = False, True
    return rng.normal(np.where(member, 9, centre), 1), member


def both(own, retrained):
    return *as_logits(own), *as_logits(retrained)


def test_agrees_with_the_definition_row_by_row(rng):
    values, member = population(rng)
    own, retrained = rng.normal(0.5, 2, (2, ROWS))
    pooled = np.mean([np.var(values[~member[:, row], row], ddof=1) for row in range(ROWS)])
    scores = []
    for target in (own, retrained):
        for row in range(ROWS):
            unseen = values[~member[:, row], row]
            scores.append(norm.logcdf(target[row], unseen.mean(), np.sqrt(max(np.var(unseen, ddof=1), pooled / 4))))
    truth = np.repeat([1, 0], ROWS)
    found = lira_offline(*both(own, retrained), values, member)
    assert found["lira_offline"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-3)  # Probabilities near 1 tie.
    fpr, tpr, _ = roc_curve(truth, np.asarray(scores), drop_intermediate=False)
    assert found["lira_offline_tpr_at_1fpr"] == pytest.approx(tpr[fpr <= 0.01].max(), abs=0.05)


def test_two_gaussians_of_known_means_give_the_known_auc(rng):
    """Rows differ by far more than the two models do; their own Gaussians take that away."""
    rows, apart = 5000, 1.0
    centre = rng.normal(0, 20, rows)
    values, member = population(rng, rows, 60, centre)
    found = lira_offline(*both(rng.normal(centre + apart, 1), rng.normal(centre, 1)), values, member)
    assert found["lira_offline"] == pytest.approx(norm.cdf(apart / np.sqrt(2)), abs=0.03)


def test_limits_and_mirror(rng):
    shadow, low = population(rng), rng.normal(0, 1, ROWS)
    assert lira_offline(*both(low + 50, low), *shadow) == {"lira_offline": 1.0, "lira_offline_tpr_at_1fpr": 1.0}
    assert lira_offline(*both(low, low), *shadow)["lira_offline"] == 0.5
    there, back = (lira_offline(*both(*pair), *shadow)["lira_offline"] for pair in ((low + 1, low), (low, low + 1)))
    assert back == pytest.approx(1 - there)


def test_order_scale_and_models_that_saw_the_row_do_not_matter(rng):
    (values, member), (own, retrained) = population(rng), rng.normal(0.5, 2, (2, ROWS))
    expected = lira_offline(*both(own, retrained), values, member)
    rows, models = rng.permutation(ROWS), rng.permutation(MODELS)
    moved = values[models][:, rows], member[models][:, rows]
    assert lira_offline(*both(own[rows], retrained[rows]), *moved) == pytest.approx(expected)
    scaled = both(2 * own - 3, 2 * retrained - 3)
    assert lira_offline(*scaled, 2 * values - 3, member) == pytest.approx(expected)
    assert lira_offline(*both(own, retrained), np.where(member, 1e6, values), member) == expected


@pytest.mark.parametrize("group", ["forget", "retrain_forget"])
def test_impossible_logits_are_named(rows, rng, spoil, group):
    change, message = spoil
    groups = {"forget": rows(20), "retrain_forget": rows(20)}
    groups[group] = change(*groups[group])
    with pytest.raises(ValueError, match=f"^{group}_{message}"):
        lira_offline(*groups["forget"], *groups["retrain_forget"], *population(rng, rows=20))


def test_impossible_populations_are_named(rows, rng):
    (values, member), groups = population(rng, rows=20), (*rows(20), *rows(20))
    with pytest.raises(ValueError, match="20 of 20 rows have fewer than two shadow models that were not trained on it"):
        lira_offline(*groups, values, member | True)
    with pytest.raises(ValueError, match="nothing varies"):
        lira_offline(*groups, 0 * values, member)
    with pytest.raises(ValueError, match="but retrain_forget_logits 19"):
        lira_offline(*rows(20), *rows(19), values, member)


def test_evaluate_agrees_and_gives_none_with_a_reason(rng, load):
    (values, member), (own, retrained) = population(rng), rng.normal(0.5, 2, (2, ROWS))
    unseen = [values[~member[:, row], row].tolist() for row in range(ROWS)]
    given = {"predictions": own, "references": retrained}
    found = load("lira_offline").compute(**given, unseen=unseen)
    assert found == pytest.approx(lira_offline(*both(own, retrained), values, member))
    found = load("lira_offline").compute(**given, unseen=[each[:1] for each in unseen])
    assert found["lira_offline"] is found["lira_offline_tpr_at_1fpr"] is None and found["lira_offline_reason"]
