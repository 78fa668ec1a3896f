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
    one, other = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (generated, real))
    # The eigenvalues of S T are those of the symmetric S^(1/2) T S^(1/2), which rounding cannot make complex.
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ other @ root).clip(min=0)).sum()
    apart = np.sum((generated.mean(axis=0) - real.mean(axis=0)) ** 2)
    return {"frechet_distance": float(max(0.0, apart + np.trace(one) + np.trace(other) - 2 * cross))}


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
