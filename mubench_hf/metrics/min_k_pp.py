"""AUC of telling texts of D_f from test texts by their least likely tokens, each beside what else could stand there."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .attacks import attack_scores, check_positions, lowest_mean
from .checks import columns_by_group, score_or_reason

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2404.02936"
HEADER = "Min-K%++"
PLACE = 74
ALSO = ("min_k_pp_tpr_at_1fpr",)

LEAST_STD = 1e-3
"""Least standard deviation that a token's log-probability is divided by: a certain model has none."""

_COLUMNS = ("token_log_probs", "token_log_prob_means", "token_log_prob_stds")
_INPUTS = """
Args:
    predictions (list of list of float): log-probability of each token of each text.
    means (list of list of float): at each token, the mean log-probability under the model's own distribution there.
    stds (list of list of float): its standard deviation.
    groups (list of str): "forget", "retain" or "test" for each text; retain texts are not used.
    k (float, default 0.2): share of a text's tokens that count, the lowest ones.
Returns:
    min_k_pp (float or None): area under the attack's ROC curve, in [0, 1].
    min_k_pp_tpr_at_1fpr (float or None): largest share of forget texts found together with at most 1% of the test
        texts, in [0, 1].
    min_k_pp_reason (str): why there is no score; present only if both are None.
"""


def min_k_pp(
    forget_token_log_probs: ArrayLike,
    forget_token_log_prob_means: ArrayLike,
    forget_token_log_prob_stds: ArrayLike,
    test_token_log_probs: ArrayLike,
    test_token_log_prob_means: ArrayLike,
    test_token_log_prob_stds: ArrayLike,
    *,
    k: float = 0.2,
) -> dict[str, float]:
    """AUC of the Min-K%++ attack on D_f against test texts; the retrained model's value is the target.

    A token's value is (log p - mean) / standard deviation, where mean and deviation are those of the log-probability of
    a token that the model itself draws there: at least how likely the true token is among all that could stand in its
    place. A text's score is the mean of its lowest values, a share k of them, rounded down, and one at least.

    Args:
        forget_token_log_probs: float [n_f, positions], in nats, NaN where a position is not scored.
        forget_token_log_prob_means: float [n_f, positions].
        forget_token_log_prob_stds: float [n_f, positions], at least 0; smaller ones count as 0.001.
        test_token_log_probs: float [n_t, positions].
        test_token_log_prob_means: float [n_t, positions].
        test_token_log_prob_stds: float [n_t, positions].
        k: in (0, 1].

    Returns:
        `min_k_pp` in [0, 1], and `min_k_pp_tpr_at_1fpr` in [0, 1], the largest true positive rate at a false positive
        rate of at most 1%.

    Raises:
        ValueError: if a group has no rows, a row no scored token, the three differ in what is scored, a value is
            infinite, a deviation negative, or `k` out of range.

    Source: arXiv 2404.02936.
    """
    forget = _normalised("forget", forget_token_log_probs, forget_token_log_prob_means, forget_token_log_prob_stds)
    test = _normalised("test", test_token_log_probs, test_token_log_prob_means, test_token_log_prob_stds)
    return attack_scores("min_k_pp", *ALSO, lowest_mean(forget, k), lowest_mean(test, k))


def _normalised(group: str, *columns: ArrayLike) -> np.ndarray:
    """(log p - mean) / std of each token, float64 [n, positions], NaN where none is scored."""
    names = [f"{group}_{column}" for column in _COLUMNS]
    values, means, stds = (check_positions(name, column) for name, column in zip(names, columns, strict=True))
    for name, other in zip(names[1:], (means, stds), strict=True):
        if other.shape != values.shape or (np.isnan(other) != np.isnan(values)).any():
            raise ValueError(
                f"{name} has values at other positions than {names[0]}; one for each scored token is needed"
            )
    if (stds < 0).any():
        raise ValueError(f"{names[2]} holds a number below 0, which is no standard deviation")
    return (values - means) / np.maximum(stds, LEAST_STD)


class MinKPp(evaluate.Metric):
    """`evaluate` face of `min_k_pp`."""

    def _info(self) -> evaluate.MetricInfo:
        numbers = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": numbers, "means": numbers, "stds": numbers, "groups": datasets.Value("string")}
            ),
            reference_urls=["https://arxiv.org/abs/2404.02936"],
        )

    def _compute(self, predictions: list, means: list, stds: list, groups: list[str], k: float = 0.2) -> dict:
        columns = dict(zip(_COLUMNS, (predictions, means, stds), strict=True))
        rows = columns_by_group(columns, groups, names=("forget", "test"))
        return {name: None for name in ALSO} | score_or_reason(min_k_pp, **rows, k=k)
