"""Chance that a row of D_f has a lower loss than a test row, with test rows weighted so that classes are alike."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .attacks import attack_scores, both_losses, check_has_classes, class_weights
from .checks import by_group, score_or_reason

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 1709.01604"
HEADER = "MIA loss AUC, classes matched"
PLACE = 71
DEFAULT = True
ALSO = ("mia_loss_tpr_at_1fpr_matched",)

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits, one row of C >= 2 values per sample.
    references (list of int): true classes, 0 to C - 1.
    groups (list of str): "forget", "retain" or "test" for each row; retain rows are not used.
Returns:
    mia_loss_auc_matched (float or None): area under the attack's ROC curve, in [0, 1].
    mia_loss_tpr_at_1fpr_matched (float or None): largest share of forget rows found together with at most 1% of
        the weighted test rows, in [0, 1].
    mia_loss_auc_matched_reason (str): why there is no score; present only if both are None.
"""


def mia_loss_auc_matched(
    forget_logits: ArrayLike, forget_labels: ArrayLike, test_logits: ArrayLike, test_labels: ArrayLike
) -> dict[str, float]:
    """AUC of the loss attack on D_f against test rows of the same classes; the retrained model's value is the target.

    As `mia_loss_auc`, but a test row of class c counts with the weight (share of c in D_f) / (share of c in test). So a
    class that is easy, and more frequent in one of the two sets, moves nothing. It is the mean over D_f's rows and over
    test rows that are drawn with D_f's classes, in closed form. Where classes have equal shares, all weights are 1 and
    both metrics are equal to the last bit.

    Args:
        forget_logits: float [n_f, C], unnormalised, finite, C >= 2.
        forget_labels: int [n_f], 0 to C - 1.
        test_logits: float [n_t, C].
        test_labels: int [n_t].

    Returns:
        `mia_loss_auc_matched` in [0, 1], and `mia_loss_tpr_at_1fpr_matched` in [0, 1], the largest true positive rate
        at a weighted false positive rate of at most 1%.

    Raises:
        ValueError: if a group has no rows, shapes do not fit, a logit is not finite, a label is no class index, test
            lacks one of D_f's classes, or labels are no classes, since all are 0.

    Source: arXiv 1709.01604 (loss attack), arXiv 2112.03570 (true positive rate at a low false positive rate).
    """
    forget, test = both_losses(forget_logits, forget_labels, test_logits, test_labels)
    forget_classes, test_classes = np.asarray(forget_labels), np.asarray(test_labels)
    check_has_classes(forget_classes, test_classes)
    weights = class_weights("test", test_classes, forget_classes)
    return attack_scores("mia_loss_auc_matched", *ALSO, -forget, -test, weights=weights)


class MiaLossAucMatched(evaluate.Metric):
    """`evaluate` face of `mia_loss_auc_matched`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("float64")),
                    "references": datasets.Value("int64"),
                    "groups": datasets.Value("string"),
                }
            ),
            reference_urls=["https://arxiv.org/abs/1709.01604", "https://arxiv.org/abs/2112.03570"],
        )

    def _compute(self, predictions: list, references: list, groups: list[str]) -> dict:
        rows = by_group(predictions, references, groups, names=("forget", "test"))
        return {name: None for name in ALSO} | score_or_reason(mia_loss_auc_matched, **rows)
