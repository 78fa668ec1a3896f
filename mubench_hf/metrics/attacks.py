"""What attacks on membership share: losses, weights that match classes, and how far a score ranks D_f above test rows.

`evaluate.load` and a published Space copy this file along with a metric that says `from .attacks import ...`. Like the
metrics, it imports nothing of the package but the checks.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax

from .checks import check_labels, check_logits, check_same_classes

ROUNDING, LAST_BITS = 1e-12, 2 * np.finfo(np.float64).eps
"""How far equal scores may lie apart, relative to their size, and beside that for scores near 0: a float64 sum ends in
other digits if its terms are added in another order, as those of two rows with permuted logits are."""

FALSE_POSITIVES = 0.01
"""Share of test rows up to which a true positive rate is reported."""


def both_losses(
    forget_logits: ArrayLike, forget_labels: ArrayLike, test_logits: ArrayLike, test_labels: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Cross-entropy of each row of D_f and of test in nats, float64 [n_f] and [n_t].

    Raises:
        ValueError: if a group has no rows, shapes do not fit, a logit is not finite or a label is no class index.
    """
    losses = row_losses("forget", forget_logits, forget_labels), row_losses("test", test_logits, test_labels)
    check_same_classes(forget=forget_logits, test=test_logits)
    return losses


def row_losses(group: str, logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Cross-entropy of each row in nats, float64 [n].

    Raises:
        ValueError: if there are no rows, shapes do not fit, a logit is not finite or a label is no class index.
    """
    logits = check_logits(f"{group}_logits", logits)
    labels = check_labels(f"{group}_labels", labels, logits)
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]


def true_probabilities(group: str, logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Softmax probability of each row's true class, float64 [n].

    Raises:
        ValueError: as `row_losses`.
    """
    return np.exp(-row_losses(group, logits, labels))


def class_weights(group: str, labels: np.ndarray, forget_labels: np.ndarray) -> np.ndarray:
    """Weight of each row of a group so that its classes have the shares that they have in D_f, float64 [n].

    Weights are exactly 1 where the shares are equal, and 0 for classes that D_f lacks.

    Args:
        group: name of the group, for the error.
        labels: int [n], its classes.
        forget_labels: int [n_f], those of D_f.

    Raises:
        ValueError: if the group has no row of one of D_f's classes.
    """
    classes = max(labels.max(), forget_labels.max()) + 1
    ours, wanted = np.bincount(labels, minlength=classes), np.bincount(forget_labels, minlength=classes)
    lacking = np.flatnonzero((ours == 0) & (wanted > 0))
    if lacking.size:
        raise ValueError(
            f"{group} has no row of class {lacking[0]}, which {wanted[lacking].sum()} of {len(forget_labels)} rows of "
            f"D_f are of{f' or of {lacking.size - 1} more' if lacking.size > 1 else ''}; classes cannot be matched"
        )
    # A fraction of whole numbers, so that equal shares give 1 to the last bit.
    by_class = (wanted * len(labels)) / np.maximum(ours * len(forget_labels), 1)
    return by_class[labels]


def check_has_classes(*labels: np.ndarray) -> None:
    """Check that labels are classes: of texts and generated images they only say that class 0 of two is the truth.

    Raises:
        ValueError: if all are 0.
    """
    if not any(each.any() for each in labels):
        raise ValueError("every row has label 0, as texts and generated images have: there are no classes to match")


def attack_scores(name: str, tpr_name: str, forget: ArrayLike, test: ArrayLike, **options) -> dict[str, float]:
    """How well a score tells rows of D_f from test rows by a threshold: AUC, and true positives at few false ones.

    Args:
        name: name of the AUC, the chance that a row of D_f has a higher score than a test row, ties counted half.
        tpr_name: name of the largest share of D_f at or above a threshold that at most 1% of the test rows reach.
        forget: float [n_f], scores of D_f; higher is more like a member.
        test: float [n_t], scores of test rows.
        options: weights and scale, see `attack_roc`.

    Raises:
        ValueError: if a group has no rows, or a score is not finite.
    """
    fpr, tpr = attack_roc(forget, test, **options)
    return {
        name: attack_auc(forget, test, **options),
        tpr_name: float(tpr[fpr <= FALSE_POSITIVES * (1 + ROUNDING)].max()),
    }


def attack_auc(forget: ArrayLike, test: ArrayLike, weights: np.ndarray | None = None, scale: float = 0.0) -> float:
    """Chance that a row of D_f has a higher score than a test row, ties counted half; see `attack_scores`."""
    members, others = _ranks(forget, test, scale)
    order = np.argsort(others, kind="stable")
    passed = np.concatenate([[0.0], np.cumsum(np.ones(len(others)) if weights is None else weights[order])])
    # For each row of D_f, the weight of the test rows that it beats; the mean of the two sides counts a tie half.
    beaten = sum(passed[np.searchsorted(others[order], members, side=side)] for side in ("left", "right")) / 2
    # Rounding may leave the range by a unit in the last place.
    return float(np.clip(beaten.sum() / (len(members) * passed[-1]), 0, 1))


def attack_placements(forget: ArrayLike, test: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """What each row contributes to `attack_auc`: DeLong's placement values, whose mean over either group is the AUC.

    Args:
        forget: float [n_f], scores of D_f.
        test: float [n_t], scores of test rows.

    Returns:
        The share of test rows that each row of D_f beats, float [n_f], and of D_f that beats each test row, float
        [n_t]; ties counted half.
    """
    members, others = _ranks(forget, test, 0.0)
    beaten, beating = (
        sum(np.searchsorted(np.sort(theirs), mine, side=side) for side in ("left", "right")) / (2 * len(theirs))
        for mine, theirs in ((members, others), (others, members))
    )
    return beaten, 1 - beating


def attack_roc(
    forget: ArrayLike, test: ArrayLike, weights: np.ndarray | None = None, scale: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates of "member if the score is at least t", for every t that changes them.

    Args:
        forget: float [n_f], scores of D_f.
        test: float [n_t], scores of test rows.
        weights: float [n_t], how much each test row counts; default: all alike.
        scale: size of the numbers that the scores are differences of, whose rounding decides no rank.

    Returns:
        Float [k] each, from (0, 0) to (1, 1).

    Raises:
        ValueError: if a group has no rows, or a score is not finite.
    """
    members, others = _ranks(forget, test, scale)
    top = max(members.max(), others.max())
    counts = (
        np.bincount(top - others, minlength=top + 1, weights=weights),
        np.bincount(top - members, minlength=top + 1),
    )
    fpr, tpr = (np.concatenate([[0.0], np.cumsum(each)]) for each in counts)
    return fpr / fpr[-1], tpr / tpr[-1]


def _ranks(forget: ArrayLike, test: ArrayLike, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of the scores of D_f and of test among all of them, from 0, the same for scores that differ by rounding."""
    groups = {"D_f": np.asarray(forget, dtype=np.float64), "test": np.asarray(test, dtype=np.float64)}
    for group, scores in groups.items():
        if scores.ndim != 1 or not scores.size:
            raise ValueError(f"{group} has scores of shape {scores.shape}; one for each of one or more rows is needed")
        if not np.isfinite(scores).all():
            raise ValueError(f"{group} has a score that is not finite in {(~np.isfinite(scores)).sum()} rows")
    scores = np.concatenate(list(groups.values()))
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    apart = np.diff(ranked) > ROUNDING * (np.abs(ranked[1:]) + scale) + LAST_BITS
    ranks = np.empty(len(scores), dtype=np.int64)
    ranks[order] = np.concatenate([[0], np.cumsum(apart)])
    return ranks[: len(groups["D_f"])], ranks[len(groups["D_f"]) :]


def check_positions(name: str, values: ArrayLike) -> np.ndarray:
    """Return values of tokens as float64 [n, positions], NaN where there is none; rows may differ in length.

    Raises:
        ValueError: if there are no rows, a row has no value, or one is infinite or no number.
    """
    try:
        rows = [np.asarray(row, dtype=np.float64) for row in values]
    except (TypeError, ValueError):
        raise ValueError(f"{name} is no list of rows of numbers; float [n, positions] is needed") from None
    if not rows or any(row.ndim != 1 for row in rows):
        raise ValueError(f"{name} has no rows, or rows that are no lists; float [n, positions] is needed")
    filled = np.full((len(rows), max(map(len, rows))), np.nan)
    for line, row in zip(filled, rows, strict=True):
        line[: len(row)] = row
    empty = np.flatnonzero(np.isnan(filled).all(axis=1))
    if empty.size:
        raise ValueError(f"{name} has no token in {empty.size} of {len(rows)} rows, first in row {empty[0]}")
    if np.isinf(filled).any():
        raise ValueError(f"{name} holds infinity; finite numbers are needed, or NaN where a position is not scored")
    return filled


def lowest_mean(values: np.ndarray, share: float) -> np.ndarray:
    """Mean of the lowest values of each row, float64 [n]: of that share of them, rounded down, and of one at least.

    Args:
        values: float [n, positions], NaN where there is none.
        share: in (0, 1].

    Raises:
        ValueError: if `share` is out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"k is {share!r}; a share above 0 and at most 1 is needed")
    ranked = np.sort(values, axis=1)  # NaN comes last.
    counts = np.maximum(1, np.floor((~np.isnan(values)).sum(axis=1) * share).astype(int))
    sums = np.cumsum(np.nan_to_num(ranked), axis=1)
    return sums[np.arange(len(values)), counts - 1] / counts


def check_sizes(name: str, values: ArrayLike, dimensions: int = 1) -> np.ndarray:
    """Return `values` as float64 of that many dimensions, the first of which is rows.

    Raises:
        ValueError: if there are no rows, the shape is another, or a value is negative or not finite.
    """
    try:
        sizes = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is not a rectangular array of numbers") from None
    if sizes.ndim != dimensions or not sizes.size:
        needed = "one number" if dimensions == 1 else "a list of numbers"
        raise ValueError(f"{name} has shape {sizes.shape}; {needed} for each of one or more rows is needed")
    broken = np.argwhere(~(np.isfinite(sizes) & (sizes >= 0)))
    if broken.size:
        raise ValueError(
            f"{name} holds {sizes[tuple(broken[0])]} in row {broken[0][0]}; finite numbers from 0 are needed"
        )
    return sizes
