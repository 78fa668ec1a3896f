"""How much likelier the right answer is than wrong ones of the same form; 0 if it is no likelier."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .answers import log_truth_ratios
from .checks import score_or_reason

DIRECTION = "higher"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2401.06121"

_INPUTS = """
Args:
    predictions (list of list of float): mean log-probability of the tokens of each wrong answer, one or more per row.
    references (list of float): the same of the right answer in other words.
Returns:
    truth_ratio (float or None): mean of max(0, 1 - R) over rows, in [0, 1].
    truth_ratio_reason (str): why there is no score; present only if it is None.
"""


def row_scores(paraphrased_log_probs: ArrayLike, perturbed_log_probs: ArrayLike) -> dict[str, np.ndarray]:
    """Score of each row: `truth_ratio`, float64 [n] in [0, 1].

    Raises:
        ValueError: if there are no rows or no wrong answers, shapes do not fit, or a value is above 0 or not finite.
    """
    ratios = log_truth_ratios("", paraphrased_log_probs, perturbed_log_probs)
    return {"truth_ratio": -np.expm1(np.minimum(ratios, 0))}


def truth_ratio(paraphrased_log_probs: ArrayLike, perturbed_log_probs: ArrayLike) -> dict[str, float]:
    """Truth ratio as a score; higher is better on D_r and the test set, and the retrained model's is the target on D_f.

    The mean over rows of max(0, 1 - R), where R = P(wrong) / P(right): P(right) is the geometric mean of the token
    probabilities of a right answer in other words than the row's, P(wrong) that of wrong answers of the same form,
    itself the geometric mean over them. 0 means that the model holds wrong answers for at least as likely.

    Args:
        paraphrased_log_probs: float [n], mean log-probability of the tokens of the right answer in other words.
        perturbed_log_probs: float [n, answers], the same of each wrong answer.

    Returns:
        `truth_ratio` in [0, 1].

    Raises:
        ValueError: if there are no rows or no wrong answers, shapes do not fit, or a value is above 0 or not finite.

    Source: arXiv 2401.06121. The mean over wrong answers is geometric as in the authors' code, with which all published
    numbers were made; the paper's equation has the arithmetic one.
    """
    return {"truth_ratio": float(np.mean(row_scores(paraphrased_log_probs, perturbed_log_probs)["truth_ratio"]))}


class TruthRatio(evaluate.Metric):
    """`evaluate` face of `truth_ratio`."""

    def _info(self) -> evaluate.MetricInfo:
        number = datasets.Value("float64")
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": datasets.Sequence(number), "references": number}),
            reference_urls=["https://arxiv.org/abs/2401.06121"],
        )

    def _compute(self, predictions: list, references: list) -> dict:
        return score_or_reason(truth_ratio, references, predictions)
