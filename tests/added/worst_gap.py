"""Largest difference of the scores on D_f, D_r and the test set to those of a retrained model."""

import datasets
import evaluate

from .checks import check_share, mean_over_runs

DIRECTION = "lower"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2310.12508"
HEADER = "Worst gap"
PLACE = 105

_SCORES = ("forget_score", "retain_score", "test_score")
_COLUMNS = (*_SCORES, *(f"retrain_{name}" for name in _SCORES))


def worst_gap(
    forget_score: float,
    retain_score: float,
    test_score: float,
    retrain_forget_score: float,
    retrain_retain_score: float,
    retrain_test_score: float,
) -> dict[str, float]:
    """Largest over D_f, D_r and test of |score - the retrained model's|.

    All arguments are single numbers.

    Args:
        forget_score: the unlearned model's score on D_f, in [0, 1].
        retain_score: its score on D_r, in [0, 1].
        test_score: its score on the test set, in [0, 1].
        retrain_forget_score: the retrained model's score on D_f, in [0, 1].
        retrain_retain_score: its score on D_r, in [0, 1].
        retrain_test_score: its score on the test set, in [0, 1].

    Returns:
        `worst_gap` in [0, 1].

    Raises:
        ValueError: if an argument is missing or outside [0, 1].

    Source: arXiv 2310.12508.
    """
    values = forget_score, retain_score, test_score, retrain_forget_score, retrain_retain_score, retrain_test_score
    forget, retain, test, *retrained = (check_share(*each) for each in zip(_COLUMNS, values, strict=True))
    return {"worst_gap": max(abs(own - other) for own, other in zip((forget, retain, test), retrained, strict=True))}


class WorstGap(evaluate.Metric):
    """`evaluate` face of `worst_gap`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=worst_gap.__doc__,
            features=datasets.Features({column: datasets.Value("float64") for column in _COLUMNS}),
        )

    def _compute(self, **columns: list) -> dict:
        return mean_over_runs(worst_gap, columns)
