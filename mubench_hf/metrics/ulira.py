"""Accuracy of telling unlearned rows of D_f from the same rows never seen, by two Gaussians per row (U-LiRA)."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .attacks import attack_scores
from .checks import score_or_reason
from .populations import as_logits, by_model, check_membership, check_population, log_odds, row_gaussians

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2403.01218"
HEADER = "U-LiRA"
PLACE = 74.5
ALSO = ("ulira_auc", "ulira_tpr_at_1fpr")

_INPUTS = """
Args:
    predictions (list of float): log-odds of the true class under the unlearned model, one value per row of D_f.
    references (list of float): the same under the model that was retrained without D_f.
    unlearned (list of list of float): for each row, its log-odds under shadow models that were trained on it and then
        unlearned it.
    unseen (list of list of float): for each row, its log-odds under shadow models that were not trained on it.
    variance_floor (float, default 0.25): least variance of a row, as a share of the mean variance over rows.
Returns:
    ulira (float or None): accuracy of the attack, in [0, 1].
    ulira_auc (float or None): area under its ROC curve, in [0, 1].
    ulira_tpr_at_1fpr (float or None): its largest true positive rate at a false positive rate of at most 1%.
    ulira_reason (str): why there is no score; present only if all three are None.
"""


def ulira(
    forget_logits: ArrayLike,
    forget_labels: ArrayLike,
    retrain_forget_logits: ArrayLike,
    retrain_forget_labels: ArrayLike,
    unlearned_shadow_forget_log_odds: ArrayLike,
    unlearned_shadow_forget_member: ArrayLike,
    shadow_forget_log_odds: ArrayLike,
    shadow_forget_member: ArrayLike,
    *,
    variance_floor: float = 0.25,
) -> dict[str, float]:
    """U-LiRA's attack on D_f; 0.5, which the retrained model has, is the target.

    Is a row's log-odds φ = log(p_y / (1 - p_y)) rather that of a model that was trained on the row and then unlearned
    it, or of one that never saw it? Each row has two Gaussians: one fitted to φ under the shadow models that were
    trained on it and unlearned it, one to φ under the shadow models that were not trained on it. The attack sees φ
    under the unlearned model (it should say "unlearned") and φ of the same row under the retrained model (it should say
    "never seen"), and decides by the larger likelihood. Equal likelihoods count half.

    Args:
        forget_logits: float [n_f, C], unnormalised, finite, C >= 2; the unlearned model's.
        forget_labels: int [n_f], 0 to C - 1.
        retrain_forget_logits: float [n_f, C], the same rows through the retrained model.
        retrain_forget_labels: int [n_f].
        unlearned_shadow_forget_log_odds: float [models, n_f], φ under shadow models after unlearning.
        unlearned_shadow_forget_member: bool [models, n_f], whether a model was trained on the row and unlearned it.
        shadow_forget_log_odds: float [models, n_f], φ under shadow models before unlearning.
        shadow_forget_member: bool [models, n_f], whether a model was trained on the row.
        variance_floor: least variance of a row, as a share of the mean over rows: few models may agree by chance.

    Returns:
        `ulira`, the accuracy in [0, 1] over both models' rows; `ulira_auc` in [0, 1]; and `ulira_tpr_at_1fpr` in
        [0, 1], the largest true positive rate at a false positive rate of at most 1%, which with fewer than 100 rows
        means no false positive at all.

    Raises:
        ValueError: if there are no rows, shapes do not fit, a value is not finite, the floor is not above 0, a row has
            fewer than two models on one of its sides, or all models of a side say the same, so that nothing varies.

    Source: arXiv 2403.01218.
    """
    own = log_odds("forget", forget_logits, forget_labels)
    retrained = log_odds("retrain_forget", retrain_forget_logits, retrain_forget_labels)
    if len(own) != len(retrained):
        raise ValueError(
            f"forget_logits has {len(own)} rows and retrain_forget_logits {len(retrained)}; as many are needed"
        )
    sides = []
    for prefix, odds, member, saw_it in (
        ("unlearned_shadow", unlearned_shadow_forget_log_odds, unlearned_shadow_forget_member, True),
        ("shadow", shadow_forget_log_odds, shadow_forget_member, False),
    ):
        values = check_population(f"{prefix}_forget_log_odds", odds, len(own))
        chosen = check_membership(f"{prefix}_forget_member", member, values) == saw_it
        what = "were trained on it and unlearned it" if saw_it else "were not trained on it"
        sides.append(row_gaussians(values, chosen, what, variance_floor))
    unlearned, unseen = _log_ratio(own, *sides), _log_ratio(retrained, *sides)
    right = (_share_above(unlearned) + _share_above(-unseen)) / 2
    return {"ulira": right} | attack_scores("ulira_auc", "ulira_tpr_at_1fpr", unlearned, unseen)


def _log_ratio(
    values: np.ndarray, unlearned: tuple[np.ndarray, np.ndarray], unseen: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Twice the log of how much likelier each row's value is under the first of two Gaussians, [n]."""
    (mean_in, variance_in), (mean_out, variance_out) = unlearned, unseen
    squares = (values - mean_out) ** 2 / variance_out - (values - mean_in) ** 2 / variance_in
    return squares + np.log(variance_out / variance_in)


def _share_above(values: np.ndarray) -> float:
    """Share of values above 0; zeros count half."""
    return float(np.mean((values > 0) + (values == 0) / 2))


class Ulira(evaluate.Metric):
    """`evaluate` face of `ulira`: one row of D_f per row."""

    def _info(self) -> evaluate.MetricInfo:
        values = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Value("float64"),
                    "references": datasets.Value("float64"),
                    "unlearned": values,
                    "unseen": values,
                }
            ),
            reference_urls=["https://arxiv.org/abs/2403.01218"],
        )

    def _compute(
        self,
        predictions: list,
        references: list,
        unlearned: list[list],
        unseen: list[list],
        variance_floor: float = 0.25,
    ) -> dict:
        none = {name: None for name in ALSO}
        return none | score_or_reason(
            ulira,
            *as_logits(predictions),
            *as_logits(references),
            *by_model(unlearned),
            *by_model(unseen, member=False),
            variance_floor=variance_floor,
        )
