"""AUC of telling rows of D_f from rows of D_r by whether the model gets them right."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2302.13406"
GROUPS = ("forget", "retain", "test")

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits, one row of C >= 2 values a sample.
    references (list of int): true classes, 0 to C - 1.
    groups (list of str): "forget", "retain" or "test" for each row; test rows are not used.
Returns:
    knowledge_gap (float or None): 0.5 + 0.5 * (accuracy on D_f - accuracy on D_r), in [0, 1].
    knowledge_gap_reason (str): why there is no score; present only if it is None.
"""


def _check_logits(name: str, values: ArrayLike) -> np.ndarray:
    """Return `values` as float64 [n, C], or raise a ValueError that says what does not fit."""
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


def _check_labels(name: str, values: ArrayLike, logits: np.ndarray) -> np.ndarray:
    """Return `values` as integers [n] that index the columns of `logits`, or raise a ValueError that says why not."""
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


def _check_shares(name: str, values: ArrayLike) -> np.ndarray:
    """Return `values` as float64 [n] in [0, 1], or raise a ValueError that says what does not fit."""
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


def _check_same_classes(**groups: ArrayLike) -> None:
    """Raise a ValueError unless the logits of all groups have the same number of classes."""
    classes = {name: np.shape(logits)[1] for name, logits in groups.items()}
    if len(set(classes.values())) > 1:
        raise ValueError(f"Numbers of classes differ, {classes}; logits of one model are needed")


def _by_group(predictions: list, references: list, groups: list[str], names: tuple[str, ...]) -> dict[str, list]:
    """Arguments `<name>_logits` and `<name>_labels` of the pure function, from rows that each carry their group."""
    unknown = sorted({str(group) for group in groups} - set(GROUPS))
    if unknown:
        raise ValueError(f"Unknown groups {unknown}; allowed are {list(GROUPS)}")
    columns = {"logits": predictions, "labels": references}
    return {
        f"{name}_{column}": [value for value, group in zip(values, groups, strict=True) if group == name]
        for name in names
        for column, values in columns.items()
    }


def knowledge_gap(
    forget_logits: ArrayLike,
    forget_labels: ArrayLike,
    retain_logits: ArrayLike,
    retain_labels: ArrayLike,
    forget_correctness: ArrayLike | None = None,
    retain_correctness: ArrayLike | None = None,
) -> dict[str, float]:
    """Gap in correctness between D_f and D_r; the retrained model's value is the target.

    The AUC, with "correct" as score and D_f as positive class, is the probability that a row of D_f is right where a
    row of D_r is wrong, plus half the probability that they agree, which is 0.5 + 0.5 * (acc_f - acc_r). 0.5 says that
    both sets are known equally well, 0 that all of D_r and nothing of D_f is known. Among equal largest logits the
    first class counts as predicted.

    Args:
        forget_logits: float [n_f, C], unnormalised, finite, C >= 2.
        forget_labels: int [n_f], 0 to C - 1.
        retain_logits: float [n_r, C].
        retain_labels: int [n_r].
        forget_correctness: float [n_f] in [0, 1], how right each row is, where that is a matter of degree (ROUGE of a
            text); logits and labels are then not read.
        retain_correctness: float [n_r] in [0, 1].

    Returns:
        `knowledge_gap` in [0, 1].

    Raises:
        ValueError: if a group has no rows, shapes do not fit, a logit is not finite or a label is no class index.

    Source: arXiv 2302.13406 (AUC between deleted and remaining elements; there by predicted probability of an edge).
    """
    if forget_correctness is not None and retain_correctness is not None:
        forget = _check_shares("forget_correctness", forget_correctness)
        retain = np.sort(_check_shares("retain_correctness", retain_correctness))
        # Rows of D_r that a row of D_f beats, and those that it beats or ties with.
        beaten, not_above = (np.searchsorted(retain, forget, side) for side in ("left", "right"))
        return {"knowledge_gap": float(np.mean(beaten + not_above) / (2 * len(retain)))}
    gap = _accuracy("forget", forget_logits, forget_labels) - _accuracy("retain", retain_logits, retain_labels)
    _check_same_classes(forget=forget_logits, retain=retain_logits)
    return {"knowledge_gap": float(0.5 + 0.5 * gap)}


def _accuracy(group: str, logits: ArrayLike, labels: ArrayLike) -> float:
    logits = _check_logits(f"{group}_logits", logits)
    labels = _check_labels(f"{group}_labels", labels, logits)
    return np.mean(logits.argmax(axis=1) == labels)


class KnowledgeGap(evaluate.Metric):
    """`evaluate` face of `knowledge_gap`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("float64")),
                    "references": datasets.Value("int64"),
                    "groups": datasets.Value("string"),
                }
            ),
            reference_urls=["https://arxiv.org/abs/2302.13406"],
        )

    def _compute(self, predictions: list, references: list, groups: list[str]) -> dict:
        rows = _by_group(predictions, references, groups, names=("forget", "retain"))
        try:
            return knowledge_gap(**rows)
        except ValueError as error:
            return {"knowledge_gap": None, "knowledge_gap_reason": str(error)}
