import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import mannwhitneyu

from mubench_hf.metrics.mia_loss_auc import mia_loss_auc
from mubench_hf.metrics.mia_loss_auc_matched import mia_loss_auc_matched as score


def margin_rows(margins, labels):
    """Rows of five classes whose loss falls with the margin of the true class."""
    logits = np.zeros((len(labels), 5))
    logits[np.arange(len(labels)), labels] = margins
    return logits, np.asarray(labels)


def test_is_the_mean_over_classes_of_the_auc_within_each(rows, rng):
    forget, test = rows(80), rows(300)
    losses = [-log_softmax(logits, axis=1)[np.arange(len(y)), y] for logits, y in (forget, test)]
    found = score(*forget, *test)
    expected = 0.0
    for one in range(5):
        theirs = losses[1][test[1] == one]
        share = np.mean(forget[1] == one)
        # The whole of D_f against the test rows of each class, by that class's share in D_f.
        expected += share * mannwhitneyu(theirs, losses[0]).statistic / (80 * len(theirs))
    assert found["mia_loss_auc_matched"] == pytest.approx(expected, abs=1e-12)
    weights = np.array([np.mean(forget[1] == y) / np.mean(test[1] == y) for y in test[1]])
    allowed = [t for t in losses[0] if weights[losses[1] <= t].sum() <= 0.01 * weights.sum()]
    expected = max((np.mean(losses[0] <= t) for t in allowed), default=0)
    assert found["mia_loss_tpr_at_1fpr_matched"] == pytest.approx(expected, abs=1e-12)
    assert {type(value) for value in found.values()} == {float}


def test_equals_the_plain_one_where_classes_are_alike(rows, rng):
    """To the last bit: weights of 1, however many rows there are and in whatever order."""
    (forget, labels), times = rows(70), int(rng.integers(2, 7))
    order = rng.permutation(70 * times)
    test = rows(70 * times)[0], np.tile(labels, times)[order]
    assert [*score(forget, labels, *test).values()] == [*mia_loss_auc(forget, labels, *test).values()]


def test_a_difference_in_classes_alone_gives_chance(rng):
    """Class 0 is easy and frequent in D_f: a model that never saw it looks as if it remembers it."""
    forget = np.repeat([0, 1], [800, 200])
    test = np.repeat([0, 1], [400, 1600])
    rows = [margin_rows(np.where(y == 0, 4, 0) + rng.normal(size=len(y)), y) for y in (forget, test)]
    plain = mia_loss_auc(*rows[0], *rows[1])["mia_loss_auc"]
    matched = score(*rows[0], *rows[1])["mia_loss_auc_matched"]
    assert plain > 0.75 and abs(matched - 0.5) < 0.07, "six standard deviations"


def test_separated_groups_give_one_and_zero_and_swapping_mirrors(rows, rng):
    near, far = (margin_rows(rng.uniform(*where, size=200), np.arange(200) % 5) for where in ((5, 9), (-4, 4)))
    assert [*score(*near, *far).values()] == [1.0, 1.0] and [*score(*far, *near).values()] == [0.0, 0.0]
    # With equal shares there is nothing to weight in either direction.
    forget, test = (rows(n)[0] for n in (70, 210))
    labels = rng.integers(5, size=70)
    value = score(forget, labels, test, np.tile(labels, 3))["mia_loss_auc_matched"]
    assert value != 0.5
    swapped = score(test, np.tile(labels, 3), forget, labels)["mia_loss_auc_matched"]
    assert swapped == pytest.approx(1 - value, abs=1e-14)


def test_unchanged_by_order_and_by_test_rows_of_other_classes(rows, rng):
    forget, test = rows(60), rows(200)
    forget[1][:] = forget[1] % 3
    test[1][:3] = np.arange(3)
    expected = score(*forget, *test)
    order = rng.permutation(200)
    assert score(*forget, *(part[order] for part in test)) == pytest.approx(expected, abs=1e-12)
    ours = test[1] < 3
    assert score(*forget, *(part[ours] for part in test)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("group", ["forget", "test"])
def test_impossible_inputs_are_named(rows, spoil, group):
    change, message = spoil
    groups = {"forget": rows(20), "test": rows(20)}
    groups[group] = change(*groups[group])
    with pytest.raises(ValueError, match=f"^{group}_{message}"):
        score(*groups["forget"], *groups["test"])


def test_what_cannot_be_matched_has_a_reason(rows, load):
    (forget, labels), (test, others) = rows(30), rows(30)
    others[:] = others % 4
    labels[7] = 4
    with pytest.raises(ValueError, match=f"test has no row of class 4, which {(labels == 4).sum()} of 30 rows of D_f"):
        score(forget, labels, test, others)
    with pytest.raises(ValueError, match="every row has label 0, as texts and generated images have"):
        score(forget, 0 * labels, test, 0 * others)
    result = load("mia_loss_auc_matched").compute(
        predictions=np.concatenate([forget, test]), references=[0] * 60, groups=["forget", "test"] * 30
    )
    assert result["mia_loss_auc_matched"] is None and result["mia_loss_tpr_at_1fpr_matched"] is None
    assert result["mia_loss_auc_matched_reason"].startswith("every row has label 0")


def test_evaluate_agrees(rows, rng, load):
    logits, labels = rows(120)
    groups = rng.permutation(["forget", "retain", "test"] * 40)
    labels[groups == "test"] = np.arange(40) % 5
    expected = score(*(a[groups == g] for g in ("forget", "test") for a in (logits, labels)))
    found = load("mia_loss_auc_matched").compute(predictions=logits, references=labels, groups=groups)
    assert found == expected
