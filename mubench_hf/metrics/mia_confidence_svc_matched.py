"""Share of D_f that a support vector machine on confidence takes for training data, fitted on rows of D_f's classes."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .attacks import check_has_classes, class_weights, true_probabilities
from .checks import by_group, check_same_classes, score_or_reason
from .mia_confidence_svc import judged_members

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2310.12508"
HEADER = "MIA conf, classes matched"
PLACE = 61

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits, one row of C >= 2 values per sample.
    references (list of int): true classes, 0 to C - 1.
    groups (list of str): "forget", "retain" or "test" for each row.
    seed (int, default 0): draws the rows that the attacker is fitted on.
    max_fit_rows (int, default 10000): most rows per side that the attacker is fitted on.
Returns:
    mia_confidence_svc_matched (float or None): share of the forget rows judged member, in [0, 1].
    mia_confidence_svc_matched_reason (str): why there is no score; present only if it is None.
"""


def mia_confidence_svc_matched(
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
    """Success of the confidence attack where members and non-members have D_f's classes; the retrained model's value.

    As `mia_confidence_svc`, but a row of D_r or test of class c counts in the fit with the weight (share of c in D_f) /
    (share of c in its group), and rows of classes that D_f lacks are not drawn. The weights of each side sum to the
    number of its rows. So the attacker learns what tells a member from a non-member, not one mix of classes from
    another. Where classes have equal shares, all weights are 1 and both metrics are equal.

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
        `mia_confidence_svc_matched` in [0, 1].

    Raises:
        ValueError: if a group has no rows, shapes do not fit, a logit is not finite, a label is no class index, `seed`
            or `max_fit_rows` is out of range, D_r or test lacks one of D_f's classes, labels are no classes, since all
            are 0, or all drawn rows have one confidence, so that nothing can be learnt.

    Source: arXiv 2310.12508, arXiv 2304.04934.
    """
    retain = true_probabilities("retain", retain_logits, retain_labels)
    test = true_probabilities("test", test_logits, test_labels)
    forget = true_probabilities("forget", forget_logits, forget_labels)
    check_same_classes(retain=retain_logits, test=test_logits, forget=forget_logits)
    retain_classes, test_classes, classes = (np.asarray(each) for each in (retain_labels, test_labels, forget_labels))
    check_has_classes(retain_classes, test_classes, classes)
    weights = class_weights("D_r", retain_classes, classes), class_weights("test", test_classes, classes)
    judged = judged_members(forget, (retain, test), weights, seed, max_fit_rows)
    return {"mia_confidence_svc_matched": float(np.mean(judged))}


class MiaConfidenceSvcMatched(evaluate.Metric):
    """`evaluate` face of `mia_confidence_svc_matched`."""

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
        return score_or_reason(mia_confidence_svc_matched, **rows, seed=seed, max_fit_rows=max_fit_rows)
