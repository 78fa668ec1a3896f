"""What the metrics share: checks of their inputs, and the step from a pure function to what `evaluate` returns.

`evaluate.load` and a published Space copy this file along with a metric that says `from .checks import ...`. Like the
metrics, it imports nothing of the package.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

GROUPS = ("forget", "retain", "test")


def check_logits(name: str, values: ArrayLike) -> np.ndarray:
    """Return `values` as float64 [n, C].

    Raises:
        ValueError: if there are no rows or fewer than two classes, or the values are not rectangular or not finite.
    """
    try:
        logits = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is not a rectangular array of numbers; float [n, C] is needed") from None
    if logits.size == 0:
        raise ValueError(f"{name} is empty (shape {logits.shape}); at least one row is needed")
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(f"{name} has shape {logits.shape}; [n, C] with C >= 2 classes is needed")
    broken = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if broken.size:
        raise ValueError(
            f"{name} holds NaN or infinity in {broken.size} of {len(logits)} rows, first in row {broken[0]}; "
            "only finite logits are allowed"
        )
    return logits


def check_labels(name: str, values: ArrayLike, logits: np.ndarray) -> np.ndarray:
    """Return `values` as int64 [n] that index the columns of `logits`, float [n, C].

    Raises:
        ValueError: if there is not one integer per row of `logits`, or one is not a class index.
    """
    try:
        labels = np.asarray(values)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is not an array; int [n] is needed") from None
    if labels.shape != (len(logits),):
        raise ValueError(f"{name} has shape {labels.shape}; one label for each of {len(logits)} rows is needed")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{name} has dtype {labels.dtype}; integer class indices are needed")
    outside = labels[(labels < 0) | (labels >= logits.shape[1])]
    if outside.size:
        raise ValueError(f"{name} holds {outside[0]}; class indices 0 to {logits.shape[1] - 1} are allowed")
    return labels.astype(np.int64)


def check_same_classes(**groups: ArrayLike) -> None:
    """Check that the logits of all groups, float [n, C] each, have the same number of classes.

    Raises:
        ValueError: if they differ.
    """
    classes = {name: np.shape(logits)[1] for name, logits in groups.items()}
    if len(set(classes.values())) > 1:
        raise ValueError(f"Numbers of classes differ, {classes}; logits of one model are needed")


def check_same_shape(**models: np.ndarray) -> None:
    """Check that two models' logits, float [n, C] each, have one shape.

    Raises:
        ValueError: if they differ.
    """
    (name, own), (other_name, other) = models.items()
    if own.shape != other.shape:
        raise ValueError(
            f"{name} has shape {own.shape} and {other_name} {other.shape}; the same rows and classes are needed"
        )


def check_share(name: str, value: float) -> float:
    """Return `value` as a float in [0, 1].

    Raises:
        ValueError: if it is not such a number; None and NaN are not.
    """
    try:
        share = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}; a number in [0, 1] is needed") from None
    if not 0.0 <= share <= 1.0:  # also catches NaN
        raise ValueError(f"{name} is {share}; a number in [0, 1] is needed")
    return share


def check_shares(name: str, values: ArrayLike) -> np.ndarray:
    """Return `values` as float64 [n] in [0, 1].

    Raises:
        ValueError: if there are no rows, more than one number per row, or one outside [0, 1].
    """
    try:
        shares = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is not an array of numbers; float [n] is needed") from None
    if shares.ndim != 1 or not shares.size:
        raise ValueError(f"{name} has shape {shares.shape}; one number for each of one or more rows is needed")
    broken = np.flatnonzero(~((shares >= 0) & (shares <= 1)))  # also NaN
    if broken.size:
        raise ValueError(f"{name} is {shares[broken[0]]} in row {broken[0]}; numbers in [0, 1] are needed")
    return shares


def check_seed(value: int, name: str = "seed", least: int = 0) -> int:
    """Return `value` as an int of at least `least`, 0 or 1.

    Raises:
        ValueError: if it is not such a number.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r}; a {'positive' if least else 'non-negative'} integer is needed")
    return int(value)


def by_group(predictions: list, references: list, groups: list[str], names: tuple[str, ...]) -> dict[str, list]:
    """Return the arguments `<name>_logits` and `<name>_labels` of a metric from rows that each carry their group.

    Args:
        predictions: logits of each row, [n, C].
        references: true class of each row, [n].
        groups: `forget`, `retain` or `test` for each row, [n].
        names: groups to return.

    Raises:
        ValueError: if a group is none of the three.
    """
    return columns_by_group({"logits": predictions, "labels": references}, groups, names)


def columns_by_group(columns: dict[str, list], groups: list[str], names: tuple[str, ...]) -> dict[str, list]:
    """Return the arguments `<name>_<column>` of a metric from columns whose rows each carry their group.

    Args:
        columns: name of each column → its values, one per row.
        groups: `forget`, `retain` or `test` for each row, [n].
        names: groups to return.

    Raises:
        ValueError: if a group is none of the three.
    """
    unknown = sorted({str(group) for group in groups} - set(GROUPS))
    if unknown:
        raise ValueError(f"Unknown groups {unknown}; allowed are {list(GROUPS)}")
    return {
        f"{name}_{column}": [value for value, group in zip(values, groups, strict=True) if group == name]
        for name in names
        for column, values in columns.items()
    }


def score_or_reason(metric: Callable[..., dict], *args: object, **options: object) -> dict:
    """Return what a pure function returns; if it raises a ValueError, `None` under its name, and the reason."""
    try:
        return metric(*args, **options)
    except ValueError as error:
        return {metric.__name__: None, f"{metric.__name__}_reason": str(error)}


def mean_over_runs(metric: Callable[..., dict], columns: dict[str, list], **options: object) -> dict:
    """Return the mean over runs of a pure function of single numbers, one row per run, or `None` and the reason.

    Args:
        metric: The pure function.
        columns: Parameter name → its value in each run.
        options: Arguments that all runs share.
    """
    name, scores = metric.__name__, []
    for run, values in enumerate(zip(*columns.values(), strict=True)):
        try:
            scores.append(metric(**dict(zip(columns, values, strict=True)), **options)[name])
        except ValueError as error:
            return {name: None, f"{name}_reason": f"run {run}: {error}"}
    if not scores:
        return {name: None, f"{name}_reason": "No runs were given; at least one is needed"}
    return {name: float(np.mean(scores))}
