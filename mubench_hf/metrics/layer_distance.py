"""Distance of the weights to the retrained model's: of all together, and of the mean layer beside its size."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .checks import score_or_reason

DIRECTION = "lower"
RANGE = (0.0, float("inf"))
SOURCE = "arXiv 2111.08947"
HEADER = "Layer dist."
PLACE = 124
ALSO = ("layer_distance_relative",)

_INPUTS = """
Args:
    predictions (list of list of float): of each layer the distance of the two models' weights, and the norm of each
        model's.
Returns:
    layer_distance (float or None): Euclidean distance of all weights, at least 0.
    layer_distance_relative (float or None): mean over layers of the distance by the sum of the norms, in [0, 1].
    layer_distance_reason (str): why there is no score; present only if both are None.
"""
# How far a distance may exceed the sum of the norms by rounding; float32 weights of a layer are summed in float64.
_ROUNDING = 1e-6


def layer_distance(weights_from_retrain: ArrayLike) -> dict[str, float]:
    """Layer-wise distance to the retrained model; lower is better, and 0 is the retrained model itself.

    With w_l and v_l the weights of layer l of the two models, the root of the sum over layers of |w_l - v_l|^2, and the
    mean over layers of |w_l - v_l| / (|w_l| + |v_l|). A layer is one tensor of weights.

    Args:
        weights_from_retrain: float [layers, 3], of each layer |w_l - v_l|, |w_l| and |v_l|.

    Returns:
        `layer_distance`, at least 0, and `layer_distance_relative` in [0, 1].

    Raises:
        ValueError: if there are no layers, a number is negative or not finite, or a distance is larger than the norms
            allow.

    Source: arXiv 2111.08947 (the first one); arXiv 2003.02960.
    """
    total, relative = distances("weights_from_retrain", weights_from_retrain)
    return {"layer_distance": total, "layer_distance_relative": relative}


def distances(name: str, values: ArrayLike) -> tuple[float, float]:
    """Return the distance of all weights of two models, and the mean over layers beside their norms.

    Args:
        name: What the values are called in messages.
        values: float [layers, 3], see `layer_distance`.

    Raises:
        ValueError: as `layer_distance`.
    """
    try:
        layers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is not a rectangular array of numbers; float [layers, 3] is needed") from None
    if layers.ndim != 2 or layers.shape[1] != 3 or not len(layers):
        raise ValueError(f"{name} has shape {layers.shape}; [layers, 3] with one or more layers is needed")
    broken = ~(np.isfinite(layers) & (layers >= 0)).all(axis=1)
    distance, one, other = np.where(broken[:, None], 0, layers).T
    norms, slack = one + other, _ROUNDING * (one + other)
    wrong = broken | (distance > norms + slack) | (distance < np.abs(one - other) - slack)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{name} holds {layers[row].tolist()} in row {row}; finite numbers from 0 are needed, and a distance "
            "between the difference and the sum of the norms"
        )
    # Two layers of zeros are alike.
    relative = np.divide(distance, norms, out=np.zeros_like(norms), where=norms > 0)
    return float(np.sqrt(np.square(distance).sum())), float(np.minimum(relative, 1).mean())


class LayerDistance(evaluate.Metric):
    """`evaluate` face of `layer_distance`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": datasets.Sequence(datasets.Value("float64"))}),
            reference_urls=["https://arxiv.org/abs/2111.08947", "https://arxiv.org/abs/2003.02960"],
        )

    def _compute(self, predictions: list) -> dict:
        return dict.fromkeys(("layer_distance", *ALSO)) | score_or_reason(layer_distance, predictions)
