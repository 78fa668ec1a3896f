"""Accuracy of a cross-validated logistic regression that tells the losses of D_f from those of test rows."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score

from .attacks import both_losses
from .checks import by_group, check_seed, score_or_reason

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2302.09880"
HEADER = "MIA loss CV"
PLACE = 72

FOLDS, MOST = 5, 100.0
"""Parts of the cross-validation, and the largest loss that is told from larger ones."""

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits, one row of C >= 2 values per sample.
    references (list of int): true classes, 0 to C - 1.
    groups (list of str): "forget", "retain" or "test" for each row; retain rows are not used.
    seed (int, default 0): draws rows of the larger group, and the folds.
Returns:
    mia_loss_cv (float or None): accuracy of the attacker over five folds, in [0, 1].
    mia_loss_cv_reason (str): why there is no score; present only if it is None.
"""


def mia_loss_cv(
    forget_logits: ArrayLike, forget_labels: ArrayLike, test_logits: ArrayLike, test_labels: ArrayLike, seed: int
) -> dict[str, float]:
    """Accuracy of SCRUB's attack on D_f against test rows; the retrained model's value is the target.

    The only feature is the cross-entropy, cut off at 100. Of D_f and of the test rows of D_f's classes, as many rows
    are drawn as the smaller of both groups has. A logistic regression (L2 penalty, C = 1) is fitted on four fifths of
    them and judges the last fifth, five times, so that each row is judged once. The draws depend on the seed and on the
    losses, not on the order of rows.

    Args:
        forget_logits: float [n_f, C], unnormalised, finite, C >= 2.
        forget_labels: int [n_f], 0 to C - 1.
        test_logits: float [n_t, C].
        test_labels: int [n_t].
        seed: non-negative integer for the draws.

    Returns:
        `mia_loss_cv` in [0, 1], the share of rows that are judged rightly.

    Raises:
        ValueError: if a group has no rows, shapes do not fit, a logit is not finite, a label is no class index, `seed`
            is out of range, or there are fewer than five rows of D_f, or of test in D_f's classes.

    Source: arXiv 2302.09880.
    """
    rng = np.random.default_rng(check_seed(seed))
    forget, test = both_losses(forget_logits, forget_labels, test_logits, test_labels)
    test = test[np.isin(np.asarray(test_labels), np.asarray(forget_labels))]
    rows = min(len(forget), len(test))
    if rows < FOLDS:
        raise ValueError(
            f"D_f has {len(forget)} rows and test {len(test)} of D_f's classes; {FOLDS} folds need {FOLDS} of each"
        )
    drawn = [rng.permutation(np.sort(losses))[:rows] for losses in (forget, test)]
    features = np.minimum(np.concatenate(drawn), MOST)[:, None]
    folds, members = StratifiedKFold(FOLDS), np.repeat([1, 0], rows)
    return {"mia_loss_cv": float(cross_val_score(LogisticRegression(), features, members, cv=folds).mean())}


class MiaLossCv(evaluate.Metric):
    """`evaluate` face of `mia_loss_cv`."""

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
            reference_urls=["https://arxiv.org/abs/2302.09880"],
        )

    def _compute(self, predictions: list, references: list, groups: list[str], seed: int = 0) -> dict:
        rows = by_group(predictions, references, groups, names=("forget", "test"))
        return score_or_reason(mia_loss_cv, **rows, seed=seed)
