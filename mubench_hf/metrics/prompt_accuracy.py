"""Share of generated images in which a fixed classifier sees what the prompt asked for."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .checks import check_labels, check_logits, score_or_reason

DIRECTION = "higher"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2406.14796"

_INPUTS = """
Args:
    predictions (list of list of float): the classifier's unnormalised logits on the generated images, C >= 2 per row.
    references (list of int): classes that the prompts named, 0 to C - 1.
Returns:
    prompt_accuracy (float or None): share of images seen as their prompt's class, in [0, 1].
    prompt_accuracy_reason (str): why there is no score; present only if it is None.
"""


def row_scores(generated_logits: ArrayLike, generated_labels: ArrayLike) -> dict[str, np.ndarray]:
    """Whether each image is seen as its prompt's class: `prompt_accuracy`, float64 [n], 0 or 1.

    Raises:
        ValueError: if there are no rows, shapes do not fit, a logit is not finite or a label is no class index.
    """
    logits = check_logits("generated_logits", generated_logits)
    labels = check_labels("generated_labels", generated_labels, logits)
    return {"prompt_accuracy": (logits.argmax(axis=1) == labels).astype(np.float64)}


def prompt_accuracy(generated_logits: ArrayLike, generated_labels: ArrayLike) -> dict[str, float]:
    """Accuracy of a fixed classifier on images made for the prompts of a set; higher is better on D_r and D_test.

    Among equal largest logits the first class counts as predicted. On D_f the retrained model's value is the target.

    Args:
        generated_logits: float [n, C], the classifier's, unnormalised, finite, C >= 2.
        generated_labels: int [n], classes that the prompts named.

    Returns:
        `prompt_accuracy` in [0, 1].

    Raises:
        ValueError: if there are no rows, shapes do not fit, a logit is not finite or a label is no class index.

    Source: arXiv 2406.14796 (scores of text-to-image generation).
    """
    rows = row_scores(generated_logits, generated_labels)
    return {"prompt_accuracy": float(np.mean(rows["prompt_accuracy"]))}


class PromptAccuracy(evaluate.Metric):
    """`evaluate` face of `prompt_accuracy`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Sequence(datasets.Value("float64")), "references": datasets.Value("int64")}
            ),
            reference_urls=["https://arxiv.org/abs/2406.14796"],
        )

    def _compute(self, predictions: list, references: list) -> dict:
        return score_or_reason(prompt_accuracy, predictions, references)
