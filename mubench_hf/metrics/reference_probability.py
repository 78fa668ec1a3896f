"""Mean probability that the model gives to the truth."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax

DIRECTION = "higher"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2401.06121"

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits, one row of C >= 2 values a sample.
    references (list of int): the class that is true, 0 to C - 1.
Returns:
    reference_probability (float or None): mean probability of the truth, in [0, 1].
    reference_probability_reason (str): why there is no score; present only if it is None.
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


def row_scores(logits: ArrayLike, labels: ArrayLike) -> dict[str, np.ndarray]:
    """Probability of each row's truth: `reference_probability`, float64 [n] in [0, 1].

    Raises:
        ValueError: if there are no rows, shapes do not fit, a logit is not finite or a label is no class index.
    """
    logits = _check_logits("logits", logits)
    labels = _check_labels("labels", labels, logits)
    return {"reference_probability": softmax(logits, axis=1)[np.arange(len(labels)), labels]}


def reference_probability(logits: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Mean probability of the truth; higher is better on D_r and D_test.

    For a text, whose truth is a sequence, a row is two classes: the truth, with the geometric mean of its tokens'
    probabilities, exp(-mean cross-entropy), and all else. On D_f the retrained model's value is the target.

    Args:
        logits: float [n, C], unnormalised, finite, C >= 2.
        labels: int [n], 0 to C - 1.

    Returns:
        `reference_probability` in [0, 1].

    Raises:
        ValueError: if there are no rows, shapes do not fit, a logit is not finite or a label is no class index.

    Source: arXiv 2401.06121 (probability of an answer, to the power of one over its length).
    """
    return {"reference_probability": float(np.mean(row_scores(logits, labels)["reference_probability"]))}


class ReferenceProbability(evaluate.Metric):
    """`evaluate` face of `reference_probability`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Sequence(datasets.Value("float64")), "references": datasets.Value("int64")}
            ),
            reference_urls=["https://arxiv.org/abs/2401.06121"],
        )

    def _compute(self, predictions: list, references: list) -> dict:
        try:
            return reference_probability(predictions, references)
        except ValueError as error:
            return {"reference_probability": None, "reference_probability_reason": str(error)}
