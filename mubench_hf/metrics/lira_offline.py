"""Chance that a row of D_f is more unlike models that never saw it than the same row under the retrained model."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .attacks import attack_scores
from .checks import score_or_reason
from .populations import as_logits, by_model, check_membership, check_population, log_odds, row_gaussians

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2112.03570"
HEADER = "LiRA offline"
PLACE = 73.5
ALSO = ("lira_offline_tpr_at_1fpr",)

_INPUTS = """
Args:
    predictions (list of float): log-odds of the true class under the unlearned model, one value per row of D_f.
    references (list of float): the same under the model that was retrained without D_f.
    unseen (list of list of float): for each row, its log-odds under shadow models that were not trained on it.
    variance_floor (float, default 0.25): least variance of a row, as a share of the mean variance over rows.
Returns:
    lira_offline (float or None): area under the attack's ROC curve, in [0, 1].
    lira_offline_tpr_at_1fpr (float or None): its largest true positive rate at a false positive rate of at most 1%.
    lira_offline_reason (str): why there is no score; present only if both are None.
"""


def lira_offline(
    forget_logits: ArrayLike,
    forget_labels: ArrayLike,
    retrain_forget_logits: ArrayLike,
    retrain_forget_labels: ArrayLike,
    shadow_forget_log_odds: ArrayLike,
    shadow_forget_member: ArrayLike,
    *,
    variance_floor: float = 0.25,
) -> dict[str, float]:
    """AUC of the offline likelihood ratio attack on D_f; 0.5, which the retrained model has, is the target.

    Each row has one Gaussian, fitted to its log-odds φ = log(p_y / (1 - p_y)) under shadow models that were not trained
    on it. A row's score is how far φ lies above that Gaussian's mean, in standard deviations. The attack tells φ under
    the unlearned model from φ of the same row under the retrained model. Above 0.5 the unlearned model is surer of D_f
    than a model that never saw it, below 0.5 less sure. It needs no shadow model that unlearned anything, and so
    knows nothing of what the method leaves behind; `ulira` does.

    Args:
        forget_logits: float [n_f, C], unnormalised, finite, C >= 2; the unlearned model's.
        forget_labels: int [n_f], 0 to C - 1.
        retrain_forget_logits: float [n_f, C], the same rows through the retrained model.
        retrain_forget_labels: int [n_f].
        shadow_forget_log_odds: float [models, n_f], φ under shadow models.
        shadow_forget_member: bool [models, n_f], whether a model was trained on the row; such models do not count.
        variance_floor: least variance of a row, as a share of the mean over rows: few models may agree by chance.

    Returns:
        `lira_offline` in [0, 1], equal scores counted half, and `lira_offline_tpr_at_1fpr` in [0, 1], the largest true
        positive rate at a false positive rate of at most 1%, which with fewer than 100 rows means none at all.

    Raises:
        ValueError: if there are no rows, shapes do not fit, a value is not finite, the floor is not above 0, a row has
            fewer than two models that were not trained on it, or all of them say the same, so that nothing varies.

    Source: arXiv 2112.03570 (offline attack).
    """
    own = log_odds("forget", forget_logits, forget_labels)
    retrained = log_odds("retrain_forget", retrain_forget_logits, retrain_forget_labels)
    if len(own) != len(retrained):
        raise ValueError(f"forget_logits has {len(own)} rows, but retrain_forget_logits {len(retrained)}")
    values = check_population("shadow_forget_log_odds", shadow_forget_log_odds, len(own))
    unseen = ~check_membership("shadow_forget_member", shadow_forget_member, values)
    mean, variance = row_gaussians(values, unseen, "were not trained on it", variance_floor)
    scores = [(values - mean) / np.sqrt(variance) for values in (own, retrained)]
    return attack_scores("lira_offline", "lira_offline_tpr_at_1fpr", *scores)


class LiraOffline(evaluate.Metric):
    """`evaluate` face of `lira_offline`: one row of D_f per row."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Value("float64"),
                    "references": datasets.Value("float64"),
                    "unseen": datasets.Sequence(datasets.Value("float64")),
                }
            ),
            reference_urls=["https://arxiv.org/abs/2112.03570"],
        )

    def _compute(self, predictions: list, references: list, unseen: list[list], variance_floor: float = 0.25) -> dict:
        both, others = (*as_logits(predictions), *as_logits(references)), by_model(unseen, member=False)
        return {name: None for name in ALSO} | score_or_reason(
            lira_offline, *both, *others, variance_floor=variance_floor
        )
