"""AUC of telling rows of D_f from test rows by how far their loss lies below the retrained model's."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .attacks import attack_scores, both_losses
from .checks import columns_by_group, score_or_reason

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2111.08440"
HEADER = "Loss against retrain"
PLACE = 76
ALSO = ("reference_loss_tpr_at_1fpr",)

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits of the model, one row of C >= 2 values per sample.
    retrained (list of list of float): those of the retrained model on the same rows.
    references (list of int): true classes, 0 to C - 1; of texts, the class that is the truth.
    groups (list of str): "forget", "retain" or "test" for each row; retain rows are not used.
Returns:
    reference_loss (float or None): area under the attack's ROC curve, in [0, 1].
    reference_loss_tpr_at_1fpr (float or None): largest share of forget rows found together with at most 1% of the
        test rows, in [0, 1].
    reference_loss_reason (str): why there is no score; present only if both are None.
"""


def reference_loss(
    forget_logits: ArrayLike,
    forget_labels: ArrayLike,
    test_logits: ArrayLike,
    test_labels: ArrayLike,
    retrain_forget_logits: ArrayLike,
    retrain_forget_labels: ArrayLike,
    retrain_test_logits: ArrayLike,
    retrain_test_labels: ArrayLike,
) -> dict[str, float]:
    """AUC of the reference attack on D_f against test rows, with the retrained model as reference; its value is 0.5.

    A row's score is the retrained model's loss minus the model's: how much better it knows the row than a model that
    never saw D_f, so that a row's own difficulty falls out. The AUC is the chance that a row of D_f has a higher score
    than a test row, ties counted half. Above 0.5 D_f is still remembered; below, it was pushed past what a model that
    never saw it says.

    Args:
        forget_logits: float [n_f, C], unnormalised, finite, C >= 2.
        forget_labels: int [n_f], 0 to C - 1.
        test_logits: float [n_t, C].
        test_labels: int [n_t].
        retrain_forget_logits: float [n_f, C], the retrained model's on the same rows.
        retrain_forget_labels: int [n_f], equal to `forget_labels`.
        retrain_test_logits: float [n_t, C].
        retrain_test_labels: int [n_t], equal to `test_labels`.

    Returns:
        `reference_loss` in [0, 1], and `reference_loss_tpr_at_1fpr` in [0, 1], the largest true positive rate at a
        false positive rate of at most 1%.

    Raises:
        ValueError: if a group has no rows, shapes do not fit, a logit is not finite, a label is no class index, or the
            labels of the two models' rows differ.

    Source: arXiv 2111.08440, eq. 2 (difficulty calibration).
    """
    for name, ours, theirs in (
        ("forget", forget_labels, retrain_forget_labels),
        ("test", test_labels, retrain_test_labels),
    ):
        if not np.array_equal(ours, theirs):
            raise ValueError(f"retrain_{name}_labels differ from {name}_labels; the same rows in one order are needed")
    losses = both_losses(forget_logits, forget_labels, test_logits, test_labels)
    others = both_losses(retrain_forget_logits, forget_labels, retrain_test_logits, test_labels)
    scores = [other - loss for loss, other in zip(losses, others, strict=True)]
    size = max(float(each.max()) for each in (*losses, *others))
    return attack_scores("reference_loss", *ALSO, *scores, scale=size)


class ReferenceLoss(evaluate.Metric):
    """`evaluate` face of `reference_loss`."""

    def _info(self) -> evaluate.MetricInfo:
        logits = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": logits,
                    "retrained": logits,
                    "references": datasets.Value("int64"),
                    "groups": datasets.Value("string"),
                }
            ),
            reference_urls=["https://arxiv.org/abs/2111.08440"],
        )

    def _compute(self, predictions: list, retrained: list, references: list, groups: list[str]) -> dict:
        names = ("forget", "test")
        rows = columns_by_group({"logits": predictions, "labels": references}, groups, names)
        theirs = columns_by_group({"logits": retrained, "labels": references}, groups, names)
        rows |= {f"retrain_{name}": values for name, values in theirs.items()}
        return {name: None for name in ALSO} | score_or_reason(reference_loss, **rows)
