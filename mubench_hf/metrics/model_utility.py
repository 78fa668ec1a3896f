"""Harmonic mean of what should stay high: score and probability of the truth, on D_r and on the test set."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax

from .checks import by_group, check_labels, check_logits, check_share, score_or_reason

DIRECTION = "higher"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2401.06121"
HEADER = "Utility"
PLACE = 120

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits of the model, C >= 2 values per row.
    references (list of int): the class that is true, 0 to C - 1.
    scores (list of float): the task's own score of each row, in [0, 1].
    groups (list of str): `retain` or `test` for each row; rows of `forget` are not used.
Returns:
    model_utility (float or None): harmonic mean, in [0, 1].
    model_utility_reason (str): why there is no score; present only if it is None.
"""


def model_utility(
    retain_score: float,
    retain_logits: ArrayLike,
    retain_labels: ArrayLike,
    test_score: float,
    test_logits: ArrayLike,
    test_labels: ArrayLike,
) -> dict[str, float]:
    """Model utility; higher is better.

    The harmonic mean of four numbers: the task's own score and the mean probability of the truth, on D_r and on the
    test set. It is 0 as soon as one of them is.

    Args:
        retain_score: the task's own score on D_r, in [0, 1].
        retain_logits: float [n_r, C], unnormalised, finite, C >= 2; of texts, two classes: the truth and all else.
        retain_labels: int [n_r], 0 to C - 1.
        test_score: the task's own score on the test set, in [0, 1].
        test_logits: float [n_t, C].
        test_labels: int [n_t].

    Returns:
        `model_utility` in [0, 1].

    Raises:
        ValueError: if a score is outside [0, 1], a set has no rows, shapes do not fit, a logit is not finite or a label
            is no class index.

    Source: arXiv 2401.06121 (there of nine numbers: ROUGE-L recall, probability and truth ratio on three sets).
    """
    parts = [
        check_share("retain_score", retain_score),
        check_share("test_score", test_score),
        _probability("retain", retain_logits, retain_labels),
        _probability("test", test_logits, test_labels),
    ]
    return {"model_utility": 0.0 if min(parts) == 0 else float(len(parts) / np.sum(1 / np.array(parts)))}


def _probability(split: str, logits: ArrayLike, labels: ArrayLike) -> float:
    """Mean probability of the truth on a set."""
    logits = check_logits(f"{split}_logits", logits)
    labels = check_labels(f"{split}_labels", labels, logits)
    return float(np.mean(softmax(logits, axis=1)[np.arange(len(labels)), labels]))


class ModelUtility(evaluate.Metric):
    """`evaluate` face of `model_utility`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("float64")),
                    "references": datasets.Value("int64"),
                    "scores": datasets.Value("float64"),
                    "groups": datasets.Value("string"),
                }
            ),
            reference_urls=["https://arxiv.org/abs/2401.06121"],
        )

    def _compute(self, predictions: list, references: list, scores: list[float], groups: list[str]) -> dict:
        rows = by_group(predictions, references, groups, names=("retain", "test"))
        for name in ("retain", "test"):
            own = [score for score, group in zip(scores, groups, strict=True) if group == name]
            rows[f"{name}_score"] = float(np.mean(own)) if own else None
        return score_or_reason(model_utility, **rows)
