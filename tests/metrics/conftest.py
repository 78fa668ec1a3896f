"""Inputs that differ in every run: the seed is printed with a failure, `MUBENCH_TEST_SEED=<seed>` repeats it."""

import os

import evaluate
import numpy as np
import pytest

from mubench_hf.metrics import METRICS, metric_file

CLASSES = 5


@pytest.fixture
def rng():
    seed = int(os.environ.get("MUBENCH_TEST_SEED", np.random.SeedSequence().entropy))
    print(f"inputs drawn with MUBENCH_TEST_SEED={seed}")
    return np.random.default_rng(seed)


@pytest.fixture
def rows(rng):
    """Draw (logits, labels) of one group; logits are multiples of 2^-10, so adding an integer to them is exact."""

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.integers(-4096, 4097, size=(n, CLASSES)) / 1024, rng.integers(CLASSES, size=n)

    return draw


@pytest.fixture
def load(tmp_path):
    """Load a metric as a user does, from its file."""
    return lambda name: evaluate.load(str(metric_file(name)), cache_dir=str(tmp_path))


@pytest.fixture
def forgets(monkeypatch):
    """Forget after the test which metrics it brought to this process."""
    monkeypatch.setattr(METRICS, "_brought", {})
    monkeypatch.setattr(METRICS, "_origins", {})


def _set(array: np.ndarray, index, value) -> np.ndarray:
    changed = array.copy()
    changed[index] = value
    return changed


# What is wrong, how to make it so, and what the error has to say.
SPOILT = {
    "no rows": (lambda z, y: (z[:0], y[:0]), "logits is empty"),
    "nan": (
        lambda z, y: (_set(z, (3, 1), np.nan), y),
        r"logits holds NaN or infinity in 1 of \d+ rows, first in row 3",
    ),
    "infinity": (lambda z, y: (_set(z, (0, 0), -np.inf), y), "logits holds NaN or infinity in 1 of"),
    "flat logits": (lambda z, y: (z[:, 0], y), r"logits has shape \(\d+,\); \[n, C\]"),
    "one class": (lambda z, y: (z[:, :1], 0 * y), r"logits has shape \(\d+, 1\); \[n, C\] with C >= 2"),
    "ragged logits": (lambda z, y: ([list(z[0, :2]), *map(list, z[1:])], y), "logits is not a rectangular array"),
    "missing label": (lambda z, y: (z, y[1:]), r"labels has shape \(\d+,\); one label for each of \d+ rows"),
    "nested labels": (lambda z, y: (z, y[:, None]), r"labels has shape \(\d+, 1\); one label for each"),
    "label too large": (
        lambda z, y: (z, _set(y, 2, CLASSES)),
        f"labels holds {CLASSES}; class indices 0 to {CLASSES - 1}",
    ),
    "negative label": (lambda z, y: (z, _set(y, 2, -1)), f"labels holds -1; class indices 0 to {CLASSES - 1}"),
    "float labels": (lambda z, y: (z, y + 0.5), "labels has dtype float64; integer class indices"),
}


@pytest.fixture(params=SPOILT)
def spoil(request):
    """One way to spoil (logits, labels), with a pattern of the error that names it."""
    return SPOILT[request.param]
