"""Which rows an update holds, however it is divided over micro-batches and processes."""

import numpy as np
import pytest

from mubench_hf.errors import BadInput
from mubench_hf.trainers._passes import Pass, PassSampler

KINDS = ("forget", "retain", "union", "balanced", "subset")


@pytest.fixture
def is_forget(rng):
    flags = np.zeros(101, bool)
    flags[rng.choice(101, 23, replace=False)] = True
    return flags


def sampler(is_forget, *passes, seed=3, batch_size=8, **shares):
    return PassSampler(is_forget, lambda epoch: passes, seed=seed, batch_size=batch_size, **shares)


def walk(it, epoch):
    it.set_epoch(epoch)
    return list(it)


@pytest.mark.parametrize("kind", KINDS)
def test_order_is_a_function_of_seed_and_epoch(is_forget, kind):
    one, other = sampler(is_forget, Pass(kind)), sampler(is_forget, Pass(kind))
    later = walk(one, 2)
    np.random.seed(1)
    assert walk(one, 0) != later, "an epoch has an order of its own"
    assert walk(one, 2) == later == walk(other, 2), "whatever was walked or drawn before"
    assert walk(sampler(is_forget, Pass(kind), seed=4), 2) != later


def test_two_passes_of_an_epoch_have_their_own_orders(is_forget):
    twice = sampler(is_forget, Pass("forget"), Pass("forget"))
    assert sorted(twice.order(0, 0)) == sorted(twice.order(0, 1))
    assert twice.order(0, 0).tolist() != twice.order(0, 1).tolist()


@pytest.mark.parametrize("kind", ["forget", "retain", "union"])
def test_every_row_once_a_pass(is_forget, kind):
    expected = {"forget": is_forget, "retain": ~is_forget, "union": np.ones(101, bool)}[kind]
    for epoch in range(3):
        rows = sum(walk(sampler(is_forget, Pass(kind)), epoch), [])
        assert sorted(rows) == np.flatnonzero(expected).tolist()


@pytest.mark.parametrize("forgotten", [3, 23, 45])
def test_balanced_pass(rng, forgotten):
    is_forget = rng.permutation(np.arange(101) < forgotten)
    one, seen = sampler(is_forget, Pass("balanced")), []
    for epoch in range(3):
        rows = np.array(sum(walk(one, epoch), []))
        forget, retain = rows[is_forget[rows]], rows[~is_forget[rows]]
        assert sorted(forget) == np.flatnonzero(is_forget).tolist()
        assert len(set(retain)) == len(retain) == len(forget), "no row of D_r twice while there are others"
        seen.append(frozenset(retain))
        # Half and half in every batch, to one row.
        for batch in walk(one, epoch):
            assert abs(2 * is_forget[batch].sum() - len(batch)) <= 1
    assert len(set(seen)) == 3, "the rows of D_r are redrawn"


def test_rows_of_a_balanced_pass_are_those_that_earlier_versions_drew(is_forget):
    """They drew from a redrawn 30 % of D_r: runs of the same name must keep their weights."""
    forget, retain = np.flatnonzero(is_forget), np.flatnonzero(~is_forget)
    for epoch in range(2):
        rng = np.random.default_rng([3, epoch, 0])
        beside = np.resize(rng.permutation(rng.permutation(retain)[: int(np.ceil(0.3 * len(retain)))]), len(forget))
        expected = np.stack([rng.permutation(forget), beside], axis=1).ravel()
        assert sampler(is_forget, Pass("balanced")).order(epoch, 0).tolist() == expected.tolist()


@pytest.mark.parametrize("fraction", [0.01, 0.3, 1.0])
def test_a_subset_is_the_same_in_every_epoch_and_another_for_another_seed(is_forget, fraction):
    seen = []
    for seed in (1, 1, 2):
        one = sampler(is_forget, Pass("subset", retain_fraction=fraction), seed=seed)
        epochs = [np.array(sum(walk(one, epoch), [])) for epoch in range(3)]
        assert epochs[0].tolist() != epochs[1].tolist()
        assert len({frozenset(rows) for rows in epochs}) == 1, "the part of D_r is fixed"
        (rows,) = {tuple(sorted(rows)) for rows in epochs}
        assert len(rows) == 23 + int(np.ceil(fraction * 78)) and set(np.flatnonzero(is_forget)) <= set(rows)
        seen.append(rows)
    assert seen[0] == seen[1] and (seen[0] == seen[2]) == (fraction == 1)


def test_balanced_pass_over_more_forgotten_than_remaining_rows():
    is_forget = np.arange(20) < 17
    rows = np.array(sum(walk(sampler(is_forget, Pass("balanced")), 0), []))
    assert len(rows) == 34 and set(rows) == set(range(20))


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5, float("nan")])
def test_impossible_share_of_retain_is_refused(fraction):
    with pytest.raises(BadInput, match=r"retain_fraction is .*above 0 and at most 1"):
        Pass("subset", retain_fraction=fraction)


@pytest.mark.parametrize("batch_size", [1, 3, 8, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_updates_are_even(is_forget, kind, batch_size):
    one = sampler(is_forget, Pass(kind), batch_size=batch_size)
    sizes = [len(update) for update in one.updates(0)]
    assert max(sizes) - min(sizes) <= 1 and max(sizes) <= batch_size
    assert len(sizes) == one.update_count(0) == -(-sum(sizes) // batch_size)


def test_a_pass_may_have_a_batch_size_of_its_own(is_forget):
    one = sampler(is_forget, Pass("forget", batch_size=4), Pass("retain"), batch_size=16)
    sizes = [len(update) for update in one.updates(0)]
    assert sizes == [4] * 5 + [3] * 1 + [16] * 3 + [15] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_is_the_same_rows_however_it_is_divided(is_forget, kind):
    whole = sampler(is_forget, Pass(kind, retain_fraction=0.5), batch_size=8)
    expected = [sorted(batch) for batch in walk(whole, 1)]
    for batch_size, accumulation, world_size in [(4, 2, 1), (4, 1, 2), (2, 2, 2), (2, 4, 1)]:
        parts = [
            walk(
                sampler(
                    is_forget,
                    Pass(kind, retain_fraction=0.5),
                    batch_size=batch_size,
                    accumulation=accumulation,
                    world_size=world_size,
                    rank=rank,
                ),
                1,
            )
            for rank in range(world_size)
        ]
        assert {len(part) for part in parts} == {accumulation * len(expected)}, "processes go in step"
        for number, rows in enumerate(expected):
            own = [part[number * accumulation : (number + 1) * accumulation] for part in parts]
            shares = [share for part in own for share in part]
            assert sorted(sum(shares, [])) == rows
            assert max(map(len, shares)) - min(map(len, shares)) <= 1 and max(map(len, shares)) <= batch_size


def test_no_micro_batch_is_ever_empty():
    for rows in range(1, 40):
        for batch_size in (1, 2, 3, 8):
            for accumulation, world_size in [(1, 1), (2, 1), (1, 2), (3, 2)]:
                if rows < accumulation * world_size:
                    continue
                walked = []
                for rank in range(world_size):
                    one = sampler(
                        np.zeros(rows, bool),
                        Pass("retain"),
                        batch_size=batch_size,
                        accumulation=accumulation,
                        world_size=world_size,
                        rank=rank,
                    )
                    batches = list(one)
                    assert len(batches) == len(one) == one.update_count(0) * accumulation
                    assert one.update_count(0) == len(one.updates(0))
                    assert all(batches), (rows, batch_size, accumulation, world_size)
                    walked += batches
                assert sorted(sum(walked, [])) == list(range(rows))


def test_counts_of_epochs_that_differ(is_forget):
    def passes(epoch):
        return (Pass("forget", 4), Pass("retain")) if epoch < 2 else (Pass("balanced"),)

    one = PassSampler(is_forget, passes, seed=0, batch_size=8, accumulation=2)
    for epoch, expected in enumerate([3 + 5, 3 + 5, 3]):
        one.set_epoch(epoch)
        assert one.update_count(epoch) == len(one.updates(epoch)) == expected
        assert len(one) == len(list(one)) == 2 * expected


@pytest.mark.parametrize(("accumulation", "world_size"), [(4, 1), (1, 4), (2, 2)])
def test_fewer_rows_than_shares_are_refused(accumulation, world_size):
    one = sampler(np.arange(50) < 3, Pass("forget"), accumulation=accumulation, world_size=world_size)
    message = (
        f"A pass over 3 forget rows cannot be shared among {world_size} processes x {accumulation} gradient "
        "accumulation steps. Use at most 3 in all."
    )
    with pytest.raises(BadInput) as error:
        list(one)
    assert str(error.value) == message
