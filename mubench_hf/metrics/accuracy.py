"""Share of rows whose largest logit belongs to the true class."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

DIRECTION = "higher"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2406.14796"

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits, one row of C >= 2 values a sample.
    references (list of int): true classes, 0 to C - 1.
Returns:
    accuracy (float or None): share of correct rows, in [0, 1].
    accuracy_reason (str): why there is no score; present only if it is None.
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


def accuracy(logits: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Accuracy of the largest logit. Higher is better on D_r and D_test; on D_f the retrained model's is the target.

    Among equal largest logits the first class counts as predicted.

    Args:
        logits: float [n, C], unnormalised, finite, C >= 2.
        labels: int [n], 0 to C - 1.

    Returns:
        `accuracy` in [0, 1].

    Raises:
        ValueError: if there are no rows, shapes do not fit, a logit is not finite or a label is no class index.

    Source: arXiv 2406.14796 (scores on D_f, D_r and D_test).
    """
    logits = _check_logits("logits", logits)
    labels = _check_labels("labels", labels, logits)
    return {"accuracy": float(np.mean(logits.argmax(axis=1) == labels))}


class Accuracy(evaluate.Metric):
    """`evaluate` face of `accuracy`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Sequence(datasets.Value("float64")), "references": datasets.Value("int64")}
            ),
            reference_urls=["https://arxiv.org/abs/2406.14796"],
        )

    def _compute(self, predictions: list, references: list) -> dict:
        try:
            return accuracy(predictions, references)
        except ValueError as error:
            return {"accuracy": None, "accuracy_reason": str(error)}
