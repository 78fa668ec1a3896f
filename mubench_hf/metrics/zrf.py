"""Likeness of the predictions on D_f to those of an incompetent model: 1 minus the mean Jensen-Shannon divergence."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax

from .checks import check_logits, check_same_shape, check_shares, score_or_reason

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2205.08096"
HEADER = "ZRF"
PLACE = 80
DEFAULT = True

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits of the unlearned model on D_f, C >= 2 values per row.
    references (list of list of float): unnormalised logits of the incompetent model on the same rows.
Returns:
    zrf (float or None): 1 minus the mean Jensen-Shannon divergence in bits, in [0, 1].
    zrf_reason (str): why there is no score; present only if it is None.
"""


def zrf(
    forget_logits: ArrayLike | None = None,
    incompetent_forget_logits: ArrayLike | None = None,
    incompetent_forget_divergences: ArrayLike | None = None,
) -> dict[str, float]:
    """Zero retrain forgetting score; the retrained model's value is the target.

    1 - mean over D_f of JS(p, q), where p and q are the softmax of the unlearned and of an incompetent model (random
    weights) on the same row, JS(p, q) = (KL(p || m) + KL(q || m)) / 2 in bits, and m = (p + q) / 2. 1 means that the
    model answers on D_f just as the incompetent one, 0 that the two share no class. A model that never saw D_f still
    knows something about it, so more is not always better.

    Args:
        forget_logits: float [n_f, C], unnormalised, finite, C >= 2; the unlearned model's.
        incompetent_forget_logits: float [n_f, C], the same rows through the incompetent model.
        incompetent_forget_divergences: float [n_f] in [0, 1], JS in bits of each row, instead of the logits: for
            sequences, whose distributions (one per token; JS is their mean) are too large to keep.

    Returns:
        `zrf` in [0, 1].

    Raises:
        ValueError: if there are no rows, the two shapes differ, a logit is not finite or there is nothing to compare.

    Source: arXiv 2205.08096.
    """
    if incompetent_forget_divergences is not None:
        shares = check_shares("incompetent_forget_divergences", incompetent_forget_divergences)
        return {"zrf": float(1 - np.mean(shares))}
    divergence = np.mean(_divergences(forget_logits, incompetent_forget_logits)) / (2 * np.log(2))
    # The divergence lies in [0, 1]; rounding may leave that range by a few units in the last place.
    return {"zrf": float(1 - np.clip(divergence, 0, 1))}


def row_effects(
    forget_logits: ArrayLike | None = None,
    incompetent_forget_logits: ArrayLike | None = None,
    incompetent_forget_divergences: ArrayLike | None = None,
) -> dict[str, dict[str, np.ndarray]]:
    """Return each row's 1 - JS in bits, whose mean is the score; arguments and errors are those of `zrf`."""
    if incompetent_forget_divergences is not None:
        return {"zrf": {"forget": 1 - check_shares("incompetent_forget_divergences", incompetent_forget_divergences)}}
    return {"zrf": {"forget": 1 - _divergences(forget_logits, incompetent_forget_logits) / (2 * np.log(2))}}


def _divergences(forget_logits: ArrayLike | None, incompetent_forget_logits: ArrayLike | None) -> np.ndarray:
    """KL(p || m) + KL(q || m) of each row in nats, [n]."""
    if forget_logits is None or incompetent_forget_logits is None:
        raise ValueError("no class distributions to compare: the outputs hold no logits of an incompetent model on D_f")
    forget = check_logits("forget_logits", forget_logits)
    incompetent = check_logits("incompetent_forget_logits", incompetent_forget_logits)
    check_same_shape(forget_logits=forget, incompetent_forget_logits=incompetent)
    log_p, log_q = log_softmax(forget, axis=1), log_softmax(incompetent, axis=1)
    log_m = np.logaddexp(log_p, log_q) - np.log(2)
    return _kl(log_p, log_m) + _kl(log_q, log_m)


def _kl(log_p: np.ndarray, log_m: np.ndarray) -> np.ndarray:
    """KL(p || m) of each row in nats, [n]; classes whose probability underflows to 0 add nothing, their limit."""
    p = np.exp(log_p)
    return np.sum(p * (log_p - log_m), axis=1, where=p > 0)


class Zrf(evaluate.Metric):
    """`evaluate` face of `zrf`."""

    def _info(self) -> evaluate.MetricInfo:
        logits = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": logits, "references": logits}),
            reference_urls=["https://arxiv.org/abs/2205.08096"],
        )

    def _compute(self, predictions: list, references: list) -> dict:
        return score_or_reason(zrf, predictions, references)
