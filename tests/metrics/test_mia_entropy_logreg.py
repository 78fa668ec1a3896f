import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, softmax
from scipy.stats import entropy

from mubench_hf.metrics.mia_entropy_logreg import mia_entropy_logreg as score


def uncertain(p):
    """Rows of two classes whose distribution is (p, 1 - p); the labels are drawn by position and tell nothing."""
    p = np.asarray(p, dtype=float)
    return np.log(np.stack([p, 1 - p], axis=1)), np.arange(len(p)) % 2


def threshold(members, others):
    """The logistic regression itself: slope and offset that minimise balanced log-loss and half the squared slope."""
    x, y = np.concatenate([members, others]), np.repeat([1.0, -1.0], [len(members), len(others)])
    counts = np.where(y > 0, len(x) / (2 * len(members)), len(x) / (2 * len(others)))
    loss = lambda w: 0.5 * w[0] ** 2 - counts @ np.log(np.maximum(expit(y * (w[0] * x + w[1])), 1e-300))  # noqa: E731
    return minimize(loss, np.zeros(2), method="BFGS", options={"gtol": 1e-8}).x


def test_agrees_with_the_regression_written_out(rows, rng):
    groups = {"retain": rows(150), "test": rows(60), "forget": rows(300)}
    groups["retain"][0][:] *= 1.5  # Members are more certain.
    ours = {name: entropy(softmax(logits, axis=1), axis=1) for name, (logits, _) in groups.items()}
    slope, offset = threshold(ours["retain"], ours["test"])
    decision = slope * ours["forget"] + offset
    clear = np.abs(decision) > 1e-3
    groups["forget"] = tuple(part[clear] for part in groups["forget"])
    found = score(*groups["retain"], *groups["test"], *groups["forget"])
    assert clear.sum() > 200 and slope < 0
    assert found["mia_entropy_logreg"] == pytest.approx(np.mean(decision[clear] > 0), abs=1e-12)
    assert type(found["mia_entropy_logreg"]) is float


def test_separated_groups_give_one_and_zero_and_swapping_mirrors(rng):
    sure, unsure = (
        (lambda n: uncertain(rng.uniform(0.97, 0.999, size=n))),
        (lambda n: uncertain(rng.uniform(0.5, 0.7, n))),
    )
    retain, test = sure(90), unsure(40)
    assert score(*retain, *test, *sure(50)) == {"mia_entropy_logreg": 1.0}
    assert score(*retain, *test, *unsure(50)) == {"mia_entropy_logreg": 0.0}
    forget = uncertain(rng.uniform(0.5, 0.999, size=400))
    value = score(*retain, *test, *forget)["mia_entropy_logreg"]
    assert 0 < value < 1
    assert score(*test, *retain, *forget)["mia_entropy_logreg"] == pytest.approx(1 - value, abs=0.006)


@pytest.mark.slow
def test_equal_distributions_give_chance_on_average(rng):
    """Over many draws neither side is favoured."""
    values = [score(*(part for _ in range(3) for part in uncertain(rng.beta(5, 2, size=60))))["mia_entropy_logreg"]
              for _ in range(25)]  # fmt: skip
    assert abs(np.mean(values) - 0.5) < 0.3


def test_unchanged_by_order_constants_and_labels(rows, rng):
    retain, test, forget = rows(80), rows(60), rows(50)
    expected = score(*retain, *test, *forget)
    moved = []
    for logits, labels in (retain, test, forget):
        order = rng.permutation(len(labels))
        moved += [logits[order] + rng.integers(-60, 60, size=(len(labels), 1)), rng.permutation(labels)]
    assert score(*moved)["mia_entropy_logreg"] == pytest.approx(expected["mia_entropy_logreg"], abs=0.021)
    # A distribution that is certain has entropy 0, not NaN.
    assert np.isfinite(score(np.array([[900.0, 0], [0, 1]]), [0, 1], *uncertain([0.6, 0.7]), *uncertain([0.9]))
                       ["mia_entropy_logreg"])  # fmt: skip


@pytest.mark.parametrize("group", ["retain", "test", "forget"])
def test_impossible_inputs_are_named(rows, spoil, group):
    change, message = spoil
    groups = {"retain": rows(20), "test": rows(20), "forget": rows(20)}
    groups[group] = change(*groups[group])
    with pytest.raises(ValueError, match=f"^{group}_{message}"):
        score(*groups["retain"], *groups["test"], *groups["forget"])


def test_what_says_nothing_has_a_reason(rows):
    same = np.zeros((12, 4)), np.arange(12) % 4
    with pytest.raises(ValueError, match="All rows of D_r and test have entropy 1.39"):
        score(*same, *same, *same)
    logits = rows(9)[0]
    with pytest.raises(ValueError, match="every row has label 0, as texts"):
        score(*[logits, [0] * 9] * 3)
    with pytest.raises(ValueError, match="Numbers of classes differ"):
        score(*rows(9), *rows(9), *uncertain([0.2, 0.3]))


def test_evaluate_agrees_and_gives_none_with_a_reason(rows, rng, load):
    logits, labels = rows(120)
    groups = rng.permutation(["forget", "retain", "retain", "test"] * 30)
    metric = load("mia_entropy_logreg")
    parts = [a[groups == g] for g in ("retain", "test", "forget") for a in (logits, labels)]
    assert metric.compute(predictions=logits, references=labels, groups=groups) == score(*parts)
    result = metric.compute(predictions=logits, references=labels, groups=["forget", "test"] * 60)
    assert result["mia_entropy_logreg"] is None
    assert result["mia_entropy_logreg_reason"].startswith("retain_logits is empty")
