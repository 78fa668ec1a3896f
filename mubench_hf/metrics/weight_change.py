"""Distance of the weights to the original's: how far unlearning moved them."""

import datasets
import evaluate
from numpy.typing import ArrayLike

from .checks import score_or_reason
from .layer_distance import distances

DIRECTION = "match_retrained"
RANGE = (0.0, float("inf"))
SOURCE = "arXiv 2003.02960"
HEADER = "Moved"
PLACE = 126
ALSO = ("weight_change_relative",)

_INPUTS = """
Args:
    predictions (list of list of float): of each layer the distance of its weights to the original's, and the norm of
        each of the two.
Returns:
    weight_change (float or None): Euclidean distance of all weights, at least 0.
    weight_change_relative (float or None): mean over layers of the distance by the sum of the norms, in [0, 1].
    weight_change_reason (str): why there is no score; present only if both are None.
"""


def weight_change(weights_from_original: ArrayLike) -> dict[str, float]:
    """Layer-wise distance to the original; 0 means that nothing was moved.

    With w_l and o_l the weights of layer l of a model and of the original, the root of the sum over layers of
    |w_l - o_l|^2, and the mean over layers of |w_l - o_l| / (|w_l| + |o_l|). A layer is one tensor of weights.

    Args:
        weights_from_original: float [layers, 3], of each layer |w_l - o_l|, |w_l| and |o_l|.

    Returns:
        `weight_change`, at least 0, and `weight_change_relative` in [0, 1].

    Raises:
        ValueError: if there are no layers, a number is negative or not finite, or a distance is larger than the norms
            allow.

    Source: arXiv 2003.02960.
    """
    total, relative = distances("weights_from_original", weights_from_original)
    return {"weight_change": total, "weight_change_relative": relative}


class WeightChange(evaluate.Metric):
    """`evaluate` face of `weight_change`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": datasets.Sequence(datasets.Value("float64"))}),
            reference_urls=["https://arxiv.org/abs/2003.02960"],
        )

    def _compute(self, predictions: list) -> dict:
        return dict.fromkeys(("weight_change", *ALSO)) | score_or_reason(weight_change, predictions)
