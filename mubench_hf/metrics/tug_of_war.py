"""Likeness of the scores on D_f, D_r and the test set to the retrained model's; 1 if all three are equal."""

import datasets
import evaluate

from .checks import check_share, mean_over_runs

DIRECTION = "higher"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2406.01257"
HEADER = "ToW"
PLACE = 112

_SCORES = ("forget_score", "retain_score", "test_score")
_COLUMNS = (*_SCORES, *(f"retrain_{name}" for name in _SCORES))
_INPUTS = """
Args:
    forget_score (list of float): the unlearned model's score on D_f, one value per run, in [0, 1].
    retain_score (list of float): its score on D_r.
    test_score (list of float): its score on the test set.
    retrain_forget_score, retrain_retain_score, retrain_test_score (lists of float): the same three of the retrained
        model.
Returns:
    tug_of_war (float or None): mean over the runs, in [0, 1].
    tug_of_war_reason (str): why there is no score; present only if it is None.
"""


def tug_of_war(
    forget_score: float,
    retain_score: float,
    test_score: float,
    retrain_forget_score: float,
    retrain_retain_score: float,
    retrain_test_score: float,
) -> dict[str, float]:
    """Tug of war between forgetting, remembering and generalising; higher is better, and 1 is the retrained model.

    The product over D_f, D_r and the test set of 1 - |score - the retrained model's|. All arguments are single numbers.

    Args:
        forget_score: the unlearned model's score on D_f, in [0, 1].
        retain_score: its score on D_r, in [0, 1].
        test_score: its score on the test set, in [0, 1].
        retrain_forget_score: the retrained model's score on D_f, in [0, 1].
        retrain_retain_score: its score on D_r, in [0, 1].
        retrain_test_score: its score on the test set, in [0, 1].

    Returns:
        `tug_of_war` in [0, 1].

    Raises:
        ValueError: if an argument is missing (None or NaN) or outside [0, 1].

    Source: arXiv 2406.01257 (of accuracies; here of the task's own score).
    """
    unlearned = (forget_score, retain_score, test_score)
    retrained = (retrain_forget_score, retrain_retain_score, retrain_test_score)
    scores = [check_share(name, value) for name, value in zip(_COLUMNS, unlearned + retrained, strict=True)]
    product = 1.0
    for own, other in zip(scores[:3], scores[3:], strict=True):
        product *= 1 - abs(own - other)
    return {"tug_of_war": product}


class TugOfWar(evaluate.Metric):
    """`evaluate` face of `tug_of_war`: one row per run; the result is the mean over runs."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features({column: datasets.Value("float64") for column in _COLUMNS}),
            reference_urls=["https://arxiv.org/abs/2406.01257"],
        )

    def _compute(self, **columns: list) -> dict:
        return mean_over_runs(tug_of_war, columns)
