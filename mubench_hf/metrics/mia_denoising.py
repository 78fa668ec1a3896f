"""AUC of telling images of D_f from test images by how well their noise is predicted at fixed times."""

import datasets
import evaluate
from numpy.typing import ArrayLike

from .attacks import attack_scores, check_sizes
from .checks import columns_by_group, score_or_reason

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2302.03262"
HEADER = "MIA denoising"
PLACE = 78
ALSO = ("mia_denoising_tpr_at_1fpr",)

_INPUTS = """
Args:
    predictions (list of list of float): squared error of the predicted noise of each image at each of the same times.
    groups (list of str): "forget", "retain" or "test" for each image; retain images are not used.
Returns:
    mia_denoising (float or None): area under the attack's ROC curve, in [0, 1].
    mia_denoising_tpr_at_1fpr (float or None): largest share of forget images found together with at most 1% of the
        test images, in [0, 1].
    mia_denoising_reason (str): why there is no score; present only if both are None.
"""


def mia_denoising(forget_denoising_errors: ArrayLike, test_denoising_errors: ArrayLike) -> dict[str, float]:
    """AUC of the loss attack on a denoiser, D_f against test images; the retrained model's value is the target.

    An image's score is minus its mean error over fixed times, each with a noise that belongs to the image, so that two
    models are asked the same. The benchmark's times are 5, 10, 20, 30 and 40 % of the schedule from the image to pure
    noise, such as 50, 100, 200, 300 and 400 of 1000: less noise tells little, and at more any model sees little but
    noise. The AUC is the chance that an image of D_f has a smaller error than a test image, ties counted half.

    Args:
        forget_denoising_errors: float [n_f, times], mean squared error of the predicted noise, at least 0.
        test_denoising_errors: float [n_t, times], at the same times.

    Returns:
        `mia_denoising` in [0, 1], and `mia_denoising_tpr_at_1fpr` in [0, 1], the largest true positive rate at a false
        positive rate of at most 1%.

    Raises:
        ValueError: if a group has no rows, an error is negative or not finite, or the numbers of times differ.

    Source: arXiv 2302.03262, arXiv 2301.13188 (which times tell most).
    """
    forget = check_sizes("forget_denoising_errors", forget_denoising_errors, dimensions=2)
    test = check_sizes("test_denoising_errors", test_denoising_errors, dimensions=2)
    if forget.shape[1] != test.shape[1]:
        raise ValueError(f"D_f has errors at {forget.shape[1]} times and test at {test.shape[1]}; the same are needed")
    return attack_scores("mia_denoising", *ALSO, -forget.mean(axis=1), -test.mean(axis=1))


class MiaDenoising(evaluate.Metric):
    """`evaluate` face of `mia_denoising`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Sequence(datasets.Value("float64")), "groups": datasets.Value("string")}
            ),
            reference_urls=["https://arxiv.org/abs/2302.03262", "https://arxiv.org/abs/2301.13188"],
        )

    def _compute(self, predictions: list, groups: list[str]) -> dict:
        rows = columns_by_group({"denoising_errors": predictions}, groups, names=("forget", "test"))
        return {name: None for name in ALSO} | score_or_reason(mia_denoising, **rows)
