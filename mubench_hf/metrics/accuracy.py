"""Share of rows whose largest logit belongs to the true class."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .checks import check_labels, check_logits, score_or_reason

DIRECTION = "higher"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2406.14796"

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits, one row of C >= 2 values per sample.
    references (list of int): true classes, 0 to C - 1.
Returns:
    accuracy (float or None): share of correct rows, in [0, 1].
    accuracy_reason (str): why there is no score; present only if it is None.
"""


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
    return {"accuracy": float(np.mean(_right(logits, labels)))}


def row_effects(logits: ArrayLike, labels: ArrayLike) -> dict[str, np.ndarray]:
    """Return for each row whether it is right, 0 or 1; arguments and errors are those of `accuracy`."""
    return {"accuracy": _right(logits, labels).astype(float)}


def _right(logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    logits = check_logits("logits", logits)
    return logits.argmax(axis=1) == check_labels("labels", labels, logits)


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
        return score_or_reason(accuracy, predictions, references)
