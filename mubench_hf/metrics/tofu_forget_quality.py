"""Whether truth ratios on D_f look like the retrained model's: log10 p of a Kolmogorov-Smirnov test; 0 if they do."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from .answers import log_truth_ratios
from .checks import score_or_reason

DIRECTION = "higher"
RANGE = (-float("inf"), 0.0)
SOURCE = "arXiv 2401.06121"
HEADER = "log10 FQ"
PLACE = 118

_INPUTS = """
Args:
    predictions (list of list of float): log-probabilities of the unlearned model on each row of D_f: first that of the
        right answer in other words, then those of one or more wrong answers, each the mean over its tokens.
    references (list of list of float): the same of the retrained model.
Returns:
    tofu_forget_quality (float or None): log10 of the p-value, at most 0.
    tofu_forget_quality_reason (str): why there is no score; present only if it is None.
"""


def tofu_forget_quality(
    forget_paraphrased_log_probs: ArrayLike,
    forget_perturbed_log_probs: ArrayLike,
    retrain_forget_paraphrased_log_probs: ArrayLike,
    retrain_forget_perturbed_log_probs: ArrayLike,
) -> dict[str, float]:
    """TOFU's forget quality; higher is better, and 0 means that truth ratios can't be told from the retrained model's.

    log10 of the p-value of the two-sided two-sample Kolmogorov-Smirnov test between the truth ratios of the unlearned
    and of the retrained model on D_f. The p-value is exact for any number of rows; as a logarithm it never underflows.

    Args:
        forget_paraphrased_log_probs: float [n_f], the unlearned model's mean log-probability of the tokens of the right
            answer in other words.
        forget_perturbed_log_probs: float [n_f, answers], the same of each wrong answer.
        retrain_forget_paraphrased_log_probs: float [n_f], the retrained model's.
        retrain_forget_perturbed_log_probs: float [n_f, answers], the retrained model's.

    Returns:
        `tofu_forget_quality`, in (-inf, 0].

    Raises:
        ValueError: if there are no rows or no wrong answers, shapes do not fit, or a value is above 0 or not finite.

    Source: arXiv 2401.06121 (log of the p-value, as in its figures).
    """
    own = log_truth_ratios("forget_", forget_paraphrased_log_probs, forget_perturbed_log_probs)
    other = log_truth_ratios(
        "retrain_forget_", retrain_forget_paraphrased_log_probs, retrain_forget_perturbed_log_probs
    )
    if np.shape(forget_perturbed_log_probs) != np.shape(retrain_forget_perturbed_log_probs):
        raise ValueError(
            f"forget_perturbed_log_probs has shape {np.shape(forget_perturbed_log_probs)} and "
            f"retrain_forget_perturbed_log_probs {np.shape(retrain_forget_perturbed_log_probs)}; the same answers to "
            "the same rows are needed"
        )
    return {"tofu_forget_quality": _log10_p(own, other)}


def _log10_p(own: np.ndarray, other: np.ndarray) -> float:
    """log10 of the exact p-value for two samples of one size n whose distribution functions differ by at most h / n.

    By reflection (Gnedenko and Korolyuk), p = 2 sum over k >= 1 of (-1)^(k + 1) C(2n, n + kh) / C(2n, n).
    """
    n = len(own)
    values = np.concatenate([own, other])
    counts = [np.searchsorted(np.sort(sample), values, side="right") for sample in (own, other)]
    step = int(np.abs(counts[0] - counts[1]).max())
    if step == 0:
        return 0.0
    far = np.arange(step, n + 1, step)
    terms = 2 * gammaln(n + 1) - gammaln(n + far + 1) - gammaln(n - far + 1)
    # The first term is the largest; relative to it nothing underflows.
    signs = np.where(np.arange(len(far)) % 2, -1.0, 1.0)
    relative = 2 * np.sum(signs * np.exp(terms - terms[0]))
    return float(min((terms[0] + np.log(relative)) / np.log(10), 0.0))


class TofuForgetQuality(evaluate.Metric):
    """`evaluate` face of `tofu_forget_quality`."""

    def _info(self) -> evaluate.MetricInfo:
        answers = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": answers, "references": answers}),
            reference_urls=["https://arxiv.org/abs/2401.06121"],
        )

    def _compute(self, predictions: list, references: list) -> dict:
        halves = ([row[:1] for row in rows] for rows in (predictions, references))
        right, right_retrained = ([value for row in half for value in row] for half in halves)
        wrong, wrong_retrained = ([row[1:] for row in rows] for rows in (predictions, references))
        return score_or_reason(tofu_forget_quality, right, wrong, right_retrained, wrong_retrained)
