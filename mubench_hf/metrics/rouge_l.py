"""Likeness of generated texts to their references: F-measure of the longest common subsequence of words."""

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np
from rouge_score import rouge_scorer

from .checks import score_or_reason

DIRECTION = "higher"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2406.14796"
ALSO = ("rouge_1", "rouge_2")

_NAMES = {"rouge_l": "rougeL", "rouge_1": "rouge1", "rouge_2": "rouge2"}
_INPUTS = """
Args:
    predictions (list of str): generated texts.
    references (list of str): true texts.
Returns:
    rouge_l (float or None): mean F-measure over longest common subsequences of words, in [0, 1].
    rouge_1, rouge_2 (float): mean F-measure over single words and over pairs of neighbouring words, in [0, 1].
    rouge_l_reason (str): why there is no score; present only if it is None.
"""


def _check_texts(predictions: Sequence[str], references: Sequence[str]) -> None:
    """Raise a ValueError unless there is one text for each reference, and at least one."""
    if len(predictions) != len(references):
        raise ValueError(f"there are {len(predictions)} predictions for {len(references)} references")
    if not len(predictions):
        raise ValueError("predictions and references are empty; at least one row is needed")
    for name, texts in (("predictions", predictions), ("references", references)):
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise ValueError(f"{name} holds {text!r} in row {row}; texts are needed")


def row_scores(predictions: Sequence[str], references: Sequence[str]) -> dict[str, np.ndarray]:
    """F-measures of each row: `rouge_l`, `rouge_1` and `rouge_2`, float64 [n] in [0, 1].

    Raises:
        ValueError: if there are no rows, the numbers of rows differ or something is no text.
    """
    _check_texts(predictions, references)
    scorer = rouge_scorer.RougeScorer(list(_NAMES.values()), use_stemmer=False)
    rows = [scorer.score(str(true), str(said)) for said, true in zip(predictions, references, strict=True)]
    return {name: np.array([row[theirs].fmeasure for row in rows]) for name, theirs in _NAMES.items()}


def rouge_l(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """ROUGE-L, with ROUGE-1 and ROUGE-2 beside it; higher is better on D_r and D_test.

    Computed by the package `rouge_score`: lower case, words of letters and digits, no stemming; the mean over rows of
    the F-measure. A text without a word has the score 0. On D_f the retrained model's value is the target.

    Args:
        predictions: str [n], generated texts.
        references: str [n], true texts.

    Returns:
        `rouge_l`, `rouge_1` and `rouge_2` in [0, 1].

    Raises:
        ValueError: if there are no rows, the numbers of rows differ or something is no text.

    Source: arXiv 2406.14796 (scores of summaries); Lin 2004, ACL W04-1013.
    """
    return {name: float(np.mean(rows)) for name, rows in row_scores(predictions, references).items()}


class RougeL(evaluate.Metric):
    """`evaluate` face of `rouge_l`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
            reference_urls=["https://aclanthology.org/W04-1013"],
        )

    def _compute(self, predictions: list, references: list) -> dict:
        return score_or_reason(rouge_l, predictions, references)
