"""What metrics share that read many models: each row's log-odds under a model, and Gaussians of a row over models.

`evaluate.load` and a published Space copy this file along with a metric that says `from .populations import ...`. Like
the metrics, it imports nothing of the package but the checks.
"""

import numpy as np
from numpy.typing import ArrayLike

from .checks import check_labels, check_logits


def log_odds(group: str, logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Return log(p / (1 - p)) of each row's true class, float64 [n]: its logit minus the logsumexp of the others.

    Also called the row's margin. It is finite where the probability itself would round to 1.

    Args:
        group: what the rows are called: `<group>_logits` and `<group>_labels`.
        logits: float [n, C], unnormalised, finite, C >= 2.
        labels: int [n], 0 to C - 1.

    Raises:
        ValueError: as `check_logits` and `check_labels`.
    """
    logits = check_logits(f"{group}_logits", logits)
    labels = check_labels(f"{group}_labels", labels, logits)
    own = np.zeros(logits.shape, dtype=bool)
    own[np.arange(len(labels)), labels] = True
    others = logits[~own].reshape(len(labels), -1)
    highest = others.max(axis=1)
    return logits[own] - highest - np.log(np.exp(others - highest[:, None]).sum(axis=1))


def check_population(name: str, values: ArrayLike, rows: int | None = None) -> np.ndarray:
    """Return `values` as float64 [models, n], what each model of a population says of each row.

    Args:
        name: what the values are called.
        values: the values.
        rows: n, if it is known.

    Raises:
        ValueError: if there is no model or no row, there are not `rows` rows, or a value is not finite.
    """
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is not a rectangular array of numbers; float [models, n] is needed") from None
    if found.ndim != 2 or not found.size or found.shape[1] != (rows or found.shape[1]):
        raise ValueError(
            f"{name} has shape {found.shape}; [models, {rows or 'n'}] with one or more models and rows is needed"
        )
    if not np.isfinite(found).all():
        model, row = np.argwhere(~np.isfinite(found))[0]
        raise ValueError(f"{name} holds NaN or infinity, first of model {model} in row {row}; finite values are needed")
    return found


def check_membership(name: str, values: ArrayLike, population: np.ndarray) -> np.ndarray:
    """Return `values` as bool [models, n]: whether each model of `population` was trained on each row.

    Raises:
        ValueError: if the shape is another, or they are neither truths nor 0 and 1.
    """
    found = np.asarray(values)
    if found.shape != population.shape:
        raise ValueError(f"{name} has shape {found.shape}; that of the population, {population.shape}, is needed")
    if found.dtype.kind not in "biu" or not np.isin(found, (0, 1)).all():
        raise ValueError(f"{name} has dtype {found.dtype}; truths are needed")
    return found.astype(bool)


def row_gaussians(
    values: np.ndarray, chosen: np.ndarray, what: str, variance_floor: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of each row over some of the models, float64 [n] each.

    Args:
        values: float [models, n], as `check_population` returns them.
        chosen: bool [models, n], which models count for a row.
        what: what these models did, for a message.
        variance_floor: least variance of a row, as a share of the mean variance over rows.

    Raises:
        ValueError: if the floor is not a number above 0, fewer than two models count for a row, or nothing varies.
    """
    if not isinstance(variance_floor, int | float | np.number) or not 0 < variance_floor < np.inf:
        raise ValueError(f"variance_floor is {variance_floor!r}; a number above 0 is needed")
    counts = chosen.sum(axis=0)
    if (few := np.flatnonzero(counts < 2)).size:
        raise ValueError(
            f"{few.size} of {len(counts)} rows have fewer than two shadow models that {what}, first row {few[0]} "
            f"({counts[few[0]]}); make more shadow models"
        )
    mean = np.sum(values, axis=0, where=chosen) / counts
    variance = np.sum((values - mean) ** 2, axis=0, where=chosen) / (counts - 1)
    if not variance.mean() > 0:
        raise ValueError(f"All shadow models that {what} give each row the same log-odds; nothing varies")
    return mean, np.maximum(variance, variance_floor * variance.mean())


def as_logits(odds: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return log-odds [n] as logits [n, 2] and labels [n] of two classes, whose `log_odds` they are."""
    values = np.asarray(odds, dtype=np.float64)
    return np.stack([values, np.zeros(len(values))], axis=1), np.zeros(len(values), dtype=np.int64)


def by_model(rows: list[list[float]], *, member: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return what models say of each row, some numbers a row, as `<name>_log_odds` and `<name>_member`, [models, n].

    Args:
        rows: for each row the values under the models that count for it.
        member: whether these were trained on it; where a row has fewer, the others were the opposite and say 0.
    """
    models = max(map(len, rows), default=0)
    values, members = np.zeros((models, len(rows))), np.full((models, len(rows)), not member)
    for row, given in enumerate(rows):
        values[: len(given), row] = given
        members[: len(given), row] = member
    return values, members
