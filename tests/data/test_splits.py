"""The deletion rule against a slow version of it, what its lists must be, and what it refuses."""

import hashlib

import numpy as np
import pytest

from mubench_hf.data.splits import (
    RATIOS,
    check_ratio,
    deletion_draws,
    deletion_order,
    deletion_set,
    list_sha256,
    stream,
    unlabelled_order,
)
from mubench_hf.errors import BadInput


def by_the_book(labels, classes, seed):
    """Return the list with nothing but membership tests and lists, as the rule is worded."""
    rng = np.random.RandomState(seed)
    share = max(1, len(labels) // 100 // classes)
    chosen = []
    for percent in range(1, 11):
        for label in range(classes):
            pool = [row for row, of in enumerate(labels) if of == label and row not in set(chosen)]
            if pool:
                chosen += list(rng.choice(pool, min(share, len(pool)), replace=False))
        while len(chosen) < percent * share * classes:
            pool = [row for row in range(len(labels)) if row not in set(chosen)]
            chosen += list(rng.choice(pool, percent * share * classes - len(chosen), replace=False))
    return chosen


@pytest.mark.parametrize("case", range(6))
def test_equals_the_rule_written_slowly(rng, case):
    classes = int(rng.integers(1, 8))
    rows = int(rng.integers(10 * classes + 100, 900))
    labels = rng.choice(classes, rows, p=rng.dirichlet(np.full(classes, 0.4)))
    seed = int(rng.integers(2**32))
    found = deletion_order(labels, classes, np.random.RandomState(seed))
    assert found.tolist() == by_the_book(labels.tolist(), classes, seed)


def test_equals_the_slow_rule_where_classes_run_out_or_have_no_row(rng):
    labels = rng.permutation([0] * 480 + [1] * 7 + [3] * 113)
    found = deletion_order(labels, 4, np.random.RandomState(5))
    assert found.tolist() == by_the_book(labels.tolist(), 4, 5)
    assert set(np.flatnonzero(labels == 1)) <= set(found.tolist()), "the rare class must have run out"


def test_leaves_the_stream_where_the_next_list_starts(rng):
    labels = rng.integers(3, size=700)
    shared = np.random.RandomState(9)
    deletion_order(labels, 3, shared)
    by_hand = np.random.RandomState(9)
    sizes = np.bincount(labels, minlength=3)
    for percent in range(10):
        for size in sizes:
            by_hand.permutation(size - 2 * percent)
    assert (shared.randint(2**31, size=8) == by_hand.randint(2**31, size=8)).all()


def test_draws_are_even_a_class_and_disjoint(rng):
    labels = rng.permutation(np.repeat(np.arange(4), [300, 400, 500, 900]))
    draws = deletion_draws(labels, 4, stream(None))
    assert [len(draw) for draw in draws] == [20] * 10
    assert all(draw.dtype == np.int64 for draw in draws)
    assert all(np.bincount(labels[draw], minlength=4).tolist() == [5] * 4 for draw in draws)
    assert len(np.unique(np.concatenate(draws))) == 200


def test_deletion_sets_are_nested_and_grow(rng):
    order = rng.permutation(5000)[:1473]
    sets = [deletion_set(order, ratio) for ratio in RATIOS]
    assert [len(rows) for rows in sets] == [147, 294, 441, 589, 736, 883, 1031, 1178, 1325, 1473]
    for smaller, larger in zip(sets, sets[1:], strict=False):
        assert (larger[: len(smaller)] == smaller).all()
    assert (sets[-1] == order).all()


def test_streams_are_fresh_but_for_the_shared_ones():
    start = np.random.RandomState(42).randint(2**31, size=4).tolist()
    for name in (None, "cifar10", "imdb"):
        assert stream(name).randint(2**31, size=4).tolist() == start
    starts = {tuple(stream(name).randint(2**31, size=4)) for name in ("imdb", "ddi2013", "cifar100", "nlvr2")}
    assert len(starts) == 4


def test_unlabelled_list_is_the_last_of_twenty_samples(rng):
    rows = int(rng.integers(100, 3000))
    by_hand = np.random.RandomState(42)
    for _ in range(19):
        by_hand.permutation(rows)
    expected = sorted(by_hand.permutation(rows)[: rows // 10])
    assert unlabelled_order(rows, stream(None)).tolist() == expected


def test_list_hash_is_that_of_the_text_file():
    assert list_sha256(np.array([30, 2, 117])) == hashlib.sha256(b"30\n2\n117\n").hexdigest()


@pytest.mark.parametrize("ratio", [1, 10, np.int64(7), "1", "10"])
def test_ratio_accepted(ratio):
    found = check_ratio(ratio)
    assert found == int(ratio) and type(found) is int


@pytest.mark.parametrize(
    "ratio", [0, 11, 12, -1, 2.5, 5.0, "abc", "", "0", "12", "2.5", "9" * 5000, True, None, [5], float("nan")]
)
def test_ratio_refused(ratio):
    with pytest.raises(BadInput, match="whole number of percent from 1 to 10") as error:
        check_ratio(ratio)
    assert repr(ratio)[:50] in str(error.value)
    with pytest.raises(BadInput):
        deletion_set(np.arange(100), ratio)


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (np.zeros((50, 4), int), 2, r"shape \[50, 4\]"),
        (np.zeros(200), 2, "float64"),
        (np.zeros(200, bool), 2, "bool"),
        ([None] * 200, 2, "object"),
        (np.zeros(99, int), 2, "99 train rows.*at least 100"),
        ([], 2, "float64"),
        (np.r_[np.zeros(150, int), 2, 5], 2, "Label 2 at row 150.*Allowed: 0 to 1"),
        (np.r_[np.zeros(150, int), -1], 2, "Label -1 at row 150"),
        (np.arange(120) % 13, 13, "120 rows are too few for 13 classes"),
    ],
)
def test_labels_refused(labels, classes, message):
    with pytest.raises(BadInput, match=message):
        deletion_order(labels, classes, stream(None))


def test_unlabelled_rows_refused():
    with pytest.raises(BadInput, match="99 train rows"):
        unlabelled_order(99, stream(None))
