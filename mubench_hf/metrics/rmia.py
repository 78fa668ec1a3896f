"""Chance that a row of D_f gained more probability over reference models than a test row (RMIA)."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .attacks import attack_roc, attack_scores
from .checks import by_group, check_share, score_or_reason
from .populations import as_logits, by_model, check_membership, check_population, log_odds

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2312.03262"
HEADER = "RMIA"
PLACE = 72.5
ALSO = ("rmia_tpr_at_1fpr", "rmia_tpr_at_01fpr")

_INPUTS = """
Args:
    predictions (list of float): log-odds of the true class under the model, one value per row.
    references (list of list of float): for each row, its log-odds under reference models that were not trained on it.
    groups (list of str): "forget", "retain" or "test" for each row; retain rows are not used.
    gamma (float, default 1.0): by which factor a row has to beat a row of the population.
    offline_a (float, default 1.0): how the mean over reference models stands for a row's probability, see `rmia`.
Returns:
    rmia (float or None): area under the attack's ROC curve, in [0, 1].
    rmia_tpr_at_1fpr, rmia_tpr_at_01fpr (float or None): its largest true positive rates at false positive rates of at
        most 1% and 0.1%.
    rmia_reason (str): why there is no score; present only if all three are None.
"""


def rmia(
    forget_logits: ArrayLike,
    forget_labels: ArrayLike,
    test_logits: ArrayLike,
    test_labels: ArrayLike,
    shadow_forget_log_odds: ArrayLike,
    shadow_forget_member: ArrayLike,
    shadow_test_log_odds: ArrayLike,
    shadow_test_member: ArrayLike,
    *,
    gamma: float = 1.0,
    offline_a: float = 1.0,
) -> dict[str, float]:
    """AUC of the robust membership attack on D_f against test rows; the retrained model's value is the target.

    A row's ratio is its true class's probability under the model, divided by what models say that were not trained on
    it: Pr(x) = ((1 + a) m + (1 - a)) / 2, where m is the mean of their probabilities. A row's score is the share of
    test rows, the population, whose ratio it has more than `gamma` times; exactly `gamma` times counts half.

    Reference models that were not trained on the row are the offline attack. It is used for all rows alike, also
    where other models were trained on a row of D_f: none was trained on a test row, and two formulas would differ
    without any memory of D_f.

    Args:
        forget_logits: float [n_f, C], unnormalised, finite, C >= 2.
        forget_labels: int [n_f], 0 to C - 1.
        test_logits: float [n_t, C].
        test_labels: int [n_t].
        shadow_forget_log_odds: float [models, n_f], log(p_y / (1 - p_y)) of each row under the reference models.
        shadow_forget_member: bool [models, n_f], whether a model was trained on the row; such models do not count.
        shadow_test_log_odds: float [models, n_t].
        shadow_test_member: bool [models, n_t].
        gamma: by which factor a row has to beat a row of the population, above 0.
        offline_a: a in [0, 1]; 1 takes the mean as it is.

    Returns:
        `rmia` in [0, 1], equal scores counted half; `rmia_tpr_at_1fpr` and `rmia_tpr_at_01fpr` in [0, 1], the largest
        true positive rates at false positive rates of at most 1% and 0.1%, which with fewer than 100 and 1,000 test
        rows mean no false positive at all.

    Raises:
        ValueError: if a group has no rows, shapes do not fit, a value is not finite, a setting is out of range, or a
            row has no model that was not trained on it.

    Source: arXiv 2312.03262, eq. 2 and the offline approximation of Pr(x).
    """
    if not isinstance(gamma, int | float | np.number) or not 0 < gamma < np.inf:
        raise ValueError(f"gamma is {gamma!r}; a number above 0 is needed")
    share = check_share("offline_a", offline_a)
    own = log_odds("forget", forget_logits, forget_labels), shadow_forget_log_odds, shadow_forget_member
    test = log_odds("test", test_logits, test_labels), shadow_test_log_odds, shadow_test_member
    forget, population = _log_ratios("forget", *own, share), _log_ratios("test", *test, share)
    ordered = np.sort(population)
    scores = []
    for ratios in (forget, population):
        reached = ratios - np.log(gamma)
        # In halves, which are exact, as shares of equally many rows need not be.
        scores.append(np.searchsorted(ordered, reached, "left") + np.searchsorted(ordered, reached, "right"))
    fpr, tpr = attack_roc(*scores)
    few = float(tpr[fpr <= 0.001 * (1 + 1e-12)].max())
    return attack_scores("rmia", "rmia_tpr_at_1fpr", *scores) | {"rmia_tpr_at_01fpr": few}


def _log_ratios(group: str, own: np.ndarray, odds: ArrayLike, member: ArrayLike, offline_a: float) -> np.ndarray:
    """Log of each row's probability under the model over its probability Pr(x), [n]."""
    values = check_population(f"shadow_{group}_log_odds", odds, len(own))
    unseen = ~check_membership(f"shadow_{group}_member", member, values)
    counts = unseen.sum(axis=0)
    if (without := np.flatnonzero(counts == 0)).size:
        raise ValueError(
            f"{without.size} of {len(counts)} {group} rows have no reference model that was not trained on them, first "
            f"row {without[0]}; make more shadow models"
        )
    # In logarithms, since probabilities of log-odds below -745 are 0.
    logs = np.where(unseen, _log_sigmoid(values), -np.inf)
    mean = np.logaddexp.reduce(logs, axis=0) - np.log(counts)
    with np.errstate(divide="ignore"):  # a = 1 adds nothing.
        expected = np.logaddexp(np.log((1 + offline_a) / 2) + mean, np.log((1 - offline_a) / 2))
    return _log_sigmoid(own) - expected


def _log_sigmoid(values: np.ndarray) -> np.ndarray:
    """Log of the probability that belongs to log-odds."""
    return -np.logaddexp(0, -values)


class Rmia(evaluate.Metric):
    """`evaluate` face of `rmia`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Value("float64"),
                    "references": datasets.Sequence(datasets.Value("float64")),
                    "groups": datasets.Value("string"),
                }
            ),
            reference_urls=["https://arxiv.org/abs/2312.03262"],
        )

    def _compute(
        self, predictions: list, references: list, groups: list[str], gamma: float = 1.0, offline_a: float = 1.0
    ) -> dict:
        rows = by_group(predictions, references, groups, names=("forget", "test"))
        models, classes = [], []
        for group in ("forget", "test"):
            classes += as_logits(rows[f"{group}_logits"])
            models += by_model(rows[f"{group}_labels"], member=False)
        settings = {"gamma": gamma, "offline_a": offline_a}
        return {name: None for name in ALSO} | score_or_reason(rmia, *classes, *models, **settings)
