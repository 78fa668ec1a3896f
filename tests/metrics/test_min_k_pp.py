import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.metrics import roc_auc_score

from mubench_hf.metrics.min_k_pp import min_k_pp


def texts(rng, size, shift=0.0):
    """Texts of 1 to 20 tokens over a vocabulary of 9: distributions, and a true token that is likelier with `shift`."""
    rows = []
    for _ in range(size):
        logs = log_softmax(rng.normal(0, 2, size=(rng.integers(1, 21), 9)), axis=1)
        rows.append((logs, (logs + rng.gumbel(size=logs.shape) + shift * logs).argmax(axis=1)))
    return rows


def columns(rows):
    """What is measured of texts: log-probability of the truth, and mean and deviation under the distribution."""
    found = [], [], []
    for logs, true in rows:
        p = np.exp(logs)
        mean = (p * logs).sum(axis=1)
        parts = logs[np.arange(len(true)), true], mean, np.sqrt((p * (logs - mean[:, None]) ** 2).sum(axis=1))
        for column, part in zip(found, parts, strict=True):
            column.append(part)
    return found


def test_agrees_with_draws_from_the_distributions_and_scikit_learn(rng):
    forget, test = texts(rng, 25, 0.5), texts(rng, 35)
    scores = []
    for logs, true in (*forget, *test):
        # Mean and deviation of the log-probability by the formula of the paper's code: E[x²] - E[x]².
        p = np.exp(logs)
        mu = (p * logs).sum(axis=1)
        sigma = np.sqrt((p * logs**2).sum(axis=1) - mu**2)
        values = np.sort((logs[np.arange(len(true)), true] - mu) / sigma)
        scores.append(values[: max(1, int(0.2 * len(values)))].mean())
    found = min_k_pp(*columns(forget), *columns(test))
    assert found["min_k_pp"] == pytest.approx(roc_auc_score([1] * 25 + [0] * 35, scores), abs=1e-12)
    assert {type(value) for value in found.values()} == {float}


def test_limits(rng):
    def alike(low, high):
        return np.zeros((120, 4)) + rng.uniform(low, high, size=(120, 1)), -np.ones((120, 4)), np.ones((120, 4))

    assert min_k_pp(*alike(-0.5, 0), *alike(-3, -0.6)) == {"min_k_pp": 1.0, "min_k_pp_tpr_at_1fpr": 1.0}
    assert min_k_pp(*alike(-3, -0.6), *alike(-0.5, 0)) == {"min_k_pp": 0.0, "min_k_pp_tpr_at_1fpr": 0.0}
    forget, test = columns(texts(rng, 30, 0.5)), columns(texts(rng, 40))
    assert min_k_pp(*test, *forget)["min_k_pp"] == pytest.approx(1 - min_k_pp(*forget, *test)["min_k_pp"], abs=1e-14)
    drawn = columns(texts(rng, 300)), columns(texts(rng, 300))
    assert abs(min_k_pp(*drawn[0], *drawn[1])["min_k_pp"] - 0.5) < 0.15, "six standard deviations"


def test_a_harder_distribution_changes_nothing(rng):
    """Unlike Min-K%: a token as likely as its distribution expects scores 0, whether that is sure or not."""
    shift, spread = rng.uniform(0.5, 3, size=(40, 1)), rng.uniform(0.1, 2, size=(40, 1))
    z = rng.normal(size=(80, 6))
    forget, test = z[:40], z[40:]
    plain = min_k_pp(forget - 5, np.full((40, 6), -5.0), np.ones((40, 6)), test, 0 * test, 1 + 0 * test)
    hard = min_k_pp(spread * forget - shift, -shift + 0 * forget, spread + 0 * forget, test, 0 * test, 1 + 0 * test)
    assert hard == pytest.approx(plain, abs=1e-12)


def test_a_certain_distribution_has_a_least_deviation(rng):
    sure = np.zeros((3, 2)), np.zeros((3, 2)), np.zeros((3, 2))
    unsure = [np.full((4, 2), value) for value in (-3.0, -1.0, 0.5)]
    assert min_k_pp(*sure, *unsure)["min_k_pp"] == 1.0
    assert min_k_pp(sure[0] - 0.01, *sure[1:], *unsure)["min_k_pp"] == 0.0, "-0.01 / 0.001 lies below -4"


def test_unchanged_by_padding(rng):
    forget, test = columns(texts(rng, 20, 0.5)), columns(texts(rng, 20))
    longer = [[np.append(row, [np.nan, np.nan]) for row in column] for column in forget]
    assert min_k_pp(*longer, *test) == min_k_pp(*forget, *test)


def test_impossible_inputs_are_named(rng):
    good, rows = columns(texts(rng, 5)), columns(texts(rng, 5))
    moved = [[*rows[0]], [*rows[1]], [*rows[2]]]
    moved[1][2] = np.append(moved[1][2], -0.1)
    with pytest.raises(ValueError, match="test_token_log_prob_means has values at other positions than test_token_log"):
        min_k_pp(*good, *moved)
    with pytest.raises(ValueError, match="forget_token_log_prob_stds holds a number below 0, which is no standard"):
        min_k_pp(*good[:2], [-row for row in good[2]], *rows)
    with pytest.raises(ValueError, match="forget_token_log_probs has no rows"):
        min_k_pp([], [], [], *rows)
    with pytest.raises(ValueError, match="test_token_log_prob_stds holds infinity"):
        min_k_pp(*good, *rows[:2], [row + np.inf for row in rows[2]])
    with pytest.raises(ValueError, match="k is 2; a share"):
        min_k_pp(*good, *rows, k=2)


def test_evaluate_agrees_and_gives_none_with_a_reason(rng, load):
    rows, groups = columns(texts(rng, 30)), rng.permutation(["forget", "retain", "test"] * 10)
    metric = load("min_k_pp")
    parts = [[row for row, group in zip(column, groups, strict=True) if group == one]
             for one in ("forget", "test") for column in rows]  # fmt: skip
    inputs = dict(zip(("predictions", "means", "stds"), rows, strict=True))
    assert metric.compute(**inputs, groups=groups) == min_k_pp(*parts)
    result = metric.compute(**inputs, groups=["test", "retain"] * 15)
    assert result["min_k_pp"] is None and result["min_k_pp_tpr_at_1fpr"] is None
    assert result["min_k_pp_reason"].startswith("forget_token_log_probs has no rows")
