"""AUC of telling texts of D_f from test texts by their loss over the size that zlib compresses them to."""

import zlib

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .attacks import attack_scores, both_losses
from .checks import columns_by_group, score_or_reason

DIRECTION = "match_retrained"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2012.07805"
HEADER = "zlib ratio"
PLACE = 75
ALSO = ("zlib_ratio_tpr_at_1fpr",)

_INPUTS = """
Args:
    predictions (list of list of float): logits of two classes for each text, its truth and all else, whose
        cross-entropy is the text's mean loss.
    labels (list of int): which of the two is the truth.
    references (list of str): the true texts.
    groups (list of str): "forget", "retain" or "test" for each text; retain texts are not used.
Returns:
    zlib_ratio (float or None): area under the attack's ROC curve, in [0, 1].
    zlib_ratio_tpr_at_1fpr (float or None): largest share of forget texts found together with at most 1% of the
        test texts, in [0, 1].
    zlib_ratio_reason (str): why there is no score; present only if both are None.
"""


def zlib_ratio(
    forget_logits: ArrayLike,
    forget_labels: ArrayLike,
    forget_references: ArrayLike,
    test_logits: ArrayLike,
    test_labels: ArrayLike,
    test_references: ArrayLike,
) -> dict[str, float]:
    """AUC of the zlib attack on D_f against test texts; the retrained model's value is the target.

    A text's score is minus its mean loss per token, divided by the bytes of the text in UTF-8 after `zlib.compress`: a
    low loss says less of a text that is short or repeats itself, which any model finds likely. The AUC is the chance
    that a text of D_f has a higher score than a test text, ties counted half.

    Args:
        forget_logits: float [n_f, C], unnormalised, finite, C >= 2.
        forget_labels: int [n_f], 0 to C - 1.
        forget_references: str [n_f].
        test_logits: float [n_t, C].
        test_labels: int [n_t].
        test_references: str [n_t].

    Returns:
        `zlib_ratio` in [0, 1], and `zlib_ratio_tpr_at_1fpr` in [0, 1], the largest true positive rate at a false
        positive rate of at most 1%.

    Raises:
        ValueError: if a group has no rows, shapes do not fit, a logit is not finite, a label is no class index, or
            there is not one text per row.

    Source: arXiv 2012.07805, section 5.2.
    """
    losses = both_losses(forget_logits, forget_labels, test_logits, test_labels)
    texts = {"forget_references": forget_references, "test_references": test_references}
    sizes = [_compressed(name, given, len(of)) for (name, given), of in zip(texts.items(), losses, strict=True)]
    return attack_scores("zlib_ratio", *ALSO, *(-loss / size for loss, size in zip(losses, sizes, strict=True)))


def _compressed(name: str, texts: ArrayLike, rows: int) -> np.ndarray:
    """Bytes of each compressed text, float64 [n]; those of an empty text are the format's own."""
    texts = list(texts)
    if len(texts) != rows or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name} has {len(texts)} entries; one text for each of {rows} rows is needed")
    return np.asarray([len(zlib.compress(text.encode("utf-8", "surrogatepass"))) for text in texts], dtype=np.float64)


class ZlibRatio(evaluate.Metric):
    """`evaluate` face of `zlib_ratio`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("float64")),
                    "labels": datasets.Value("int64"),
                    "references": datasets.Value("string"),
                    "groups": datasets.Value("string"),
                }
            ),
            reference_urls=["https://arxiv.org/abs/2012.07805"],
        )

    def _compute(self, predictions: list, labels: list, references: list[str], groups: list[str]) -> dict:
        columns = {"logits": predictions, "labels": labels, "references": references}
        rows = columns_by_group(columns, groups, names=("forget", "test"))
        return {name: None for name in ALSO} | score_or_reason(zlib_ratio, **rows)
