"""Mean probability that the model gives to the truth."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax

from .checks import check_labels, check_logits, score_or_reason

DIRECTION = "higher"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2401.06121"

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits, one row of C >= 2 values per sample.
    references (list of int): the class that is true, 0 to C - 1.
Returns:
    reference_probability (float or None): mean probability of the truth, in [0, 1].
    reference_probability_reason (str): why there is no score; present only if it is None.
"""


def row_scores(logits: ArrayLike, labels: ArrayLike) -> dict[str, np.ndarray]:
    """Probability of each row's truth: `reference_probability`, float64 [n] in [0, 1].

    Raises:
        ValueError: if there are no rows, shapes do not fit, a logit is not finite or a label is no class index.
    """
    logits = check_logits("logits", logits)
    labels = check_labels("labels", labels, logits)
    return {"reference_probability": softmax(logits, axis=1)[np.arange(len(labels)), labels]}


def reference_probability(logits: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Mean probability of the truth; higher is better on D_r and D_test.

    For a text, whose truth is a sequence, a row has two classes: all else, and the truth, whose probability is the
    geometric mean over its tokens, exp(-mean cross-entropy). On D_f the retrained model's value is the target.

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
        return score_or_reason(reference_probability, predictions, references)
