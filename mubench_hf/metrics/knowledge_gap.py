"""AUC of telling rows of D_f from rows of D_r by whether the model gets them right."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .checks import by_group, check_labels, check_logits, check_same_classes, check_shares, score_or_reason

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2302.13406"
HEADER = "Knowledge gap"
PLACE = 90
DEFAULT = True

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits, one row of C >= 2 values per sample.
    references (list of int): true classes, 0 to C - 1.
    groups (list of str): "forget", "retain" or "test" for each row; test rows are not used.
Returns:
    knowledge_gap (float or None): 0.5 + 0.5 * (accuracy on D_f - accuracy on D_r), in [0, 1].
    knowledge_gap_reason (str): why there is no score; present only if it is None.
"""


def knowledge_gap(
    forget_logits: ArrayLike,
    forget_labels: ArrayLike,
    retain_logits: ArrayLike,
    retain_labels: ArrayLike,
    forget_correctness: ArrayLike | None = None,
    retain_correctness: ArrayLike | None = None,
) -> dict[str, float]:
    """Gap in correctness between D_f and D_r; the retrained model's value is the target.

    The AUC, with "correct" as score and D_f as positive class, is the probability that a row of D_f is right and a row
    of D_r wrong, plus half the probability that they agree, which is 0.5 + 0.5 * (acc_f - acc_r). 0.5 means that both
    sets are known equally well, 0 that all of D_r and nothing of D_f is known. Among equal largest logits the first
    class counts as predicted.

    Args:
        forget_logits: float [n_f, C], unnormalised, finite, C >= 2.
        forget_labels: int [n_f], 0 to C - 1.
        retain_logits: float [n_r, C].
        retain_labels: int [n_r].
        forget_correctness: float [n_f] in [0, 1], how right each row is, where that is a matter of degree (ROUGE of a
            text); logits and labels are then not read.
        retain_correctness: float [n_r] in [0, 1].

    Returns:
        `knowledge_gap` in [0, 1].

    Raises:
        ValueError: if a group has no rows, shapes do not fit, a logit is not finite or a label is no class index.

    Source: arXiv 2302.13406 (AUC between deleted and remaining elements; there by predicted probability of an edge).
    """
    if forget_correctness is not None and retain_correctness is not None:
        forget = check_shares("forget_correctness", forget_correctness)
        retain = np.sort(check_shares("retain_correctness", retain_correctness))
        # Rows of D_r that a row of D_f beats, and those that it beats or ties with.
        beaten, not_above = (np.searchsorted(retain, forget, side) for side in ("left", "right"))
        return {"knowledge_gap": float(np.mean(beaten + not_above) / (2 * len(retain)))}
    gap = _accuracy("forget", forget_logits, forget_labels) - _accuracy("retain", retain_logits, retain_labels)
    check_same_classes(forget=forget_logits, retain=retain_logits)
    return {"knowledge_gap": float(0.5 + 0.5 * gap)}


def row_effects(
    forget_logits: ArrayLike,
    forget_labels: ArrayLike,
    retain_logits: ArrayLike,
    retain_labels: ArrayLike,
    forget_correctness: ArrayLike | None = None,
    retain_correctness: ArrayLike | None = None,
) -> dict[str, dict[str, np.ndarray]]:
    """Return for each row of either set how often it tells the sets apart from a row of the other; the means are equal.

    Arguments and errors are those of `knowledge_gap`.
    """
    if forget_correctness is not None and retain_correctness is not None:
        forget = check_shares("forget_correctness", forget_correctness)
        retain = check_shares("retain_correctness", retain_correctness)
    else:
        forget = _right("forget", forget_logits, forget_labels).astype(float)
        retain = _right("retain", retain_logits, retain_labels).astype(float)
    return {"knowledge_gap": {"forget": _below(forget, retain), "retain": 1 - _below(retain, forget)}}


def _below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Share of the others below each value, equal ones counted half."""
    others = np.sort(others)
    return (np.searchsorted(others, values, "left") + np.searchsorted(others, values, "right")) / (2 * len(others))


def _accuracy(group: str, logits: ArrayLike, labels: ArrayLike) -> float:
    return np.mean(_right(group, logits, labels))


def _right(group: str, logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    logits = check_logits(f"{group}_logits", logits)
    return logits.argmax(axis=1) == check_labels(f"{group}_labels", labels, logits)


class KnowledgeGap(evaluate.Metric):
    """`evaluate` face of `knowledge_gap`."""

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
            reference_urls=["https://arxiv.org/abs/2302.13406"],
        )

    def _compute(self, predictions: list, references: list, groups: list[str]) -> dict:
        rows = by_group(predictions, references, groups, names=("forget", "retain"))
        return score_or_reason(knowledge_gap, **rows)
