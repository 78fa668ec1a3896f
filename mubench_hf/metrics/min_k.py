"""AUC of telling texts of D_f from test texts by the mean log-probability of their least likely tokens."""

import datasets
import evaluate
from numpy.typing import ArrayLike

from .attacks import attack_scores, check_positions, lowest_mean
from .checks import columns_by_group, score_or_reason

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2310.16789"
HEADER = "Min-K%"
PLACE = 73
ALSO = ("min_k_tpr_at_1fpr",)

_INPUTS = """
Args:
    predictions (list of list of float): log-probability of each token of each text.
    groups (list of str): "forget", "retain" or "test" for each text; retain texts are not used.
    k (float, default 0.2): share of a text's tokens that count, the least likely ones.
Returns:
    min_k (float or None): area under the attack's ROC curve, in [0, 1].
    min_k_tpr_at_1fpr (float or None): largest share of forget texts found together with at most 1% of the test
        texts, in [0, 1].
    min_k_reason (str): why there is no score; present only if both are None.
"""


def min_k(forget_token_log_probs: ArrayLike, test_token_log_probs: ArrayLike, *, k: float = 0.2) -> dict[str, float]:
    """AUC of the Min-K% Prob attack on D_f against test texts; the retrained model's value is the target.

    A text's score is the mean log-probability of its least likely tokens, a share k of them, rounded down, and one at
    least: a text that was trained on has few very unlikely tokens. The AUC is the chance that a text of D_f has a
    higher score than a test text, ties counted half.

    Args:
        forget_token_log_probs: float [n_f, positions], in nats, NaN where a position is not scored.
        test_token_log_probs: float [n_t, positions].
        k: in (0, 1].

    Returns:
        `min_k` in [0, 1], and `min_k_tpr_at_1fpr` in [0, 1], the largest true positive rate at a false positive rate of
        at most 1%.

    Raises:
        ValueError: if a group has no rows, a row no scored token, a value is infinite or above 0, or `k` out of range.

    Source: arXiv 2310.16789.
    """
    groups = {"forget_token_log_probs": forget_token_log_probs, "test_token_log_probs": test_token_log_probs}
    checked = [check_positions(name, values) for name, values in groups.items()]
    for name, values in zip(groups, checked, strict=True):
        if (values > 0).any():
            raise ValueError(f"{name} holds a number above 0, which is no log-probability")
    return attack_scores("min_k", *ALSO, *(lowest_mean(values, k) for values in checked))


class MinK(evaluate.Metric):
    """`evaluate` face of `min_k`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Sequence(datasets.Value("float64")), "groups": datasets.Value("string")}
            ),
            reference_urls=["https://arxiv.org/abs/2310.16789"],
        )

    def _compute(self, predictions: list, groups: list[str], k: float = 0.2) -> dict:
        rows = columns_by_group({"token_log_probs": predictions}, groups, names=("forget", "test"))
        return {name: None for name in ALSO} | score_or_reason(min_k, **rows, k=k)
