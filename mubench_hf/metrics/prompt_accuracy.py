"""Share of generated images in which a fixed classifier sees what the prompt asked for."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

DIRECTION = "higher"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2406.14796"

_INPUTS = """
Args:
    predictions (list of list of float): unnormalised logits of the classifier on the generated images, C >= 2 a row.
    references (list of int): classes that the prompts named, 0 to C - 1.
Returns:
    prompt_accuracy (float or None): share of images seen as their prompt's class, in [0, 1].
    prompt_accuracy_reason (str): why there is no score; present only if it is None.
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


def _check_labels(name: str, values: ArrayLike, logits: np.ndarray) -> np.ndarray:
    """Return `values` as integers [n] that index the columns of `logits`, or raise a ValueError that says why not."""
    try:
        labels = np.asarray(values)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is not an array; int [n] is needed") from None
    if labels.shape != (len(logits),):
        raise ValueError(f"{name} has shape {labels.shape}; one label for each of {len(logits)} rows is needed")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{name} has dtype {labels.dtype}; integer class indices are needed")
    outside = labels[(labels < 0) | (labels >= logits.shape[1])]
    if outside.size:
        raise ValueError(f"{name} holds {outside[0]}; class indices 0 to {logits.shape[1] - 1} are allowed")
    return labels.astype(np.int64)


def row_scores(generated_logits: ArrayLike, generated_labels: ArrayLike) -> dict[str, np.ndarray]:
    """Whether each image is seen as its prompt's class: `prompt_accuracy`, float64 [n], 0 or 1.

    Raises:
        ValueError: if there are no rows, shapes do not fit, a logit is not finite or a label is no class index.
    """
    logits = _check_logits("generated_logits", generated_logits)
    labels = _check_labels("generated_labels", generated_labels, logits)
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
        try:
            return prompt_accuracy(predictions, references)
        except ValueError as error:
            return {"prompt_accuracy": None, "prompt_accuracy_reason": str(error)}
