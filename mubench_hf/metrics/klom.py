"""KL divergence of margins: how far a row's margins over many unlearned models are from those over retrained ones."""

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from .checks import columns_by_group, score_or_reason
from .populations import check_population

DIRECTION = "lower"
RANGE = (0.0, 12.0)
SOURCE = "arXiv 2410.23232"
HEADER = "KLoM"
PLACE = 106.5
ALSO = ("klom_retain", "klom_test")

BINS, EPSILON, LARGEST = 20, 1e-5, 100.0
"""Bins that a row's histograms share, the least share of the retrained one, and where margins are cut off."""

_INPUTS = """
Args:
    predictions (list of list of float): for each row, its margins under the unlearned models, two or more.
    references (list of list of float): for each row, its margins under the retrained models, two or more.
    groups (list of str): "forget", "retain" or "test" for each row; there must be rows of each.
Returns:
    klom, klom_retain, klom_test (float or None): mean over the rows of D_f, D_r and test, in nats, in [0, 12].
    klom_reason (str): why there is no score; present only if all three are None.
"""


def klom(
    population_forget_margins: ArrayLike,
    population_retain_margins: ArrayLike,
    population_test_margins: ArrayLike,
    retrain_population_forget_margins: ArrayLike,
    retrain_population_retain_margins: ArrayLike,
    retrain_population_test_margins: ArrayLike,
) -> dict[str, float]:
    """KLoM of a method; lower is better, and what a second population of retrained models has is the least to expect.

    A row's margin is its true class's logit minus the logsumexp of all others. Over N unlearned models of different
    seeds it has one histogram, over N retrained models another, of 20 equal bins from the smallest to the largest of
    all these margins, which are cut off at ±100. The row's KLoM is KL(unlearned || retrained) in nats, where no share
    of the retrained histogram counts as less than 1e-5. It belongs to a method, not to one model.

    Few models give a large value for equal distributions too: with 8 of each, most bins hold none or one. Compare only
    values of equally many models, and read them beside that of the retrained row.

    Args:
        population_forget_margins: float [models, n_f], margins of D_f under unlearned models, two or more.
        population_retain_margins: float [models, n_r].
        population_test_margins: float [models, n_t].
        retrain_population_forget_margins: float [models', n_f], the same rows under retrained models, two or more.
        retrain_population_retain_margins: float [models', n_r].
        retrain_population_test_margins: float [models', n_t].

    Returns:
        `klom`, `klom_retain` and `klom_test` in [0, 12], the mean over rows of D_f, D_r and test.

    Raises:
        ValueError: if a population has fewer than two models, a split no rows, shapes do not fit, or a value is not
            finite.

    Source: arXiv 2410.23232.
    """
    unlearned = population_forget_margins, population_retain_margins, population_test_margins
    retrained = (
        retrain_population_forget_margins,
        retrain_population_retain_margins,
        retrain_population_test_margins,
    )
    means = [
        float(row_klom(*pair, split).mean())
        for split, *pair in zip(("forget", "retain", "test"), unlearned, retrained, strict=True)
    ]
    return dict(zip(("klom", *ALSO), means, strict=True))


def row_klom(unlearned: ArrayLike, retrained: ArrayLike, split: str = "forget") -> np.ndarray:
    """KLoM of each row in nats, float64 [n].

    Args:
        unlearned: float [models, n], margins under unlearned models.
        retrained: float [models', n], margins under retrained models.
        split: what the rows are called in errors.

    Raises:
        ValueError: as `klom`.
    """
    mine = check_population(f"population_{split}_margins", unlearned)
    other = check_population(f"retrain_population_{split}_margins", retrained, mine.shape[1])
    both = [np.clip(values, -LARGEST, LARGEST) for values in (mine, other)]
    if min(map(len, both)) < 2:
        raise ValueError(
            f"There are {len(both[0])} unlearned and {len(both[1])} retrained models; two or more of each are needed"
        )
    low = np.minimum(*(values.min(axis=0) for values in both))
    width = np.maximum(*(values.max(axis=0) for values in both)) - low
    p, q = (_histograms(values, low, np.where(width > 0, width, 1)) for values in both)
    q = np.where(p > 0, np.maximum(q, EPSILON), q)
    q = q / q.sum(axis=1, keepdims=True)
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    return np.maximum(np.sum(p * np.log(ratio), axis=1), 0)  # Rounding may leave a little less.


def _histograms(values: np.ndarray, low: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Share of the models in each bin, float64 [n, bins]; the largest value belongs to the last bin."""
    models, rows = values.shape
    place = np.minimum(((values - low) / width * BINS).astype(np.int64), BINS - 1) + BINS * np.arange(rows)
    return np.bincount(place.ravel(), minlength=rows * BINS).reshape(rows, BINS) / models


class Klom(evaluate.Metric):
    """`evaluate` face of `klom`: one row of a split per row."""

    def _info(self) -> evaluate.MetricInfo:
        margins = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": margins, "references": margins, "groups": datasets.Value("string")}
            ),
            reference_urls=["https://arxiv.org/abs/2410.23232"],
        )

    def _compute(self, predictions: list[list], references: list[list], groups: list[str]) -> dict:
        columns = {"unlearned": predictions, "retrained": references}
        rows = columns_by_group(columns, groups, names=("forget", "retain", "test"))
        ordered = [rows[f"{split}_{name}"] for name in columns for split in ("forget", "retain", "test")]
        by_model = [[list(models) for models in zip(*each, strict=True)] for each in ordered]
        return {name: None for name in ALSO} | score_or_reason(klom, *by_model)
