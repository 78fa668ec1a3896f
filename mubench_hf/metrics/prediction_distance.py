"""Mean distance of the predicted probabilities to the retrained model's, on D_f, D_r and the test set."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax

from .checks import GROUPS, by_group, check_logits, check_same_shape, score_or_reason

DIRECTION = "lower"
RANGE = (0.0, 1.4142135623730951)
SOURCE = "arXiv 2205.08096"
HEADER = "Pred. dist."
PLACE = 114
ALSO = (
    "prediction_distance_on_retain",
    "prediction_distance_on_test",
    "prediction_js",
    "prediction_js_on_retain",
    "prediction_js_on_test",
)

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits of the unlearned model, C >= 2 values per row.
    references (list of list of float): unnormalised logits of the retrained model on the same rows.
    groups (list of str): `forget`, `retain` or `test` for each row; all three are needed.
Returns:
    prediction_distance (float or None): mean Euclidean distance of the probabilities on D_f, in [0, sqrt(2)].
    prediction_distance_on_retain, prediction_distance_on_test (float or None): the same on the other two sets.
    prediction_js, prediction_js_on_retain, prediction_js_on_test (float or None): mean Jensen-Shannon divergence in
        bits, in [0, 1].
    prediction_distance_reason (str): why there is no score; present only if it is None.
"""


def prediction_distance(
    forget_logits: ArrayLike,
    retrain_forget_logits: ArrayLike,
    retain_logits: ArrayLike,
    retrain_retain_logits: ArrayLike,
    test_logits: ArrayLike,
    retrain_test_logits: ArrayLike,
) -> dict[str, float]:
    """Distance of the predictions to the retrained model's, row by row; lower is better, and 0 is the retrained model.

    With p and q the softmax of the unlearned and of the retrained model's logits on a row, the mean over the rows of a
    set of the Euclidean distance |p - q|, and of JS(p, q) = (KL(p || m) + KL(q || m)) / 2 in bits with m = (p + q) / 2.
    Of a text, p and q are probabilities of two classes, the truth and all else.

    Args:
        forget_logits: float [n_f, C], unnormalised, finite, C >= 2; the unlearned model's on D_f.
        retrain_forget_logits: float [n_f, C], the retrained model's on the same rows.
        retain_logits: float [n_r, C], the unlearned model's on D_r.
        retrain_retain_logits: float [n_r, C], the retrained model's.
        test_logits: float [n_t, C], the unlearned model's on the test set.
        retrain_test_logits: float [n_t, C], the retrained model's.

    Returns:
        `prediction_distance` in [0, sqrt(2)] and `prediction_js` in [0, 1] on D_f, and both with `_on_retain` and
        `_on_test` on the other sets.

    Raises:
        ValueError: if a set has no rows, the shapes of the two models differ or a logit is not finite.

    Source: arXiv 2205.08096 (activation distance; JS by its definition).
    """
    pairs = {
        "forget": (forget_logits, retrain_forget_logits),
        "retain": (retain_logits, retrain_retain_logits),
        "test": (test_logits, retrain_test_logits),
    }
    found = {}
    for split, pair in pairs.items():
        own, other = (f"{split}_logits", f"retrain_{split}_logits")
        logits = {name: check_logits(name, values) for name, values in zip((own, other), pair, strict=True)}
        check_same_shape(**logits)
        suffix = "" if split == "forget" else f"_on_{split}"
        distance, divergence = _distances(log_softmax(logits[own], axis=1), log_softmax(logits[other], axis=1))
        found |= {f"prediction_distance{suffix}": distance, f"prediction_js{suffix}": divergence}
    return found


def _distances(log_p: np.ndarray, log_q: np.ndarray) -> tuple[float, float]:
    """Mean over rows of |p - q| and of JS(p, q) in bits, of log-probabilities [n, C]."""
    p, q = np.exp(log_p), np.exp(log_q)
    distance = np.sqrt(np.square(p - q).sum(axis=1)).mean()
    # Log-probabilities are finite, so a class whose probability underflows to 0 adds nothing, its limit.
    log_m = np.logaddexp(log_p, log_q) - np.log(2)
    divergence = (p * (log_p - log_m) + q * (log_q - log_m)).sum(axis=1).mean() / (2 * np.log(2))
    # Rounding may leave the ranges by a few units in the last place.
    return float(min(distance, RANGE[1])), float(np.clip(divergence, 0, 1))


class PredictionDistance(evaluate.Metric):
    """`evaluate` face of `prediction_distance`."""

    def _info(self) -> evaluate.MetricInfo:
        logits = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": logits, "references": logits, "groups": datasets.Value("string")}
            ),
            reference_urls=["https://arxiv.org/abs/2205.08096"],
        )

    def _compute(self, predictions: list, references: list, groups: list[str]) -> dict:
        rows = by_group(predictions, references, groups, names=GROUPS)
        own = {f"{name}_logits": rows[f"{name}_logits"] for name in GROUPS}
        retrained = {f"retrain_{name}_logits": rows[f"{name}_labels"] for name in GROUPS}
        return dict.fromkeys(("prediction_distance", *ALSO)) | score_or_reason(prediction_distance, **own, **retrained)
