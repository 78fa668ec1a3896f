"""Mean absolute difference to the retrained model over D_f, D_r, test and membership inference."""

import datasets
import evaluate
import numpy as np

from .checks import check_share, mean_over_runs

DIRECTION = "lower"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2310.12508"
HEADER = "Gap"
PLACE = 110
DEFAULT = True

_SCORES = ("forget_score", "retain_score", "test_score", "mia_confidence_svc")
_COLUMNS = (*_SCORES, *(f"retrain_{name}" for name in _SCORES))
_INPUTS = """
Args:
    forget_score (list of float): the unlearned model's score on D_f, one value per run, in [0, 1].
    retain_score (list of float): its score on D_r.
    test_score (list of float): its score on the test set.
    mia_confidence_svc (list of float): its membership inference success.
    retrain_forget_score, retrain_retain_score, retrain_test_score, retrain_mia_confidence_svc (lists of float):
        the same four of the retrained model.
Returns:
    average_gap (float or None): mean over the runs, in [0, 1].
    average_gap_reason (str): why there is no score; present only if it is None.
"""


def average_gap(
    forget_score: float,
    retain_score: float,
    test_score: float,
    mia_confidence_svc: float,
    retrain_forget_score: float,
    retrain_retain_score: float,
    retrain_test_score: float,
    retrain_mia_confidence_svc: float,
) -> dict[str, float]:
    """Average gap to the retrained model, as in SalUn; lower is better, and 0 means that the model scores like it.

    All arguments are single numbers.

    Args:
        forget_score: the unlearned model's score on D_f, in [0, 1].
        retain_score: its score on D_r, in [0, 1].
        test_score: its score on the test set, in [0, 1].
        mia_confidence_svc: its membership inference success, in [0, 1].
        retrain_forget_score: the retrained model's score on D_f, in [0, 1].
        retrain_retain_score: its score on D_r, in [0, 1].
        retrain_test_score: its score on the test set, in [0, 1].
        retrain_mia_confidence_svc: its membership inference success, in [0, 1].

    Returns:
        `average_gap` in [0, 1], a difference of shares: 0.05 is five percentage points.

    Raises:
        ValueError: if an argument is missing (None or NaN) or outside [0, 1].

    Source: arXiv 2310.12508.
    """
    unlearned = (forget_score, retain_score, test_score, mia_confidence_svc)
    retrained = (retrain_forget_score, retrain_retain_score, retrain_test_score, retrain_mia_confidence_svc)
    scores = [check_share(name, value) for name, value in zip(_COLUMNS, unlearned + retrained, strict=True)]
    return {"average_gap": float(np.mean(np.abs(np.subtract(scores[:4], scores[4:]))))}


class AverageGap(evaluate.Metric):
    """`evaluate` face of `average_gap`: one row per run; the result is the mean over runs."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features({column: datasets.Value("float64") for column in _COLUMNS}),
            reference_urls=["https://arxiv.org/abs/2310.12508"],
        )

    def _compute(self, **columns: list) -> dict:
        return mean_over_runs(average_gap, columns)
