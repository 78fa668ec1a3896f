"""The rule gives the published deletion lists, from facts about the data sets and with no download.

Where the labels follow from the class sizes the lists are rebuilt. Elsewhere the lists themselves say a lot about the
labels: a draw picks ranks within its pool, pools are in row order, so the picked rows must be ordered as the ranks are.
"""

import hashlib
from heapq import heappop, heappush
from pathlib import Path

import numpy as np
import pytest

from mubench_hf.data.splits import SHARED_STREAM, deletion_draws, deletion_order, list_sha256, stream, unlabelled_order

LISTS = Path(__file__).parents[3] / "shared" / "official_splits"

UCF101_SIZES = """
101 82 104 97 77 112 107 99 94 112 96 110 93 76 82 112 114 97 73 95 79 99 103 118 77 105 116 77 86 89 89 100 100 97 107
105 100 77 106 86 89 115 91 112 86 81 86 106 105 89 92 90 92 91 76 97 77 80 120 110 115 107 117 77 113 80 72 109 88 72
121 72 83 103 85 101 90 118 98 88 95 72 79 108 96 80 82 93 89 101 72 117 92 87 93 76 81 87 95 107 92
"""
SPEECH_SIZES = (1860, 1853, 1843, 1842, 1839, 1852, 1864, 1839, 1885, 1861, 6, 32550)

HASHES = {
    "imdb": "f40dab2edd89eda908a81acf08f79d591d658e458e9a1461236d9ecbfa9711d9",
    "ddi": "de4a2e5f60c257e8a69aedf807d4c7a9b3591763a7bd05e0bb3888cf7fb744c0",
    "cifar100": "5178622c4b92f2d599c6787c6aff3dac3a8c90fd0bf2b83add9d97b6d56547ce",
    "cifar10": "b5144f05f227ef20341aefe356adb1860e4918d3525b91f03a7639e61d70fdbe",
    "nlvr2": "d5407fa3b7bd2bcffd1a8c85860d811e226f9db8c9a8ebcc4fef99b905250b68",
    "speech_commands": "bfb7ca7cd891c0740c3380a2e821a76356e2a88a90adcaddd9a3391dd5e000fe",
    "samsum": "38c8d7e0db2129b70c9e87ff57e4237881c5622794839f4619b47c4e0f30bcfc",
}


def published(name: str) -> np.ndarray:
    file = LISTS / f"{name}.txt"
    if not file.is_file():
        pytest.skip(f"the published list {file} is not here")
    if name in HASHES:
        assert hashlib.sha256(file.read_bytes()).hexdigest() == HASHES[name]
    return np.array(file.read_text().split(), dtype=np.int64)


def test_imdb_from_its_class_sizes():
    assert list_sha256(deletion_order(np.repeat([0, 1], 12500), 2, stream("imdb"))) == HASHES["imdb"]


def test_samsum_from_its_number_of_rows():
    assert list_sha256(unlabelled_order(14732, stream("samsum"))) == HASHES["samsum"]


def test_ucf101_from_its_class_sizes():
    sizes = [int(size) for size in UCF101_SIZES.split()]
    draws = deletion_draws(np.repeat(np.arange(101), sizes), 101, stream("ucf101"))
    # The published masks keep no order within a percent.
    assert [np.sort(draw).tolist() for draw in draws] == published("ucf101").reshape(10, 101).tolist()


def labels_behind(order: np.ndarray, sizes: tuple[int, ...], rng: np.random.RandomState) -> np.ndarray:
    """Return labels under which the rule can have drawn `order`, classes never running out.

    The ranks of a class's picked rows fix how many other rows of it lie between two of them. Give every other row to
    the class that needs it soonest; if any labels exist, that finds some. Raises AssertionError if there are none.
    """
    rows, classes, share = sum(sizes), len(sizes), len(order) // 10 // len(sizes)
    draws = order.reshape(10, classes, share)
    left = [np.arange(size) for size in sizes]
    ranks = np.empty_like(draws)
    for percent in range(10):
        for label in range(classes):
            picked = rng.permutation(len(left[label]))[:share]
            ranks[percent, label] = left[label][picked]
            left[label] = np.delete(left[label], picked)
    labels, opening = np.full(rows, -1), {}
    for label in range(classes):
        picked, rank = draws[:, label].ravel(), ranks[:, label].ravel()
        assert (np.argsort(picked) == np.argsort(rank)).all(), (
            f"the rows of class {label} are not ordered as their ranks"
        )
        picked, rank = np.sort(picked), np.sort(rank)
        labels[picked] = label
        needs = np.diff([-1, *rank, sizes[label]]) - 1
        for start, end, need in zip([0, *picked], [*picked, rows], needs, strict=True):
            opening.setdefault(int(start), []).append([int(end), label, int(need)])
    gaps = []
    for row in range(rows):
        for gap in opening.get(row, []):
            if gap[2]:
                heappush(gaps, gap)
        if labels[row] < 0:
            gap = gaps[0]
            assert row < gap[0], f"row {row} comes too late for class {gap[1]}"
            labels[row] = gap[1]
            gap[2] -= 1
            if not gap[2]:
                heappop(gaps)
    return labels


@pytest.mark.parametrize(
    ("name", "sizes"), [("cifar10", (5000,) * 10), ("cifar100", (500,) * 100), ("nlvr2", (42462, 43911))]
)
def test_list_without_remainders_is_given_back(name, sizes):
    order = published(name)
    labels = labels_behind(order, sizes, stream(name))
    assert np.bincount(labels).tolist() == list(sizes)
    found = deletion_order(labels, len(sizes), stream(name))
    assert list_sha256(found) == HASHES[name]


def test_labels_behind_another_start_of_the_stream_do_not_exist():
    with pytest.raises(AssertionError, match="not ordered as their ranks"):
        labels_behind(published("cifar100"), (500,) * 100, stream(None))


def follow(order, sizes, rng, pools=None):
    """Check every draw of a list in which a class runs out; return the pool lengths that fit, shape [10, L].

    Where no lengths are given, each is searched for among all that the remainder drawn before allows. Two lengths can
    give equally ordered ranks only where the generator's rejections line up again, so they leave it in one state.
    """
    share, rows = len(order) // 10 // len(sizes), sum(sizes)
    taken, found = np.zeros(rows, dtype=bool), []
    most, open_rows = list(sizes), 0
    for percent, block in enumerate(order.reshape(10, -1)):
        fitting, at = [], 0
        for label in range(len(sizes)):
            start, fits = rng.get_state(), {}
            for length in [pools[percent][label]] if pools else range(max(0, most[label] - open_rows), most[label] + 1):
                rng.set_state(start)
                ranks = rng.permutation(length)[:share] if length else np.empty(0, int)
                picked = block[at : at + len(ranks)]
                if (np.argsort(picked) == np.argsort(ranks)).all():
                    fits[length] = (rng.get_state()[1].tobytes(), rng.get_state()[2], len(ranks))
                    state = rng.get_state()
            assert fits, f"percent {percent + 1}, class {label}: no pool length fits"
            assert len(set(fits.values())) == 1, f"percent {percent + 1}, class {label}: {sorted(fits)} all fit"
            rng.set_state(state)
            fitting.append(sorted(fits))
            at += min(share, fitting[-1][-1])
        untaken = rows - taken.sum()
        assert sum(map(min, fitting)) <= untaken <= sum(map(max, fitting)), f"percent {percent + 1}: {fitting}"
        assert not taken[block].any()
        taken[block[:at]] = True
        missing = len(block) - at
        if missing:
            remainder = np.flatnonzero(~taken)
            assert (block[at:] == remainder[rng.permutation(len(remainder))[:missing]]).all()
            taken[block[at:]] = True
        most = [max(0, max(lengths) - share) for lengths in fitting]
        # How far a length can lie below that: rows of the remainder, and what was left open just now.
        open_rows = missing + max(lengths[-1] - lengths[0] for lengths in fitting)
        found.append(fitting)
    return found


def test_stream_knows_the_sizes_of_the_data_sets():
    sizes = {name: sum(pools[0]) for name, pools in SHARED_STREAM if pools}
    assert sizes == {"imdb": 25000, "ddi2013": 25296, "cifar100": 50000, "nlvr2": 86373}
    assert [name for name, _ in SHARED_STREAM] == [*sizes, "speech_commands"]


def test_ddi_draw_by_draw():
    pools = dict(SHARED_STREAM)["ddi2013"]
    assert [sum(row) for row in pools] == [25296 - 250 * percent for percent in range(10)]
    follow(published("ddi"), pools[0], stream("ddi2013"), pools)


def test_speech_commands_draw_by_draw():
    found = follow(published("speech_commands"), SPEECH_SIZES, stream("speech_commands"))
    assert [row[10] for row in found] == [[6]] + [[0]] * 9, "only the silence runs out"
