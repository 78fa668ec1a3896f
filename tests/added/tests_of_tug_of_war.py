"""Tug of war against another way to compute it, on fresh random scores."""

import numpy as np
import pytest

from mubench_hf.metrics import get_metric

SCORES = ("forget_score", "retain_score", "test_score")
NAMES = [*SCORES, *(f"retrain_{name}" for name in SCORES)]


def test_product_of_likenesses(load, rng):
    values = rng.random((6, 5))
    found = load("tug_of_war").compute(**dict(zip(NAMES, values.tolist(), strict=True)))
    assert found["tug_of_war"] == pytest.approx(np.prod(1 - np.abs(values[:3] - values[3:]), axis=0).mean())


def test_the_retrained_model_itself_has_one(load):
    scores = dict.fromkeys(NAMES, [0.25])
    assert load("tug_of_war").compute(**scores) == {"tug_of_war": 1.0}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_share_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} is 1.5"):
        get_metric("tug_of_war").compute(**{**dict.fromkeys(NAMES, 0.25), name: 1.5})
