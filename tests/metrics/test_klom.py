import numpy as np
import pytest
from scipy.stats import entropy

from mubench_hf.metrics.klom import BINS, EPSILON, LARGEST, klom, row_klom

SPLITS = ("forget", "retain", "test")


def populations(rng, sizes=(30, 50, 20), models=15, shift=0.0):
    return [rng.normal(shift * (split == 0), 3, (models, size)) for split, size in enumerate(sizes)]


def by_hand(unlearned, retrained):
    """KL of one row's histograms, by NumPy's and SciPy's own."""
    unlearned, retrained = (np.clip(each, -LARGEST, LARGEST) for each in (unlearned, retrained))
    ends = np.concatenate([unlearned, retrained])
    edges = np.linspace(ends.min(), ends.max(), BINS + 1)
    p, q = (np.histogram(each, edges)[0] / len(each) for each in (unlearned, retrained))
    return entropy(p, np.where(p > 0, np.maximum(q, EPSILON), q))  # It divides each by its sum.


def test_agrees_with_histograms_row_by_row(rng):
    unlearned, retrained = populations(rng, shift=1), populations(rng, models=21)
    found = klom(*unlearned, *retrained)
    for split, name in enumerate(("klom", "klom_retain", "klom_test")):
        rows = unlearned[split].shape[1]
        expected = [by_hand(unlearned[split][:, row], retrained[split][:, row]) for row in range(rows)]
        assert row_klom(unlearned[split], retrained[split]) == pytest.approx(expected, abs=1e-9)
        assert found[name] == pytest.approx(np.mean(expected), abs=1e-9) and type(found[name]) is float


def test_two_gaussians_of_many_models_give_their_divergence(rng):
    """KL of N(d, 1) from N(0, 1) is d^2/2; bins leave out a little of it."""
    unlearned, retrained = rng.normal(1, 1, (50_000, 3)), rng.normal(0, 1, (50_000, 3))
    assert row_klom(unlearned, retrained) == pytest.approx(0.5, abs=0.08)


def test_limits(rng):
    models = populations(rng)
    assert [*klom(*models, *models).values()] == pytest.approx([0, 0, 0], abs=1e-12)
    apart = klom(*(0 * each + 80 for each in models), *(0 * each - 80 for each in models))
    assert apart["klom"] == pytest.approx(-np.log(EPSILON), abs=0.01)
    # All models say the same; beyond the cut nothing is told apart.
    assert klom(*(0 * each for each in models), *(0 * each for each in models))["klom"] == 0
    assert klom(*(0 * each + 200 for each in models), *(0 * each + 300 for each in models))["klom"] == 0


def test_few_models_of_one_distribution_are_far_from_0(rng):
    """What the docs warn of: with 8 models most bins are empty, and the value says little without the floor."""
    few, many = (row_klom(*rng.normal(0, 1, (2, models, 300))).mean() for models in (8, 400))
    assert few > 2 and many < 0.3 * few


def test_order_and_scale_do_not_matter(rng):
    unlearned, retrained = rng.normal(0.5, 2, (12, 40)), rng.normal(0, 2, (12, 40))
    expected = row_klom(unlearned, retrained)
    rows = rng.permutation(40)
    assert row_klom(rng.permutation(unlearned)[:, rows], rng.permutation(retrained)[:, rows]) == pytest.approx(
        expected[rows]
    )
    assert row_klom(4 * unlearned, 4 * retrained) == pytest.approx(expected)  # A power of two, so bins are the same.
    assert (row_klom(retrained, unlearned) >= 0).all()


@pytest.mark.parametrize("split", SPLITS)
def test_impossible_inputs_are_named(rng, split):
    place = SPLITS.index(split)
    for change, message in (
        (lambda z: z[:1], "There are 1 unlearned and 15 retrained models; two or more"),
        (lambda z: z[:, 1:], f"^retrain_population_{split}_margins has shape"),
        (lambda z: z * np.nan, f"^population_{split}_margins holds NaN or infinity"),
        (lambda z: z[:, :0], f"^population_{split}_margins has shape"),
        (lambda z: [], f"^population_{split}_margins has shape"),
        (lambda z: [[1.0], [1.0, 2.0]], f"^population_{split}_margins is not a rectangular array"),
    ):
        unlearned = populations(rng)
        unlearned[place] = change(unlearned[place])
        with pytest.raises(ValueError, match=message):
            klom(*unlearned, *populations(rng))


def test_evaluate_agrees_and_gives_none_with_a_reason(rng, load):
    unlearned, retrained = populations(rng, shift=1), populations(rng)
    groups = [split for split, each in zip(SPLITS, unlearned, strict=True) for _ in range(each.shape[1])]
    given = {"predictions": np.hstack(unlearned).T.tolist(), "references": np.hstack(retrained).T.tolist()}
    metric = load("klom")
    assert metric.compute(**given, groups=groups) == pytest.approx(klom(*unlearned, *retrained))
    found = metric.compute(**given, groups=["forget"] * len(groups))
    assert found["klom"] is found["klom_test"] is None and found["klom_reason"].startswith("population_retain_margins")
    with pytest.raises(ValueError, match=r"Unknown groups \['val'\]"):
        metric.compute(**given, groups=["val"] * len(groups))
