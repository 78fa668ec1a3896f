"""AUC of telling rows of D_f from test rows by how small the gradient of their loss is."""

import datasets
import evaluate
from numpy.typing import ArrayLike

from .attacks import attack_scores, check_sizes
from .checks import columns_by_group, score_or_reason

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2402.17012"
HEADER = "Gradient norm"
PLACE = 77
ALSO = ("gradnorm_tpr_at_1fpr",)

_INPUTS = """
Args:
    predictions (list of float): norm of the gradient of each row's loss by the model's weights, at least 0.
    groups (list of str): "forget", "retain" or "test" for each row; retain rows are not used.
Returns:
    gradnorm (float or None): area under the attack's ROC curve, in [0, 1].
    gradnorm_tpr_at_1fpr (float or None): largest share of forget rows found together with at most 1% of the test
        rows, in [0, 1].
    gradnorm_reason (str): why there is no score; present only if both are None.
"""


def gradnorm(forget_gradient_norms: ArrayLike, test_gradient_norms: ArrayLike) -> dict[str, float]:
    """AUC of the gradient-norm attack on D_f against test rows; the retrained model's value is the target.

    A row's score is minus the Euclidean norm of the gradient of its loss by all weights: training has made it small on
    the rows that were trained on. The AUC is the chance that a row of D_f has a smaller norm than a test row, ties
    counted half.

    Args:
        forget_gradient_norms: float [n_f], at least 0.
        test_gradient_norms: float [n_t], at least 0.

    Returns:
        `gradnorm` in [0, 1], and `gradnorm_tpr_at_1fpr` in [0, 1], the largest true positive rate at a false positive
        rate of at most 1%.

    Raises:
        ValueError: if a group has no rows, or a norm is negative or not finite.

    Source: arXiv 2402.17012.
    """
    forget = check_sizes("forget_gradient_norms", forget_gradient_norms)
    test = check_sizes("test_gradient_norms", test_gradient_norms)
    return attack_scores("gradnorm", *ALSO, -forget, -test)


class Gradnorm(evaluate.Metric):
    """`evaluate` face of `gradnorm`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": datasets.Value("float64"), "groups": datasets.Value("string")}),
            reference_urls=["https://arxiv.org/abs/2402.17012"],
        )

    def _compute(self, predictions: list[float], groups: list[str]) -> dict:
        rows = columns_by_group({"gradient_norms": predictions}, groups, names=("forget", "test"))
        return {name: None for name in ALSO} | score_or_reason(gradnorm, **rows)
