import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score, roc_curve

from mubench_hf.metrics.populations import as_logits
from mubench_hf.metrics.rmia import rmia

FORGET, TEST, MODELS = 40, 90, 6


def drawn(rng, forget=FORGET, test=TEST, gain=0.0):
    """Return the arguments: log-odds of the model and of reference models, of which some saw rows of D_f."""
    member = rng.random((MODELS, forget)) < 0.5
    member[0] = False
    centre_f, centre_t = rng.normal(0, 2, forget), rng.normal(0, 2, test)
    own = *as_logits(rng.normal(centre_f + gain, 0.7)), *as_logits(rng.normal(centre_t, 0.7))
    references = rng.normal(np.where(member, centre_f + 9, centre_f), 0.7), member
    return *own, *references, rng.normal(centre_t, 0.7, (MODELS, test)), np.zeros((MODELS, test), dtype=bool)


def by_hand(given, gamma, offline_a):
    """Score every row by the definition, pair by pair."""
    forget, test = given[0][:, 0], given[2][:, 0]

    def ratios(own, odds, member):
        unseen = np.array([expit(odds[~member[:, row], row]).mean() for row in range(len(own))])
        return expit(own) / (((1 + offline_a) * unseen + 1 - offline_a) / 2)

    of_forget, of_test = ratios(forget, *given[4:6]), ratios(test, *given[6:])

    def score(ratio):
        return np.mean([(ratio / other > gamma) + (ratio / other == gamma) / 2 for other in of_test])

    return np.repeat([1, 0], [len(forget), len(test)]), np.array([score(each) for each in [*of_forget, *of_test]])


@pytest.mark.parametrize(("gamma", "offline_a"), [(1.0, 1.0), (2.0, 0.3), (1.0, 0.0), (0.9, 0.6)])
def test_agrees_with_the_definition_pair_by_pair(rng, gamma, offline_a):
    given = drawn(rng, gain=0.5)
    truth, scores = by_hand(given, gamma, offline_a)
    found = rmia(*given, gamma=gamma, offline_a=offline_a)
    assert found["rmia"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    for rate, name in ((0.01, "rmia_tpr_at_1fpr"), (0.001, "rmia_tpr_at_01fpr")):
        assert found[name] == pytest.approx(tpr[fpr <= rate].max(), abs=1e-12)
    assert {type(value) for value in found.values()} == {float}


def test_limits_and_mirror(rng):
    alike = drawn(rng, forget=3000, test=3000)
    assert rmia(*alike)["rmia"] == pytest.approx(0.5, abs=0.05)
    known = list(drawn(rng))
    # The model is sure of D_f, of which the others know nothing; of test rows it knows what they know.
    known[0], known[4] = known[0] + np.array([50.0, 0]), np.where(known[5], known[4], -20.0)
    assert rmia(*known) == {"rmia": 1.0, "rmia_tpr_at_1fpr": 1.0, "rmia_tpr_at_01fpr": 1.0}
    swapped = (*known[2:4], *known[:2], *known[6:8], *known[4:6])
    assert rmia(*swapped)["rmia"] == 0.0


def test_hard_rows_are_not_taken_for_unseen_ones(rng):
    """The loss alone says that D_f was never seen, since its rows are hard for every model; the ratio does not."""
    given = list(drawn(rng, forget=3000, test=3000))
    given[0], given[4] = given[0] - np.array([3.0, 0]), given[4] - 3.0
    assert np.mean(given[0][:, 0] > given[2][:, 0]) < 0.2
    assert rmia(*given)["rmia"] == pytest.approx(0.5, abs=0.05)


def test_order_and_models_that_saw_the_row_do_not_matter(rng):
    given = drawn(rng, gain=0.5)
    expected = rmia(*given)
    forget, test, models = rng.permutation(FORGET), rng.permutation(TEST), rng.permutation(MODELS)
    moved = [given[0][forget], given[1][forget], given[2][test], given[3][test]]
    moved += [each[models][:, forget] for each in given[4:6]] + [each[models][:, test] for each in given[6:]]
    assert rmia(*moved) == pytest.approx(expected)
    assert rmia(*given[:4], np.where(given[5], -700.0, given[4]), *given[5:]) == expected


def test_log_odds_whose_probabilities_are_0_still_rank(rng):
    given = list(drawn(rng))
    shifted = [given[0] - [2000.0, 0], given[1], given[2] - [2000.0, 0], given[3], given[4] - 2000, given[5],
               given[6] - 2000, given[7]]  # fmt: skip
    assert 0 < rmia(*shifted)["rmia"] < 1


@pytest.mark.parametrize("group", ["forget", "test"])
def test_impossible_logits_are_named(rows, rng, spoil, group):
    change, message = spoil
    groups = {"forget": rows(20), "test": rows(20)}
    groups[group] = change(*groups[group])
    with pytest.raises(ValueError, match=f"^{group}_{message}"):
        rmia(*groups["forget"], *groups["test"], *drawn(rng, 20, 20)[4:])


def test_impossible_populations_and_settings_are_named(rng):
    given = drawn(rng)
    with pytest.raises(ValueError, match=r"40 of 40 forget rows have no reference model that was not trained on them"):
        rmia(*given[:5], given[5] | True, *given[6:])
    with pytest.raises(ValueError, match=r"^shadow_test_log_odds has shape \(6, 89\); \[models, 90\]"):
        rmia(*given[:6], given[6][:, 1:], given[7][:, 1:])
    for name, value in (("gamma", 0.0), ("gamma", np.nan), ("offline_a", 1.5), ("offline_a", None)):
        with pytest.raises(ValueError, match=f"^{name} is"):
            rmia(*given, **{name: value})


def test_evaluate_agrees_and_gives_none_with_a_reason(rng, load):
    given = drawn(rng, gain=0.5)
    own = np.concatenate([given[0][:, 0], given[2][:, 0]])
    references = [odds[~member[:, row], row].tolist() for odds, member in (given[4:6], given[6:]) for row in
                  range(odds.shape[1])]  # fmt: skip
    groups, metric = ["forget"] * FORGET + ["test"] * TEST, load("rmia")
    found = metric.compute(predictions=own, references=references, groups=groups)
    assert found == pytest.approx(rmia(*given))
    found = metric.compute(predictions=own, references=references, groups=["retain"] * (FORGET + TEST))
    assert found["rmia"] is found["rmia_tpr_at_1fpr"] is None and found["rmia_reason"].startswith("forget_logits is")
