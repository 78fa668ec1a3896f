"""Share of D_f that an RBF support vector machine on true-class confidence takes for training data."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike
from sklearn.svm import SVC

from .attacks import true_probabilities
from .checks import by_group, check_same_classes, check_seed, score_or_reason

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2310.12508"
HEADER = "MIA conf"
PLACE = 60
DEFAULT = True
MEAN_OF = "forget"  # The score is the mean of `row_effects` over these rows, so that nothing is fitted twice.

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits, one row of C >= 2 values per sample.
    references (list of int): true classes, 0 to C - 1.
    groups (list of str): "forget", "retain" or "test" for each row.
    seed (int, default 0): draws the rows that the attacker is fitted on.
    max_fit_rows (int, default 10000): most rows per side that the attacker is fitted on.
Returns:
    mia_confidence_svc (float or None): share of the forget rows judged member, in [0, 1].
    mia_confidence_svc_reason (str): why there is no score; present only if it is None.
"""


def mia_confidence_svc(
    retain_logits: ArrayLike,
    retain_labels: ArrayLike,
    test_logits: ArrayLike,
    test_labels: ArrayLike,
    forget_logits: ArrayLike,
    forget_labels: ArrayLike,
    seed: int,
    *,
    max_fit_rows: int = 10_000,
) -> dict[str, float]:
    """Success of the confidence attack of SalUn and L1-sparse on D_f; the retrained model's value is the target.

    The only feature is the softmax probability of the true class. `SVC(C=3, gamma="auto", kernel="rbf")` learns to tell
    members (rows of D_r) from non-members (as many test rows); both sides are drawn without replacement by
    `np.random.default_rng(seed)`. The score is the share of D_f judged member. The papers' "MIA-Efficacy" is its
    complement, the share judged non-member.

    Args:
        retain_logits: float [n_r, C], unnormalised, finite, C >= 2.
        retain_labels: int [n_r], 0 to C - 1.
        test_logits: float [n_t, C].
        test_labels: int [n_t].
        forget_logits: float [n_f, C].
        forget_labels: int [n_f].
        seed: non-negative integer for the draw.
        max_fit_rows: most rows per side in the fit, whose time grows with their square.

    Returns:
        `mia_confidence_svc` in [0, 1].

    Raises:
        ValueError: if a group has no rows, shapes do not fit, a logit is not finite, a label is no class index, `seed`
            or `max_fit_rows` is out of range, or all drawn rows have one confidence, so that nothing can be learnt.

    Source: arXiv 2310.12508, arXiv 2304.04934.
    """
    judged = row_effects(
        retain_logits,
        retain_labels,
        test_logits,
        test_labels,
        forget_logits,
        forget_labels,
        seed,
        max_fit_rows=max_fit_rows,
    )
    return {"mia_confidence_svc": float(np.mean(judged["mia_confidence_svc"]["forget"]))}


def row_effects(
    retain_logits: ArrayLike,
    retain_labels: ArrayLike,
    test_logits: ArrayLike,
    test_labels: ArrayLike,
    forget_logits: ArrayLike,
    forget_labels: ArrayLike,
    seed: int,
    *,
    max_fit_rows: int = 10_000,
) -> dict[str, dict[str, np.ndarray]]:
    """Return for each row of D_f whether it is judged member, 0 or 1; the score is the mean.

    The attacker is the one that was fitted: that it would be another on other rows is left out. Arguments are those of
    `mia_confidence_svc`.

    Raises:
        ValueError: as `mia_confidence_svc`.
    """
    retain = true_probabilities("retain", retain_logits, retain_labels)
    test = true_probabilities("test", test_logits, test_labels)
    forget = true_probabilities("forget", forget_logits, forget_labels)
    check_same_classes(retain=retain_logits, test=test_logits, forget=forget_logits)
    judged = judged_members(forget, (retain, test), tuple(map(np.ones_like, (retain, test))), seed, max_fit_rows)
    return {"mia_confidence_svc": {"forget": judged.astype(float)}}


def judged_members(
    forget: np.ndarray,
    sides: tuple[np.ndarray, np.ndarray],
    weights: tuple[np.ndarray, np.ndarray],
    seed: int,
    max_fit_rows: int,
) -> np.ndarray:
    """Fit the attacker on as many rows of either side, and return which rows of D_f it judges member, bool [n_f].

    Args:
        forget: float [n_f], true-class probabilities.
        sides: float [n_r] and [n_t], those of members and of non-members.
        weights: float [n_r] and [n_t], how much each row counts in the fit, relative to its side; 0 is not drawn.
        seed: as of `mia_confidence_svc`.
        max_fit_rows: as of `mia_confidence_svc`.

    Raises:
        ValueError: if `seed` or `max_fit_rows` is out of range, or all drawn rows have one probability.
    """
    seed, max_fit_rows = check_seed(seed), check_seed(max_fit_rows, "max_fit_rows", least=1)
    rng = np.random.default_rng(seed)
    pools = [np.flatnonzero(each) for each in weights]
    rows = min(*map(len, pools), max_fit_rows)
    drawn = [rng.choice(pool, rows, replace=False) for pool in pools]
    features = np.concatenate([values[chosen] for values, chosen in zip(sides, drawn, strict=True)])[:, None]
    if features.min() == features.max():
        raise ValueError(
            f"All {2 * rows} drawn rows of D_r and test have true-class probability {features[0, 0]:.3g}; "
            "the attacker needs at least two different values"
        )
    counts = [each[chosen] for each, chosen in zip(weights, drawn, strict=True)]
    counts = np.concatenate([each * (rows / each.sum()) for each in counts])
    attacker = SVC(C=3, gamma="auto", kernel="rbf").fit(features, np.repeat([1, 0], rows), sample_weight=counts)
    return attacker.predict(forget[:, None]) == 1


class MiaConfidenceSvc(evaluate.Metric):
    """`evaluate` face of `mia_confidence_svc`."""

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
            reference_urls=["https://arxiv.org/abs/2310.12508", "https://arxiv.org/abs/2304.04934"],
        )

    def _compute(
        self, predictions: list, references: list, groups: list[str], seed: int = 0, max_fit_rows: int = 10_000
    ) -> dict:
        rows = by_group(predictions, references, groups, names=("retain", "test", "forget"))
        return score_or_reason(mia_confidence_svc, **rows, seed=seed, max_fit_rows=max_fit_rows)
