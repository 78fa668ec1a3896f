"""Chance that a row of D_f has a lower loss than a test row (threshold-free membership inference)."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .attacks import attack_placements, attack_roc, attack_scores, both_losses
from .checks import by_group, score_or_reason

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 1709.01604"
HEADER = "MIA loss AUC"
PLACE = 70
DEFAULT = True
ALSO = ("mia_loss_tpr_at_1fpr",)

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits, one row of C >= 2 values per sample.
    references (list of int): true classes, 0 to C - 1.
    groups (list of str): "forget", "retain" or "test" for each row; retain rows are not used.
Returns:
    mia_loss_auc (float or None): area under the attack's ROC curve, in [0, 1].
    mia_loss_tpr_at_1fpr (float or None): largest share of forget rows found together with at most 1% of
        the test rows, in [0, 1].
    mia_loss_auc_reason (str): why there is no score; present only if both are None.
"""


def mia_loss_auc(
    forget_logits: ArrayLike, forget_labels: ArrayLike, test_logits: ArrayLike, test_labels: ArrayLike
) -> dict[str, float]:
    """AUC of the loss attack on D_f against test rows; the retrained model's value is the target.

    The attack calls a row a member when its cross-entropy is at most a threshold. Over all thresholds its AUC is the
    probability that a row of D_f has a lower loss than a test row, losses that are equal up to rounding counted half.
    A model that never saw D_f gives 0.5 only if D_f and test are drawn alike; where their classes differ in number or
    difficulty it gives another value, and `mia_loss_auc_matched` counts test rows so that the classes are alike.

    Args:
        forget_logits: float [n_f, C], unnormalised, finite, C >= 2.
        forget_labels: int [n_f], 0 to C - 1.
        test_logits: float [n_t, C].
        test_labels: int [n_t].

    Returns:
        `mia_loss_auc` in [0, 1], and `mia_loss_tpr_at_1fpr` in [0, 1]: the largest true positive rate at a false
        positive rate of at most 1%, which with fewer than 100 test rows means no false positive at all.

    Raises:
        ValueError: if a group has no rows, shapes do not fit, a logit is not finite or a label is no class index.

    Source: arXiv 1709.01604 (loss attack), arXiv 2112.03570 (true positive rate at a low false positive rate).
    """
    forget, test = both_losses(forget_logits, forget_labels, test_logits, test_labels)
    return attack_scores("mia_loss_auc", *ALSO, -forget, -test)


def row_effects(
    forget_logits: ArrayLike, forget_labels: ArrayLike, test_logits: ArrayLike, test_labels: ArrayLike
) -> dict[str, dict[str, np.ndarray]]:
    """Return each D_f row's share of test rows with a higher loss, and each test row's share of D_f with a lower one.

    Either's mean is the AUC (DeLong's placement values). Arguments and errors are those of `mia_loss_auc`.
    """
    forget, test = both_losses(forget_logits, forget_labels, test_logits, test_labels)
    of_forget, of_test = attack_placements(-forget, -test)
    return {"mia_loss_auc": {"forget": of_forget, "test": of_test}}


def loss_roc(
    forget_logits: ArrayLike, forget_labels: ArrayLike, test_logits: ArrayLike, test_labels: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """ROC curve of the loss attack, for a plot; `mia_loss_auc` is the area under it.

    Args:
        forget_logits: float [n_f, C], unnormalised, finite, C >= 2.
        forget_labels: int [n_f], 0 to C - 1.
        test_logits: float [n_t, C].
        test_labels: int [n_t].

    Returns:
        False and true positive rates, float [k] each, rising from (0, 0) to (1, 1), one point per distinct loss.

    Raises:
        ValueError: as `mia_loss_auc`.
    """
    forget, test = both_losses(forget_logits, forget_labels, test_logits, test_labels)
    return attack_roc(-forget, -test)


class MiaLossAuc(evaluate.Metric):
    """`evaluate` face of `mia_loss_auc`."""

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
        return {name: None for name in ALSO} | score_or_reason(mia_loss_auc, **rows)
