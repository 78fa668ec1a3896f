"""F1 score of each class, averaged over the classes that occur."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

DIRECTION = "higher"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 1911.03347"

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits, one row of C >= 2 values a sample.
    references (list of int): true classes, 0 to C - 1.
Returns:
    macro_f1 (float or None): mean of the F1 scores of the classes that are true or predicted somewhere, in [0, 1].
    macro_f1_reason (str): why there is no score; present only if it is None.
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


def macro_f1(logits: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Unweighted mean of each class's F1 score. Higher is better on D_r and D_test; on D_f retraining's is the target.

    The largest logit is the prediction, the first of equal ones. A class that is neither true nor predicted in any row
    has no F1 score and is left out of the mean, so that a mean over few rows may be one over few classes; a class that
    is only true or only predicted counts with 0.

    Args:
        logits: float [n, C], unnormalised, finite, C >= 2.
        labels: int [n], 0 to C - 1.

    Returns:
        `macro_f1` in [0, 1].

    Raises:
        ValueError: if there are no rows, shapes do not fit, a logit is not finite or a label is no class index.

    Source: arXiv 1911.03347 (the mean of F1 scores, not the F1 score of mean precision and recall).
    """
    logits = _check_logits("logits", logits)
    labels = _check_labels("labels", labels, logits)
    chosen, classes = logits.argmax(axis=1), logits.shape[1]
    hits = np.bincount(labels[chosen == labels], minlength=classes)
    rows = np.bincount(labels, minlength=classes) + np.bincount(chosen, minlength=classes)
    occurs = rows > 0
    return {"macro_f1": float(np.mean(2 * hits[occurs] / rows[occurs]))}


class MacroF1(evaluate.Metric):
    """`evaluate` face of `macro_f1`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Sequence(datasets.Value("float64")), "references": datasets.Value("int64")}
            ),
            reference_urls=["https://arxiv.org/abs/1911.03347"],
        )

    def _compute(self, predictions: list, references: list) -> dict:
        try:
            return macro_f1(predictions, references)
        except ValueError as error:
            return {"macro_f1": None, "macro_f1_reason": str(error)}
