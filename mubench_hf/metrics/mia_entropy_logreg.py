"""Share of D_f that a logistic regression on the entropy of the predictions takes for training data."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from .attacks import check_has_classes
from .checks import by_group, check_labels, check_logits, check_same_classes, score_or_reason

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2205.08096"
HEADER = "MIA entropy"
PLACE = 62

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits, one row of C >= 2 values per sample.
    references (list of int): true classes, 0 to C - 1; not a feature of the attack.
    groups (list of str): "forget", "retain" or "test" for each row.
Returns:
    mia_entropy_logreg (float or None): share of the forget rows judged member, in [0, 1].
    mia_entropy_logreg_reason (str): why there is no score; present only if it is None.
"""


def mia_entropy_logreg(
    retain_logits: ArrayLike,
    retain_labels: ArrayLike,
    test_logits: ArrayLike,
    test_labels: ArrayLike,
    forget_logits: ArrayLike,
    forget_labels: ArrayLike,
) -> dict[str, float]:
    """Success of the entropy attack of Bad-T and SSD on D_f; the retrained model's value is the target.

    The only feature is the entropy of a row's softmax, in nats. A logistic regression (L2 penalty, C = 1) learns to
    tell members (all rows of D_r) from non-members (all test rows), each side weighted to count one half. The score is
    the share of D_f judged member. Nothing is drawn at random.

    Args:
        retain_logits: float [n_r, C], unnormalised, finite, C >= 2.
        retain_labels: int [n_r], 0 to C - 1; labels only show that there are classes.
        test_logits: float [n_t, C].
        test_labels: int [n_t].
        forget_logits: float [n_f, C].
        forget_labels: int [n_f].

    Returns:
        `mia_entropy_logreg` in [0, 1].

    Raises:
        ValueError: if a group has no rows, shapes do not fit, a logit is not finite, a label is no class index, labels
            are no classes, since all are 0, or all rows of D_r and test have one entropy.

    Source: arXiv 2205.08096, arXiv 2308.07707.
    """
    groups = {"retain": (retain_logits, retain_labels), "test": (test_logits, test_labels)}
    groups["forget"] = (forget_logits, forget_labels)
    retain, test, forget = (_entropies(name, *rows) for name, rows in groups.items())
    check_same_classes(**{name: logits for name, (logits, _) in groups.items()})
    check_has_classes(*(np.asarray(labels) for _, labels in groups.values()))
    features = np.concatenate([retain, test])
    if features.min() == features.max():
        raise ValueError(
            f"All rows of D_r and test have entropy {features[0, 0]:.3g}; the attacker needs two different values"
        )
    attacker = LogisticRegression(class_weight="balanced").fit(features, np.repeat([1, 0], [len(retain), len(test)]))
    return {"mia_entropy_logreg": float(np.mean(attacker.predict(forget) == 1))}


def _entropies(group: str, logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Entropy of the softmax of each row in nats, [n, 1]."""
    logits = check_logits(f"{group}_logits", logits)
    check_labels(f"{group}_labels", labels, logits)
    logs = log_softmax(logits, axis=1)
    return -np.sum(np.exp(logs) * logs, axis=1, keepdims=True)


class MiaEntropyLogreg(evaluate.Metric):
    """`evaluate` face of `mia_entropy_logreg`."""

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
            reference_urls=["https://arxiv.org/abs/2205.08096", "https://arxiv.org/abs/2308.07707"],
        )

    def _compute(self, predictions: list, references: list, groups: list[str]) -> dict:
        rows = by_group(predictions, references, groups, names=("retain", "test", "forget"))
        return score_or_reason(mia_entropy_logreg, **rows)
