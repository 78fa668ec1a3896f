"""NPO: the loss of every update is the paper's, in NumPy."""

import numpy as np
import pytest
from formulas import log_likelihood

from mubench_hf.trainers import NPOConfig


def test_loss_of_every_update(world, updates, shares, logits_of):
    trainer, found = updates("npo", world, beta=0.7, **shares)
    original = log_likelihood(logits_of(trainer, world.original()), world.labels)
    for update in found:
        ratios = log_likelihood(update.student, world.labels) - original
        expected = 2 / 0.7 * np.log1p(np.exp(0.7 * ratios[update.rows]))
        assert update.loss == pytest.approx(expected.mean(), rel=1e-4)


def test_default_is_the_papers():
    assert NPOConfig(output_dir="unused", use_cpu=True).beta == 0.1
