"""Share of a reference's tokens that are the model's most likely ones after the true tokens before them."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .answers import check_tokens
from .checks import score_or_reason

DIRECTION = "higher"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2406.14796"

_INPUTS = """
Args:
    predictions (list of list of int): most likely token at each position of a row.
    references (list of list of int): true token at each position; -100 where the position is not scored.
Returns:
    token_accuracy (float or None): mean over rows of the share of right tokens, in [0, 1].
    token_accuracy_reason (str): why there is no score; present only if it is None.
"""


def row_scores(predicted_tokens: ArrayLike, label_tokens: ArrayLike) -> dict[str, np.ndarray]:
    """Share of right tokens in each row: `token_accuracy`, float64 [n] in [0, 1].

    Raises:
        ValueError: if there are no rows, shapes differ or a row has no scored position.
    """
    predicted, true, scored = check_tokens(predicted_tokens, label_tokens)
    return {"token_accuracy": ((predicted == true) & scored).sum(axis=1) / scored.sum(axis=1)}


def token_accuracy(predicted_tokens: ArrayLike, label_tokens: ArrayLike) -> dict[str, float]:
    """Token accuracy with the true tokens before each one given; higher is better on D_r and D_test.

    The mean over rows of each row's share, so that a long row counts as much as a short one. On D_f the retrained
    model's value is the target.

    Args:
        predicted_tokens: int [n, positions], most likely token at each position.
        label_tokens: int [n, positions], true tokens, -100 where a position is not scored.

    Returns:
        `token_accuracy` in [0, 1].

    Raises:
        ValueError: if there are no rows, shapes differ or a row has no scored position.

    Source: arXiv 2406.14796 (a score of D_f, D_r and D_test).
    """
    return {"token_accuracy": float(np.mean(row_scores(predicted_tokens, label_tokens)["token_accuracy"]))}


class TokenAccuracy(evaluate.Metric):
    """`evaluate` face of `token_accuracy`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("int64")),
                    "references": datasets.Sequence(datasets.Value("int64")),
                }
            ),
            reference_urls=["https://arxiv.org/abs/2406.14796"],
        )

    def _compute(self, predictions: list, references: list) -> dict:
        return score_or_reason(token_accuracy, predictions, references)
