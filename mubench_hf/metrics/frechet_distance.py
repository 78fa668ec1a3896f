"""Distance of generated from real images: Fréchet distance of normal distributions fitted to their features."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .checks import score_or_reason

DIRECTION = "lower"
RANGE = (0.0, float("inf"))
SOURCE = "arXiv 1706.08500"

_INPUTS = """
Args:
    predictions (list of list of float): features of generated images, d values per row.
    references (list of list of float): features of real images, d values per row, as many rows.
Returns:
    frechet_distance (float or None): squared Fréchet distance, at least 0.
    frechet_distance_reason (str): why there is no score; present only if it is None.
"""


def _check_features(name: str, values: ArrayLike) -> np.ndarray:
    """Return `values` as float64 [n, d], or raise a ValueError that says what is wrong."""
    try:
        features = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is not a rectangular array of numbers; float [n, d] is needed") from None
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"{name} has shape {features.shape}; [n, d] with n >= 2 rows is needed")
    if not np.isfinite(features).all():
        raise ValueError(f"{name} holds NaN or infinity; only finite features are allowed")
    return features


def frechet_distance(generated_features: ArrayLike, real_features: ArrayLike) -> dict[str, float]:
    """Squared Fréchet distance of two normal distributions fitted to features; lower is better on D_r and D_test.

    |m - n|^2 + tr(S + T - 2 (S T)^(1/2)) with means m, n and covariances S, T (divisor rows - 1). It falls with the
    number of rows, so compare only values from equal numbers of rows.

    With S = A'A and T = B'B, the trace of the root is the nuclear norm of AB', which is exact to rounding also where
    there are fewer rows than features and the distance is small; a root of ST is not, since it halves the digits.

    Args:
        generated_features: float [n, d], of generated images.
        real_features: float [m, d], of real images.

    Returns:
        `frechet_distance` in [0, inf), in squared units of the features.

    Raises:
        ValueError: if a set has fewer than two rows, the widths differ or a feature is not finite.

    Source: arXiv 1706.08500, eq. 6.
    """
    generated = _check_features("generated_features", generated_features)
    real = _check_features("real_features", real_features)
    if generated.shape[1] != real.shape[1]:
        raise ValueError(
            f"features have {generated.shape[1]} and {real.shape[1]} columns; those of one extractor are needed"
        )
    one, other = _factor(generated), _factor(real)
    cross = np.linalg.norm(one @ other.T, ord="nuc")
    apart = np.sum((generated.mean(axis=0) - real.mean(axis=0)) ** 2)
    return {"frechet_distance": float(max(0.0, apart + np.sum(one**2) + np.sum(other**2) - 2 * cross))}


def _factor(features: np.ndarray) -> np.ndarray:
    """Return A with A.T @ A the covariance of `features` [n, d]: [n, d], or [d, d] if there are more rows than that."""
    centred = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
    return centred if len(features) <= features.shape[1] else np.linalg.qr(centred, mode="r")


class FrechetDistance(evaluate.Metric):
    """`evaluate` face of `frechet_distance`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("float64")),
                    "references": datasets.Sequence(datasets.Value("float64")),
                }
            ),
            reference_urls=["https://arxiv.org/abs/1706.08500"],
        )

    def _compute(self, predictions: list, references: list) -> dict:
        return score_or_reason(frechet_distance, predictions, references)
