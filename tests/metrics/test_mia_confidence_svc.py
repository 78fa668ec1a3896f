import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import softmax

from mubench_hf.metrics import mia_confidence_svc as module

score = module.mia_confidence_svc


def confident(p):
    """Two-class rows with label 0 whose true-class probability is `p`."""
    p = np.asarray(p, dtype=float)
    return np.log(np.stack([p, 1 - p], axis=1)), np.zeros(len(p), dtype=int)


def decision_by_the_dual(members, non_members, points, cost=3.0):
    """RBF support vector machine with gamma 1, solved as a quadratic programme: max Σ a − ½ Σ a_i a_j y_i y_j K_ij."""
    x, y = np.concatenate([members, non_members]), np.repeat([1.0, -1.0], len(members))
    kernel = np.exp(-((x[:, None] - x) ** 2))
    q = kernel * np.outer(y, y)
    solution = minimize(
        lambda a: 0.5 * a @ q @ a - a.sum(),
        np.full(len(x), cost / 2),
        jac=lambda a: q @ a - 1,
        bounds=[(0, cost)] * len(x),
        constraints={"type": "eq", "fun": lambda a: a @ y, "jac": lambda a: y},
        options={"maxiter": 2000, "ftol": 1e-14},
    )
    a = solution.x
    # The optimality conditions bound the offset by the rows whose weight may still grow and by those whose may shrink.
    residual = y - kernel @ (a * y)
    may_grow, may_shrink = (a < cost - 1e-3), (a > 1e-3)
    lowest = residual[np.where(y > 0, may_grow, may_shrink)].max()
    highest = residual[np.where(y > 0, may_shrink, may_grow)].min()
    offset = (lowest + highest) / 2
    return np.exp(-((points[:, None] - x) ** 2)) @ (a * y) + offset


def test_agrees_with_the_quadratic_programme(rng):
    members, non_members = rng.beta(6, 2, size=25), rng.beta(2, 3, size=25)
    grid = np.linspace(0.01, 0.99, 300)
    decision = decision_by_the_dual(members, non_members, grid)
    clear = np.abs(decision) > 0.02  # closer to the border the two solvers' tolerances decide
    result = score(*confident(members), *confident(non_members), *confident(grid[clear]), seed=0)
    assert clear.sum() > 150
    assert result["mia_confidence_svc"] == pytest.approx(np.mean(decision[clear] > 0), abs=1e-12)
    assert type(result["mia_confidence_svc"]) is float


def test_attacker_is_fitted_on_a_balanced_draw_of_true_class_probabilities(rows, monkeypatch):
    fits = []

    class Spy(module.SVC):
        def fit(self, features, member, sample_weight):
            assert (sample_weight == 1).all()
            fits.append((self.get_params(), np.asarray(features), np.asarray(member)))
            return super().fit(features, member, sample_weight=sample_weight)

    monkeypatch.setattr(module, "SVC", Spy)
    retain, test, forget = rows(70), rows(40), rows(30)
    p_retain, p_test = ([softmax(z)[y] for z, y in zip(*group, strict=True)] for group in (retain, test))
    for limit, side in [(10_000, 40), (25, 25)]:
        score(*retain, *test, *forget, seed=4, max_fit_rows=limit)
        parameters, features, member = fits.pop()
        assert (parameters["C"], parameters["gamma"], parameters["kernel"]) == (3, "auto", "rbf")
        for drawn, source in [(features[member == 1], p_retain), (features[member == 0], p_test)]:
            assert drawn.shape == (side, 1) and len(np.unique(drawn)) == side  # without replacement
            assert np.abs(drawn - np.array(source)).min(axis=1).max() < 1e-12  # each is a row of its own group


def test_separated_groups_give_one_and_zero(rng):
    high, low = (
        (lambda n: confident(rng.uniform(0.9, 0.99, size=n))),
        (lambda n: confident(rng.uniform(0.05, 0.2, size=n))),
    )
    assert score(*high(60), *low(60), *high(40), seed=1) == {"mia_confidence_svc": 1.0}
    assert score(*high(60), *low(60), *low(40), seed=1) == {"mia_confidence_svc": 0.0}


def test_swapping_members_and_non_members_mirrors_it(rng):
    retain, test = confident(rng.beta(6, 2, size=80)), confident(rng.beta(3, 2, size=80))
    forget = confident(rng.uniform(0.02, 0.98, size=400))
    value = score(*retain, *test, *forget, seed=0)["mia_confidence_svc"]
    assert score(*test, *retain, *forget, seed=0)["mia_confidence_svc"] == pytest.approx(1 - value, abs=0.03)


def test_equal_distributions_give_chance_on_average(rng):
    """A single fit on noise takes a side at random; over many fits neither side is favoured."""
    values = [
        score(*(part for _ in range(3) for part in confident(rng.beta(5, 2, size=60))), seed=run)["mia_confidence_svc"]
        for run in range(60)
    ]
    assert abs(np.mean(values) - 0.5) < 0.25


def test_seed_fixes_the_draw(rng):
    """Whichever side is the larger one is drawn from."""
    for sizes in [(400, 30, 200), (30, 400, 200)]:
        groups = [part for n in sizes for part in confident(rng.beta(3, 2, size=n))]
        by_seed = [score(*groups, seed=seed)["mia_confidence_svc"] for seed in range(8)]
        assert by_seed == [score(*groups, seed=seed)["mia_confidence_svc"] for seed in range(8)]
        assert len(set(by_seed)) > 1, sizes
        assert all(0 <= value <= 1 for value in by_seed)


def test_unchanged_by_a_constant_a_row(rows, rng):
    groups = [rows(50), rows(50), rows(50)]
    expected = score(*(part for group in groups for part in group), seed=2)
    shifted = [(logits + rng.integers(-60, 60, size=(50, 1)), labels) for logits, labels in groups]
    assert score(*(part for group in shifted for part in group), seed=2) == expected


@pytest.mark.parametrize("group", ["retain", "test", "forget"])
def test_impossible_inputs_are_named(rows, spoil, group):
    change, message = spoil
    groups = {"retain": rows(20), "test": rows(20), "forget": rows(20)}
    groups[group] = change(*groups[group])
    with pytest.raises(ValueError, match=f"^{group}_{message}"):
        score(*groups["retain"], *groups["test"], *groups["forget"], seed=0)


def test_a_model_that_answers_all_rows_alike_gives_no_score():
    same = np.zeros((12, 4)), np.arange(12) % 4
    with pytest.raises(ValueError, match="All 24 drawn rows of D_r and test have true-class probability 0.25"):
        score(*same, *same, *same, seed=0)


def test_groups_of_different_models_are_refused(rows):
    (forget, labels), retain, test = rows(20), rows(20), rows(20)
    with pytest.raises(ValueError, match="Numbers of classes differ, {'retain': 5, 'test': 5, 'forget': 6}"):
        score(*retain, *test, np.pad(forget, ((0, 0), (0, 1))), labels, seed=0)


@pytest.mark.parametrize(
    "options", [{"seed": -1}, {"seed": None}, {"seed": 0.5}, {"seed": 0, "max_fit_rows": 0}], ids=lambda o: str(o)
)
def test_options_out_of_range_are_named(rows, options):
    with pytest.raises(ValueError, match="seed is .* non-negative integer|max_fit_rows is 0; a positive integer"):
        score(*rows(9), *rows(9), *rows(9), **options)


def test_evaluate_agrees_and_gives_none_with_a_reason(rows, rng, load):
    logits, labels = rows(120)
    groups = rng.permutation(["forget", "retain", "retain", "test"] * 30)
    metric = load("mia_confidence_svc")
    parts = [a[groups == g] for g in ("retain", "test", "forget") for a in (logits, labels)]
    inputs = {"predictions": logits, "references": labels, "groups": groups}
    assert metric.compute(**inputs) == score(*parts, seed=0)
    assert metric.compute(**inputs, seed=7, max_fit_rows=11) == score(*parts, seed=7, max_fit_rows=11)
    result = metric.compute(predictions=logits, references=labels, groups=["forget", "test"] * 60)
    assert result["mia_confidence_svc"] is None
    assert result["mia_confidence_svc_reason"].startswith("retain_logits is empty")
    with pytest.raises(ValueError, match=r"Unknown groups \['val'\]; allowed are \['forget', 'retain', 'test'\]"):
        metric.compute(predictions=logits, references=labels, groups=["val"] * 120)
