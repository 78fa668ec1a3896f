"""Likeness of generated texts to their references: ROUGE-L over stems of English words, as MU-Bench counts them."""

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

from .checks import score_or_reason
from .rouge_l import row_scores as rows_of_words

DIRECTION = "higher"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2406.14796"
ALSO = ("rouge_1_stem", "rouge_2_stem")

_INPUTS = """
Args:
    predictions (list of str): generated texts.
    references (list of str): true texts.
Returns:
    rouge_l_stem (float or None): mean F-measure over longest common subsequences of stems, in [0, 1].
    rouge_1_stem, rouge_2_stem (float): mean F-measure over single stems and over pairs of neighbouring ones, in [0, 1].
    rouge_l_stem_reason (str): why there is no score; present only if it is None.
"""


def row_scores(predictions: Sequence[str], references: Sequence[str]) -> dict[str, np.ndarray]:
    """F-measures of each row: `rouge_l_stem`, `rouge_1_stem` and `rouge_2_stem`, float64 [n] in [0, 1].

    Raises:
        ValueError: if there are no rows, the numbers of rows differ, something is no text, or neither text of a row has
            a word.
    """
    rows = rows_of_words(predictions, references, stemmer=True)
    return {f"{name}_stem": scores for name, scores in rows.items()}


def rouge_l_stem(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """ROUGE-L, ROUGE-1 and ROUGE-2 over stems; higher is better on D_r and D_test.

    As `rouge_l`, but words of more than three letters are compared by their stems (Porter's, for English), so that
    inflected forms are equal. This is how MU-Bench scores texts. On D_f the retrained model's value is the target.

    Args:
        predictions: str [n], generated texts.
        references: str [n], true texts.

    Returns:
        `rouge_l_stem`, `rouge_1_stem` and `rouge_2_stem` in [0, 1].

    Raises:
        ValueError: if there are no rows, the numbers of rows differ, something is no text, or neither text of a row has
            a word.

    Source: arXiv 2406.14796 (scores of summaries); Lin 2004, ACL W04-1013.
    """
    return {name: float(np.mean(rows)) for name, rows in row_scores(predictions, references).items()}


class RougeLStem(evaluate.Metric):
    """`evaluate` face of `rouge_l_stem`."""

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
        return score_or_reason(rouge_l_stem, predictions, references)
