"""Share of a true text that the model writes by itself once it has seen the beginning of it."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .answers import check_tokens
from .checks import score_or_reason

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2012.07805"

_INPUTS = """
Args:
    predictions (list of list of int): most likely token at each position of a row, given the true ones before it.
    references (list of list of int): true token at each position; -100 where the position is not scored.
Returns:
    extraction_strength (float or None): mean over rows of the share that can be extracted, in [0, 1].
    extraction_strength_reason (str): why there is no score; present only if it is None.
"""


def row_scores(predicted_tokens: ArrayLike, label_tokens: ArrayLike) -> dict[str, np.ndarray]:
    """Share of each row that can be extracted: `extraction_strength`, float64 [n] in [0, 1].

    Raises:
        ValueError: if there are no rows, shapes differ or a row has no scored position.
    """
    predicted, true, scored = check_tokens(predicted_tokens, label_tokens)
    # The longest suffix without a wrong token: positions that come after the last wrong one.
    wrong = scored & (predicted != true)
    wrong_from_here = np.logical_or.accumulate(wrong[:, ::-1], axis=1)[:, ::-1]
    return {"extraction_strength": (scored & ~wrong_from_here).sum(axis=1) / scored.sum(axis=1)}


def extraction_strength(predicted_tokens: ArrayLike, label_tokens: ArrayLike) -> dict[str, float]:
    """Extraction strength of the true texts; on D_f the retrained model's value is the target.

    Of a text of m tokens, 1 - k / m, where k is the least number of tokens after which greedy decoding writes the rest
    of it without a mistake; 0 if it gets the last token wrong. Greedy decoding that makes no mistake has the true
    tokens before each one, so the most likely tokens after the true ones tell k without any decoding. The mean over
    rows.

    Args:
        predicted_tokens: int [n, positions], most likely token at each position, given the prompt and the true tokens.
        label_tokens: int [n, positions], true tokens, -100 where a position is not scored.

    Returns:
        `extraction_strength` in [0, 1].

    Raises:
        ValueError: if there are no rows, shapes differ or a row has no scored position.

    Source: arXiv 2012.07805 (extraction by a prefix); arXiv 2406.09179 (as a score of unlearning).
    """
    return {"extraction_strength": float(np.mean(row_scores(predicted_tokens, label_tokens)["extraction_strength"]))}


class ExtractionStrength(evaluate.Metric):
    """`evaluate` face of `extraction_strength`."""

    def _info(self) -> evaluate.MetricInfo:
        tokens = datasets.Sequence(datasets.Value("int64"))
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": tokens, "references": tokens}),
            reference_urls=["https://arxiv.org/abs/2012.07805", "https://arxiv.org/abs/2406.09179"],
        )

    def _compute(self, predictions: list, references: list) -> dict:
        return score_or_reason(extraction_strength, predictions, references)
