"""Which rows are to be forgotten: the deletion rule of MU-Bench (arXiv 2406.14796), drawn from the labels alone."""

from __future__ import annotations

import hashlib
from numbers import Integral
from typing import Any

import numpy as np

from mubench_hf.errors import BadInput

RATIOS = range(1, 11)
"""The deletion ratios, in percent of the train set."""

SEED = 42

Pools = tuple[tuple[int, ...], ...]


def _even(*sizes: int) -> Pools:
    """Return the pool lengths at each percent for a data set in which no class runs out."""
    share = sum(sizes) // 100 // len(sizes)
    return tuple(tuple(size - percent * share for size in sizes) for percent in range(10))


# The published lists of these data sets came from one random stream, one data set after the other. How much of the
# stream a draw consumes depends only on the length of its pool, so only that is kept: for each percent, how many rows
# of each class were left. In ddi2013 the last class runs out, which makes the other pools shrink unevenly.
SHARED_STREAM: tuple[tuple[str, Pools], ...] = (
    ("imdb", _even(12500, 12500)),
    (
        "ddi2013",
        (
            (21745, 1163, 725, 1486, 177),
            (21695, 1113, 675, 1436, 127),
            (21645, 1063, 625, 1386, 77),
            (21595, 1013, 575, 1336, 27),
            (21525, 961, 524, 1286, 0),
            (21432, 909, 472, 1233, 0),
            (21337, 857, 422, 1180, 0),
            (21239, 807, 371, 1129, 0),
            (21145, 756, 319, 1076, 0),
            (21049, 704, 269, 1024, 0),
        ),
    ),
    ("cifar100", _even(*[500] * 100)),
    ("nlvr2", _even(42462, 43911)),
    ("speech_commands", ()),  # The last one: nothing starts where it ends.
)


def _skip(rng: np.random.RandomState, pools: Pools) -> None:
    """Advance the stream by the draws of one data set."""
    rows = sum(pools[0])
    share = max(1, rows // 100 // len(pools[0]))
    for percent, lengths in enumerate(pools):
        for length in filter(None, lengths):
            rng.permutation(length)
        taken = percent * share * len(lengths) + sum(min(share, length) for length in lengths)
        if taken < (percent + 1) * share * len(lengths):
            rng.permutation(rows - taken)


def stream(name: str | None) -> np.random.RandomState:
    """Return the random stream at the place where the published list of a data set starts.

    Args:
        name: Data set of the shared stream (``SHARED_STREAM``). Any other name and ``None`` give a fresh stream.
    """
    rng = np.random.RandomState(SEED)
    if name in dict(SHARED_STREAM):
        for earlier, pools in SHARED_STREAM:
            if earlier == name:
                break
            _skip(rng, pools)
    return rng


def deletion_draws(labels: Any, num_labels: int, rng: np.random.RandomState) -> list[np.ndarray]:
    """Draw the rows to forget, one percent after the other, as evenly over the classes as their rows allow.

    Each percent takes the same number of rows of every class; if a class has run out, it is filled up from all rows
    left.

    Args:
        labels: Class of every train row in upstream order, integers in ``[0, num_labels)``, shape ``[rows]``.
        num_labels: Number of classes, with or without rows.
        rng: Stream to draw from, see ``stream``. It is advanced.

    Returns:
        Ten int64 arrays of row numbers in the order in which they were drawn: the first percent, the second, ...

    Raises:
        BadInput: If the labels are not such integers, there are fewer than 100 rows, or too few rows for ten draws.
    """
    labels = _check_labels(labels, num_labels)
    share = max(1, len(labels) // 100 // num_labels)
    if share * num_labels * len(RATIOS) > len(labels):
        raise BadInput(
            f"{len(labels)} rows are too few for {num_labels} classes: ten draws of {share * num_labels} rows take "
            f"{share * num_labels * len(RATIOS)}. Use more rows or fewer classes."
        )
    # Rows of each class in row order; a stable sort by class keeps that order.
    by_class = np.split(np.argsort(labels, kind="stable"), np.bincount(labels, minlength=num_labels).cumsum()[:-1])
    taken = np.zeros(len(labels), dtype=bool)
    draws = []
    for _ in RATIOS:
        drawn = []
        for label, rows in enumerate(by_class):
            pool = by_class[label] = rows[~taken[rows]]
            if len(pool):
                picked = rng.choice(pool, min(share, len(pool)), replace=False)
                taken[picked] = True
                drawn.append(picked)
        missing = share * num_labels - sum(map(len, drawn))
        if missing:
            picked = rng.choice(np.flatnonzero(~taken), missing, replace=False)
            taken[picked] = True
            drawn.append(picked)
        draws.append(np.concatenate(drawn).astype(np.int64))
    return draws


def deletion_order(labels: Any, num_labels: int, rng: np.random.RandomState) -> np.ndarray:
    """Return the draws of ``deletion_draws`` as one int64 array of row numbers, shape ``[deleted rows]``."""
    return np.concatenate(deletion_draws(labels, num_labels, rng))


def unlabelled_order(num_rows: int, rng: np.random.RandomState) -> np.ndarray:
    """Return the rows to forget of a train set without classes (the published rule of SAMSum).

    Twenty samples are drawn, of half a percent, one percent, ... of all rows; the last one counts, in row order.

    Args:
        num_rows: Rows of the train set, at least 100.
        rng: Stream to draw from. It is advanced.

    Returns:
        Row numbers, int64, ascending, shape ``[num_rows // 10]``.

    Raises:
        BadInput: If there are fewer than 100 rows.
    """
    _check_rows(num_rows)
    for half_percents in range(1, 21):
        sample = rng.choice(num_rows, int(num_rows * (half_percents / 2) / 100), replace=False)
    return np.sort(sample).astype(np.int64)


def class_order(labels: Any, num_labels: int, rng: np.random.RandomState) -> np.ndarray:
    """Return the rows to forget where classes are forgotten whole, one class after the other.

    For a model that is asked for a class, such as a generator of images: rows of every class would leave nothing
    forgotten to ask for. The classes come in a random order, and so do a class's rows; the list is the first tenth.

    Args:
        labels: Class of every train row in upstream order, integers in ``[0, num_labels)``, shape ``[rows]``.
        num_labels: Number of classes, with or without rows.
        rng: Stream to draw from. It is advanced.

    Returns:
        Row numbers, int64, shape ``[rows // 10]``.

    Raises:
        BadInput: If the labels are not such integers, or there are fewer than 100 rows.
    """
    labels = _check_labels(labels, num_labels)
    order = [rng.permutation(np.flatnonzero(labels == label)) for label in rng.permutation(num_labels)]
    return np.concatenate(order)[: len(labels) // 10].astype(np.int64)


def deletion_size(length: int, ratio: int) -> int:
    """Return how many entries of a deletion list of ``length`` rows make up D_f at ``ratio`` percent."""
    return int(check_ratio(ratio) / 10 * length)


def deletion_set(order: np.ndarray, ratio: int) -> np.ndarray:
    """Return D_f at ``ratio`` percent: the first rows of the deletion list, so that the sets are nested.

    Raises:
        BadInput: If the ratio is not a whole number from 1 to 10.
    """
    return order[: deletion_size(len(order), ratio)]


def check_ratio(ratio: Any) -> int:
    """Return a deletion ratio in percent as an ``int``; digits in a string count as the number.

    Raises:
        BadInput: If it is not a whole number from 1 to 10.
    """
    value = {str(allowed): allowed for allowed in RATIOS}.get(ratio) if isinstance(ratio, str) else ratio
    if isinstance(value, bool) or not isinstance(value, Integral) or value not in RATIOS:
        raise BadInput(
            f"Deletion ratio {ratio!r} cannot be used. "
            f"Allowed: a whole number of percent from {RATIOS[0]} to {RATIOS[-1]}."
        )
    return int(value)


def list_sha256(order: np.ndarray) -> str:
    """Return the SHA-256 of a deletion list written as text: one row number per line, newline at the end."""
    return hashlib.sha256("".join(f"{row}\n" for row in np.asarray(order).tolist()).encode()).hexdigest()


def _check_rows(num_rows: int) -> None:
    if num_rows < 100:
        raise BadInput(f"{num_rows} train rows have no whole percent to forget. Give at least 100.")


def _check_labels(labels: Any, num_labels: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise BadInput(
            f"Labels of shape {list(labels.shape)} and type {labels.dtype} cannot be used. "
            "Give one integer per row, shape [rows]."
        )
    _check_rows(len(labels))
    wrong = np.flatnonzero((labels < 0) | (labels >= num_labels))
    if len(wrong):
        raise BadInput(
            f"Label {labels[wrong[0]]} at row {wrong[0]} is not a class. Allowed: 0 to {num_labels - 1}. "
            "Correct the label or the number of classes."
        )
    return labels.astype(np.int64)
