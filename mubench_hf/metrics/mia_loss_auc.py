"""Chance that a row of D_f has a lower loss than a test row (threshold-free membership inference)."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax

from .checks import by_group, check_labels, check_logits, check_same_classes, score_or_reason

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 1709.01604"
HEADER = "MIA loss AUC"
PLACE = 70
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
    """AUC of the loss attack on D_f against test rows; the retrained model's value, near 0.5, is the target.

    The attack calls a row a member when its cross-entropy is at most a threshold. Over all thresholds its AUC is the
    probability that a row of D_f has a lower loss than a test row, equal losses counted half: above 0.5 while D_f is
    still remembered, below 0.5 when D_f was pushed past unseen data.

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
    forget, test = _both_losses(forget_logits, forget_labels, test_logits, test_labels)
    test = np.sort(test)
    # For each row of D_f, how many test losses lie below it; the mean of the two sides counts an equal loss half.
    below = (np.searchsorted(test, forget, side="left") + np.searchsorted(test, forget, side="right")) / 2
    fpr, tpr = _roc(forget, test)
    return {
        "mia_loss_auc": float((len(test) - below).sum() / (len(forget) * len(test))),
        "mia_loss_tpr_at_1fpr": float(tpr[fpr <= 0.01].max()),
    }


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
    return _roc(*_both_losses(forget_logits, forget_labels, test_logits, test_labels))


def _losses(group: str, logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Cross-entropy of each row in nats, [n]."""
    logits = check_logits(f"{group}_logits", logits)
    labels = check_labels(f"{group}_labels", labels, logits)
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]


def _both_losses(forget_logits, forget_labels, test_logits, test_labels) -> tuple[np.ndarray, np.ndarray]:
    losses = _losses("forget", forget_logits, forget_labels), _losses("test", test_logits, test_labels)
    check_same_classes(forget=forget_logits, test=test_logits)
    return losses


def _roc(forget: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates of "member if the loss is at most t", for every t that changes them."""
    thresholds = np.unique(np.concatenate([forget, test]))
    fpr, tpr = (np.searchsorted(np.sort(losses), thresholds, side="right") / len(losses) for losses in (test, forget))
    return np.concatenate([[0.0], fpr]), np.concatenate([[0.0], tpr])


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
