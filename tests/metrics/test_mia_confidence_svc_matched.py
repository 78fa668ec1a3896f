import numpy as np
import pytest
from scipy.special import softmax
from sklearn.svm import SVC

from mubench_hf.metrics import mia_confidence_svc as attacker_of
from mubench_hf.metrics import mia_confidence_svc_matched as module
from mubench_hf.metrics.mia_confidence_svc import mia_confidence_svc

score = module.mia_confidence_svc_matched


def confident(p, labels):
    """Rows of two classes whose true-class probability is `p`."""
    p, labels = np.asarray(p, dtype=float), np.asarray(labels)
    logits = np.log(np.stack([p, 1 - p], axis=1))
    logits[labels == 1] = logits[labels == 1][:, ::-1]
    return logits, labels


def alike(rows, rng):
    """Three groups, each with every class in the same share."""
    groups = []
    for times in (9, 5, 3):
        logits, labels = rows(10 * times)
        labels[:] = rng.permutation(np.tile(np.repeat(np.arange(5), [1, 2, 3, 3, 1]), times))
        groups += [logits, labels]
    return groups


@pytest.mark.parametrize("options", [{"seed": 3}, {"seed": 5, "max_fit_rows": 30}], ids=str)
def test_equals_the_plain_one_where_classes_are_alike(rows, rng, options):
    groups = alike(rows, rng)
    assert [*score(*groups, **options).values()] == [*mia_confidence_svc(*groups, **options).values()]


def test_whole_weights_are_so_many_rows(rng, monkeypatch):
    """The fit with weights decides as one with each row repeated: classes 0 and 1 have one half each in D_f."""
    fits = []

    class Spy(SVC):
        def fit(self, features, member, sample_weight):
            fits.append((self, features, member, sample_weight))
            return super().fit(features, member, sample_weight=sample_weight)

    monkeypatch.setattr(attacker_of, "SVC", Spy)
    retain = confident(rng.beta(6, 2, size=40), np.repeat([0, 1], [30, 10]))
    test = confident(rng.beta(3, 2, size=40), np.repeat([0, 1], [8, 32]))
    forget = confident(rng.beta(4, 2, size=50), np.repeat([0, 1], [25, 25]))
    value = score(*retain, *test, *forget, seed=1)["mia_confidence_svc_matched"]
    ((attacker, features, member, weights),) = fits
    assert weights[member == 1].sum() == pytest.approx(40) and weights[member == 0].sum() == pytest.approx(40)
    # Weights are 2/3 and 2 for members, 5/2 and 5/8 for others; 24 times each is whole.
    times = (24 * weights).round().astype(int)
    assert np.abs(times - 24 * weights).max() < 1e-9 and {*times} == {16, 48, 60, 15}
    other = SVC(C=3 / 24, gamma="auto").fit(np.repeat(features, times, axis=0), np.repeat(member, times))
    p = softmax(forget[0], axis=1)[np.arange(50), forget[1]][:, None]
    clear = np.abs(other.decision_function(p)) > 0.02
    assert clear.sum() > 10 and value == np.mean(attacker.predict(p) == 1)
    assert np.array_equal(attacker.predict(p)[clear], other.predict(p)[clear])


@pytest.mark.slow
def test_a_difference_in_classes_alone_is_no_membership(rng):
    """Members and others have the same confidences in each class; only their classes differ. The plain one is sure."""
    values = []
    for seed in range(15):

        def group(size, share):
            labels = (rng.uniform(size=size) > share).astype(int)
            labels[:2] = 0, 1
            return confident(np.where(labels == 0, rng.beta(30, 2, size=size), rng.beta(6, 6, size=size)), labels)

        groups = [*group(80, 0.9), *group(80, 0.1), *group(60, 0.9)]
        values.append((mia_confidence_svc(*groups, seed=seed)["mia_confidence_svc"],
                       score(*groups, seed=seed)["mia_confidence_svc_matched"]))  # fmt: skip
    plain, matched = np.mean(values, axis=0)
    assert plain > 0.75 and abs(matched - 0.5) < 0.25 and matched < plain - 0.1


def test_separated_groups_give_one_and_zero_and_swapping_mirrors(rng):
    def group(low, high, size):
        return confident(rng.uniform(low, high, size=size), np.arange(size) % 2)

    high, low = (lambda n: group(0.9, 0.99, n)), (lambda n: group(0.05, 0.2, n))
    assert score(*high(60), *low(60), *high(40), seed=1) == {"mia_confidence_svc_matched": 1.0}
    assert score(*high(60), *low(60), *low(40), seed=1) == {"mia_confidence_svc_matched": 0.0}
    retain, test = (
        confident(rng.beta(6, 2, size=80), np.arange(80) % 2),
        confident(rng.beta(3, 2, size=80), np.arange(80) % 2),
    )
    forget = group(0.02, 0.98, 400)
    value = score(*retain, *test, *forget, seed=0)["mia_confidence_svc_matched"]
    assert score(*test, *retain, *forget, seed=0)["mia_confidence_svc_matched"] == pytest.approx(1 - value, abs=0.03)


def test_rows_of_other_classes_are_not_drawn(rows, rng):
    groups = alike(rows, rng)
    groups[5] = groups[5] % 2  # D_f has two classes.
    expected = score(*groups, seed=4)
    changed = [part.copy() for part in groups]
    for logits, labels in ((changed[0], changed[1]), (changed[2], changed[3])):
        logits[labels > 1] = rng.normal(size=logits[labels > 1].shape)
    assert score(*changed, seed=4) == expected


@pytest.mark.parametrize("group", ["retain", "test", "forget"])
def test_impossible_inputs_are_named(rows, spoil, group):
    change, message = spoil
    groups = {"retain": rows(20), "test": rows(20), "forget": rows(20)}
    groups[group] = change(*groups[group])
    with pytest.raises(ValueError, match=f"^{group}_{message}"):
        score(*groups["retain"], *groups["test"], *groups["forget"], seed=0)


def test_what_cannot_be_matched_has_a_reason(rows, load):
    retain, test, forget = (rows(30) for _ in range(3))
    for _, labels in (retain, test, forget):
        labels[:5] = np.arange(5)
    for name, group in (("D_r", retain), ("test", test)):
        kept = group[1].copy()
        group[1][:] = group[1] % 4
        with pytest.raises(ValueError, match=f"{name} has no row of class 4"):
            score(*retain, *test, *forget, seed=0)
        group[1][:] = kept
    with pytest.raises(ValueError, match="every row has label 0"):
        score(retain[0], 0 * retain[1], test[0], 0 * test[1], forget[0], 0 * forget[1], seed=0)
    with pytest.raises(ValueError, match=r"seed is -1; a non-negative integer"):
        score(*retain, *test, *forget, seed=-1)
    same = np.zeros((12, 4)), np.arange(12) % 4
    with pytest.raises(ValueError, match="All 24 drawn rows of D_r and test have true-class probability 0.25"):
        score(*same, *same, *same, seed=0)


def test_evaluate_agrees_and_gives_none_with_a_reason(rows, rng, load):
    groups = alike(rows, rng)
    names = [
        name
        for name, size in zip(("retain", "test", "forget"), map(len, groups[::2]), strict=True)
        for _ in range(size)
    ]
    metric = load("mia_confidence_svc_matched")
    inputs = {"predictions": np.concatenate(groups[::2]), "references": np.concatenate(groups[1::2])}
    assert metric.compute(**inputs, groups=names, seed=7) == score(*groups, seed=7)
    result = metric.compute(**inputs, groups=["forget"] * len(names))
    assert result["mia_confidence_svc_matched"] is None
    assert result["mia_confidence_svc_matched_reason"].startswith("retain_logits is empty")
