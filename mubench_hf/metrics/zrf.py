"""Likeness of the predictions on D_f to those of an incompetent model: 1 minus the mean Jensen-Shannon divergence."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2205.08096"

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits of the unlearned model on D_f, C >= 2 values a row.
    references (list of list of float): unnormalised logits of the incompetent model on the same rows.
Returns:
    zrf (float or None): 1 minus the mean Jensen-Shannon divergence in bits, in [0, 1].
    zrf_reason (str): why there is no score; present only if it is None.
"""


def _check_logits(name: str, values: ArrayLike) -> np.ndarray:
    """Return `values` as float64 [n, C], or raise a ValueError that says what does not fit."""
    try:
        logits = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is not a rectangular array of numbers; float [n, C] is needed") from None
    if logits.size == 0:
        raise ValueError(f"{name} is empty (shape {logits.shape}); at least one row is needed")
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(f"{name} has shape {logits.shape}; [n, C] with C >= 2 classes is needed")
    broken = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if broken.size:
        raise ValueError(
            f"{name} holds NaN or infinity in {broken.size} of {len(logits)} rows, first in row {broken[0]}; "
            "only finite logits are allowed"
        )
    return logits


def _check_shares(name: str, values: ArrayLike) -> np.ndarray:
    """Return `values` as float64 [n] in [0, 1], or raise a ValueError that says what does not fit."""
    try:
        shares = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is not an array of numbers; float [n] is needed") from None
    if shares.ndim != 1 or not shares.size:
        raise ValueError(f"{name} has shape {shares.shape}; one number for each of one or more rows is needed")
    broken = np.flatnonzero(~((shares >= 0) & (shares <= 1)))  # also NaN
    if broken.size:
        raise ValueError(f"{name} is {shares[broken[0]]} in row {broken[0]}; numbers in [0, 1] are needed")
    return shares


def zrf(
    forget_logits: ArrayLike | None = None,
    incompetent_forget_logits: ArrayLike | None = None,
    incompetent_forget_divergences: ArrayLike | None = None,
) -> dict[str, float]:
    """Zero retrain forgetting score; the retrained model's value is the target.

    1 - mean over D_f of JS(p, q), where p and q are the softmax of the unlearned and of an incompetent model (random
    weights) on the same row, JS(p, q) = (KL(p || m) + KL(q || m)) / 2 in bits, and m = (p + q) / 2. 1 says that the
    model answers on D_f just as the incompetent one, 0 that the two share no class. A model that never saw D_f still
    knows something about it, so more is not always better.

    Args:
        forget_logits: float [n_f, C], unnormalised, finite, C >= 2; the unlearned model's.
        incompetent_forget_logits: float [n_f, C], the same rows through the incompetent model.
        incompetent_forget_divergences: float [n_f] in [0, 1], JS in bits of each row, in place of the logits: for
            sequences, whose distributions (one a token; JS is their mean) are too large to keep.

    Returns:
        `zrf` in [0, 1].

    Raises:
        ValueError: if there are no rows, the two shapes differ, a logit is not finite or there is nothing to compare.

    Source: arXiv 2205.08096.
    """
    if incompetent_forget_divergences is not None:
        shares = _check_shares("incompetent_forget_divergences", incompetent_forget_divergences)
        return {"zrf": float(1 - np.mean(shares))}
    if forget_logits is None or incompetent_forget_logits is None:
        raise ValueError("no class distributions to compare: the outputs hold no logits of an incompetent model on D_f")
    forget = _check_logits("forget_logits", forget_logits)
    incompetent = _check_logits("incompetent_forget_logits", incompetent_forget_logits)
    if forget.shape != incompetent.shape:
        raise ValueError(
            f"forget_logits has shape {forget.shape} and incompetent_forget_logits {incompetent.shape}; "
            "the same rows and classes are needed"
        )
    log_p, log_q = log_softmax(forget, axis=1), log_softmax(incompetent, axis=1)
    log_m = np.logaddexp(log_p, log_q) - np.log(2)
    divergence = np.mean(_kl(log_p, log_m) + _kl(log_q, log_m)) / (2 * np.log(2))
    # The divergence lies in [0, 1]; rounding may leave that range by a few units in the last place.
    return {"zrf": float(1 - np.clip(divergence, 0, 1))}


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
        try:
            return zrf(predictions, references)
        except ValueError as error:
            return {"zrf": None, "zrf_reason": str(error)}
