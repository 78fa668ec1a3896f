"""Leak of membership beside the retrained model's, by Min-K%: below 0 too little was forgotten, above 0 too much."""

import datasets
import evaluate

from .checks import check_share, mean_over_runs

DIRECTION = "match_retrained"
RANGE = (-1.0, float("inf"))
SOURCE = "arXiv 2407.06460"
HEADER = "PrivLeak"
PLACE = 122

_COLUMNS = ("min_k", "retrain_min_k")
_INPUTS = """
Args:
    min_k (list of float): AUC of telling D_f from test texts by Min-K%, one value per run, in [0, 1].
    retrain_min_k (list of float): the same of the retrained model.
Returns:
    privleak (float or None): mean over the runs, at least -1.
    privleak_reason (str): why there is no score; present only if it is None.
"""


def privleak(min_k: float, retrain_min_k: float) -> dict[str, float]:
    """Privacy leakage; the best value is 0, the retrained model's.

    With A the AUC of telling test texts from D_f, which is 1 - min_k, (A - A of the retrained model) / A of the
    retrained model. Below 0 texts of D_f still look like members; above 0 they look like them less than texts that the
    model never saw, which tells that they were forgotten. Both arguments are single numbers.

    Args:
        min_k: AUC of the Min-K% attack on D_f against test texts, in [0, 1]; members are the positives.
        retrain_min_k: the same of the retrained model, below 1.

    Returns:
        `privleak`, at least -1; 0.05 is what the source prints as 5.

    Raises:
        ValueError: if an argument is missing (None or NaN) or outside [0, 1], or the retrained model's is 1.

    Source: arXiv 2407.06460, which tells D_f from texts held out, here from the test set.
    """
    own, retrained = check_share("min_k", min_k), check_share("retrain_min_k", retrain_min_k)
    if retrained == 1:
        raise ValueError("retrain_min_k is 1: D_f and test texts are told apart without training, so nothing leaks")
    return {"privleak": (retrained - own) / (1 - retrained)}


class Privleak(evaluate.Metric):
    """`evaluate` face of `privleak`: one row per run; the result is the mean over runs."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features({column: datasets.Value("float64") for column in _COLUMNS}),
            reference_urls=["https://arxiv.org/abs/2407.06460"],
        )

    def _compute(self, **columns: list) -> dict:
        return mean_over_runs(privleak, columns)
