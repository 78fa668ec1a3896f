"""How sure an attacker is that a model was trained on a row."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mubench_hf.errors import BadInput


class Attacker:
    """A logistic regression on one model's confidence in the truth, fitted on rows whose membership is known.

    Members are the rows of D_r, non-members those of test, and both sides weigh the same, so that 0.5 means that the
    attacker cannot tell. The only feature is the one of ``mia_confidence_svc``: the probability ``exp(-loss)`` that the
    truth gets. It is brought to mean 0 and standard deviation 1; the regression has scikit-learn's penalty, C = 1.

    Args:
        outputs: What was measured of the model: of ``retain`` and ``test``, ``<split>_logits`` ``[rows, classes]`` and
            ``<split>_labels`` ``[rows]``.

    Raises:
        BadInput: If outputs are not numbers, or all rows have one confidence.
    """

    def __init__(self, outputs: Mapping[str, np.ndarray]):
        members, others = (confidences(outputs, split) for split in ("retain", "test"))
        seen = np.concatenate([members, others])
        if not np.isfinite(seen).all():
            raise BadInput("the model's outputs are not all finite numbers")
        if seen.min() == seen.max():
            raise BadInput("the model is equally sure of every row, so there is nothing to tell rows by")
        # To the optimum itself: the default stops where a row may still move in the fourth digit.
        regression = LogisticRegression(class_weight="balanced", tol=1e-9, max_iter=1000)
        self._fitted = make_pipeline(StandardScaler(), regression).fit(
            seen[:, None], np.repeat([1, 0], [len(members), len(others)])
        )

    def membership(self, loss: float) -> float:
        """Return the probability, in [0, 1], that a row of this loss was trained on."""
        return float(self._fitted.predict_proba([[np.exp(-loss)]])[0, 1])


def confidences(outputs: Mapping[str, np.ndarray], split: str) -> np.ndarray:
    """Return the probability that each row's truth gets, float64 ``[rows]``."""
    logits, labels = outputs[f"{split}_logits"].astype(np.float64), outputs[f"{split}_labels"]
    return np.exp(log_softmax(logits, axis=1)[np.arange(len(labels)), labels])
