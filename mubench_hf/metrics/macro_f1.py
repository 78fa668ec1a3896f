"""F1 score of each class, averaged over the classes that occur."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .checks import check_labels, check_logits, score_or_reason

DIRECTION = "higher"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 1911.03347"

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits, one row of C >= 2 values per sample.
    references (list of int): true classes, 0 to C - 1.
Returns:
    macro_f1 (float or None): mean of the F1 scores of the classes that are true or predicted somewhere, in [0, 1].
    macro_f1_reason (str): why there is no score; present only if it is None.
"""


def macro_f1(logits: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Unweighted mean of each class's F1 score. Higher is better on D_r and D_test; on D_f retraining's is the target.

    The largest logit is the prediction; among equal ones, the first. A class that is neither true nor predicted in any
    row has no F1 score and is left out, so with few rows the mean may be over few classes; a class that is only true or
    only predicted counts as 0.

    Args:
        logits: float [n, C], unnormalised, finite, C >= 2.
        labels: int [n], 0 to C - 1.

    Returns:
        `macro_f1` in [0, 1].

    Raises:
        ValueError: if there are no rows, shapes do not fit, a logit is not finite or a label is no class index.

    Source: arXiv 1911.03347 (the mean of F1 scores, not the F1 score of mean precision and recall).
    """
    logits = check_logits("logits", logits)
    labels = check_labels("labels", labels, logits)
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
        return score_or_reason(macro_f1, predictions, references)
