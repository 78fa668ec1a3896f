"""The worst gap against another way to compute it, on fresh random scores."""

import numpy as np
import pytest

from mubench_hf.metrics import get_metric

SCORES = ("forget_score", "retain_score", "test_score")
NAMES = [*SCORES, *(f"retrain_{name}" for name in SCORES)]


def test_largest_of_three(load, rng):
    values = rng.random((6, 5))
    found = load("worst_gap").compute(**dict(zip(NAMES, values.tolist(), strict=True)))
    assert found["worst_gap"] == pytest.approx(np.abs(values[:3] - values[3:]).max(axis=0).mean())


def test_the_retrained_model_itself_has_none(load):
    scores = dict.fromkeys(NAMES, [0.25])
    assert load("worst_gap").compute(**scores) == {"worst_gap": 0.0}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_share_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} is 1.5"):
        get_metric("worst_gap").compute(**{**dict.fromkeys(NAMES, 0.25), name: 1.5})
