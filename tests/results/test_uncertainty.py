"""Intervals hold the truth as often as they say, and floors are what retrained models differ by."""

import itertools

import numpy as np
import pytest
from scipy import stats

from mubench_hf.results.uncertainty import Interval, Sample, interval, pairwise, t_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 30, 200, 1000, 10**6])
def test_quantiles_are_those_of_students_t(freedom):
    for level in (0.5, 0.9, 0.95, 0.99):
        wanted = stats.t.ppf((1 + level) / 2, min(freedom, 1000))
        assert t_quantile(freedom, level) == pytest.approx(wanted, rel=1e-4)


def test_over_seeds_alone_it_is_students_interval(rng):
    values = rng.normal(size=rng.integers(2, 9))
    found = interval(values)
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((values.mean(), low, high), rel=1e-4)
    assert not found.rows


def test_a_single_seed_has_none():
    assert interval([0.3]) == Interval(0.3, None, None, rows=False)
    assert interval([0.3]).holds_zero, "for all that is known"


def world(rng, seeds, rows, of_seed, of_row, of_both):
    """Return a score of each seed and its draws; the truth is 0.1."""
    scores = (
        0.1 + rng.normal(0, of_seed, (seeds, 1)) + rng.normal(0, of_row, rows) + rng.normal(0, of_both, (seeds, rows))
    )
    times = rng.multinomial(rows, np.full(rows, 1 / rows), 100) / rows
    return scores.mean(axis=1), scores @ times.T


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("spread", [(0.05, 0.0, 0.3), (0.02, 0.4, 0.2), (0.0, 0.0, 0.4), (0.08, 0.2, 0.1)])
def test_it_holds_the_truth_as_often_as_it_says(rng, seeds, spread):
    """The noise of 200 trials is .0154, and none of eight cases may fail by chance: 4.5 times that is allowed below."""
    held = 0
    for _ in range(200):
        found = interval(*world(rng, seeds, 50, *spread))
        held += found.low <= 0.1 <= found.high
    assert held / 200 > 0.95 - 4.5 * 0.0154


def test_without_draws_of_the_rows_it_is_too_narrow(rng):
    """What the bootstrap of rows is for: seeds of the same rows do not show what other rows would do."""
    held = 0
    for _ in range(100):
        found = interval(world(rng, 5, 50, 0.02, 0.4, 0.2)[0])
        held += found.low <= 0.1 <= found.high
    assert held < 80


def test_pairs_of_seeds(rng):
    seeds = [int(seed) for seed in rng.choice(99, rng.integers(3, 7), replace=False)]
    parts = [Sample({seed: float(rng.random()) for seed in seeds}) for _ in range(rng.integers(1, 5))]

    def far(a, b):
        return np.mean([abs(part.values[a] - part.values[b]) for part in parts])

    by_seed, found = pairwise(parts)
    assert found.mean == pytest.approx(np.mean([far(a, b) for a, b in itertools.combinations(seeds, 2)]))
    assert by_seed == pytest.approx({a: np.mean([far(a, b) for b in seeds if b != a]) for a in seeds})
    assert np.mean(list(by_seed.values())) == pytest.approx(found.mean), "the mean of a row of the table by seed"
    left_out = [
        np.mean([far(a, b) for a, b in itertools.combinations([s for s in seeds if s != out], 2)]) for out in seeds
    ]
    jackknife = (len(seeds) - 1) / len(seeds) * np.sum((np.array(left_out) - np.mean(left_out)) ** 2)
    assert found.high - found.mean == pytest.approx(t_quantile(len(seeds) - 1) * jackknife**0.5)


def test_two_seeds_have_a_floor_and_no_interval_and_one_has_neither():
    by_seed, found = pairwise([Sample({1: 0.5, 2: 0.75}), Sample({1: 0.25, 2: 0.25, 3: 9.0})])
    assert by_seed == {1: 0.125, 2: 0.125} and found == Interval(0.125, None, None, rows=False)
    assert pairwise([Sample({1: 0.5}), Sample({1: 0.5, 2: 0.1})]) == ({}, None)
    assert pairwise([]) == ({}, None)


def test_differences_are_paired_and_keep_the_draws_that_both_have(rng):
    draws = {seed: rng.random(20) for seed in (1, 2)}
    a = Sample({1: 0.5, 2: 0.25, 3: 0.0}, {1: draws[1], 2: draws[2]})
    b = Sample({1: 0.25, 2: 0.5, 4: 1.0}, {1: draws[1], 2: draws[2][:10]})
    found = a.minus(b)
    assert dict(found.values) == {1: 0.25, 2: -0.25} and {*found.draws} == {1}
    assert not found.draws[1].any(), "rows move both alike"
    assert found.drawn() is None and a.minus(a).times(-1).mean == 0


def test_a_zero_spread_is_a_point():
    assert interval([0.5, 0.5, 0.5], np.full((3, 9), 0.5)) == Interval(0.5, 0.5, 0.5, rows=True)
    assert not interval([0.5, 0.5]).holds_zero and interval([0.0, 0.0]).holds_zero
