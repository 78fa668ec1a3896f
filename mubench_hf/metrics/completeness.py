"""Share of rows on which the model gives the very answer that the retrained one gives, on the test set and D_f."""

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .checks import by_group, check_logits, check_same_shape, score_or_reason

DIRECTION = "higher"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2606.00380"
HEADER = "Compl."
PLACE = 116
ALSO = ("completeness_on_forget",)

_INPUTS = """
Args:
    predictions (list of str): the unlearned model's answers, texts or names of classes.
    references (list of str): the retrained model's answers on the same rows.
    groups (list of str): `forget` or `test` for each row; rows of `retain` are not used.
Returns:
    completeness (float or None): share of test rows with equal answers, in [0, 1].
    completeness_on_forget (float or None): the same on D_f.
    completeness_reason (str): why there is no score; present only if it is None.
"""


def completeness(
    test_logits: ArrayLike | None,
    retrain_test_logits: ArrayLike | None,
    forget_logits: ArrayLike | None,
    retrain_forget_logits: ArrayLike | None,
    test_predictions: Sequence[str] | None = None,
    retrain_test_predictions: Sequence[str] | None = None,
    forget_predictions: Sequence[str] | None = None,
    retrain_forget_predictions: Sequence[str] | None = None,
    test_generated_logits: ArrayLike | None = None,
    retrain_test_generated_logits: ArrayLike | None = None,
    forget_generated_logits: ArrayLike | None = None,
    retrain_forget_generated_logits: ArrayLike | None = None,
) -> dict[str, float]:
    """Completeness; higher is better, and 1 means that the model answers every row as the retrained one does.

    An answer is the text that a model writes, the class that the fixed classifier sees in the image it draws, or else
    the class of the largest logit. Texts are equal if every character is.

    Args:
        test_logits: float [n_t, C], unnormalised, finite, C >= 2; the unlearned model's on the test set.
        retrain_test_logits: float [n_t, C], the retrained model's on the same rows.
        forget_logits: float [n_f, C], the unlearned model's on D_f.
        retrain_forget_logits: float [n_f, C], the retrained model's.
        test_predictions: str [n_t], texts of the unlearned model, if it writes.
        retrain_test_predictions: str [n_t], texts of the retrained model.
        forget_predictions: str [n_f], texts of the unlearned model on D_f.
        retrain_forget_predictions: str [n_f], texts of the retrained model.
        test_generated_logits: float [m_t, C], the fixed classifier's, of images that the unlearned model draws.
        retrain_test_generated_logits: float [m_t, C], the same of the retrained model.
        forget_generated_logits: float [m_f, C], the same of the unlearned model on D_f.
        retrain_forget_generated_logits: float [m_f, C], the same of the retrained model.

    Returns:
        `completeness` on the test set and `completeness_on_forget` on D_f, in [0, 1].

    Raises:
        ValueError: if a set has no rows, the shapes of the two models differ, a logit is not finite, or only one of the
            models has texts or images.

    Source: arXiv 2606.00380, after Cao and Yang 2015 (IEEE S&P).
    """
    test = (test_predictions, retrain_test_predictions), (test_generated_logits, retrain_test_generated_logits)
    forget = (
        (forget_predictions, retrain_forget_predictions),
        (forget_generated_logits, retrain_forget_generated_logits),
    )
    return {
        "completeness": _share("test", *test, (test_logits, retrain_test_logits)),
        "completeness_on_forget": _share("forget", *forget, (forget_logits, retrain_forget_logits)),
    }


def _share(split: str, texts: tuple, images: tuple, classes: tuple) -> float:
    """Return the share of rows with equal answers, the first of the three kinds that the models have."""
    for kind, pair in (("predictions", texts), ("generated_logits", images), ("logits", classes)):
        own, other = f"{split}_{kind}", f"retrain_{split}_{kind}"
        if all(value is None for value in pair):
            continue
        for name, value in zip((own, other), pair, strict=True):
            if value is None:
                raise ValueError(f"{name} is missing; the same kind of answer is needed of both models")
        if kind == "predictions":
            return _equal_texts(own, other, *pair)
        logits = {name: check_logits(name, value) for name, value in zip((own, other), pair, strict=True)}
        check_same_shape(**logits)
        return float(np.mean(logits[own].argmax(axis=1) == logits[other].argmax(axis=1)))
    raise ValueError(f"there are no answers on the set {split!r}; texts or logits of both models are needed")


def _equal_texts(name: str, other_name: str, texts: Sequence[str], others: Sequence[str]) -> float:
    """Return the share of rows whose two texts are the same."""
    if len(texts) != len(others) or not len(texts):
        raise ValueError(f"{name} has {len(texts)} rows and {other_name} {len(others)}; one or more of each are needed")
    return float(np.mean([own == other for own, other in zip(texts, others, strict=True)]))


class Completeness(evaluate.Metric):
    """`evaluate` face of `completeness`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                dict.fromkeys(("predictions", "references", "groups"), datasets.Value("string"))
            ),
            reference_urls=["https://arxiv.org/abs/2606.00380", "https://ieeexplore.ieee.org/document/7163042"],
        )

    def _compute(self, predictions: list[str], references: list[str], groups: list[str]) -> dict:
        rows = by_group(predictions, references, groups, names=("forget", "test"))
        given = {
            f"{reference}{name}_predictions": rows[f"{name}_{column}"]
            for name in ("forget", "test")
            for reference, column in (("", "logits"), ("retrain_", "labels"))
        }
        return dict.fromkeys(("completeness", *ALSO)) | score_or_reason(completeness, None, None, None, None, **given)
