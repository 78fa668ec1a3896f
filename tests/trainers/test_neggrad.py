"""NegGrad: negated cross-entropy of D_f alone."""

import numpy as np
import pytest
import torch
from formulas import cross_entropy

from mubench_hf.errors import BadInput
from mubench_hf.trainers import NegGradConfig
from mubench_hf.trainers.neggrad import neggrad_loss


def test_the_loss_is_negated(rng):
    losses = torch.from_numpy(rng.exponential(size=40).astype("f4"))
    assert neggrad_loss(losses).tolist() == [-loss for loss in losses.tolist()]


def test_loss_of_every_update(world, updates, shares):
    _, found = updates("neggrad", world, **shares)
    for update in found:
        expected = -cross_entropy(update.student, world.labels)[update.rows]
        assert update.loss == pytest.approx(expected.mean(), rel=1e-4, abs=1e-5)


def test_each_epoch_is_all_of_d_f(world, make, spy):
    trainer = make("neggrad", world)
    seen = spy(trainer)
    trainer.train()
    for batches in seen.epochs():
        rows = np.concatenate([batch.rows for batch in batches])
        assert sorted(rows) == np.flatnonzero(world.is_forget).tolist()


def test_limit_holds_for_negative_losses(world, make):
    trainer = make("neggrad", world, max_abs_loss=1e-3)
    trainer.train()
    assert trainer.status == "diverged" and trainer.status_reason.startswith("loss -")


def test_too_many_shares(world, make):
    trainer = make("neggrad", world, gradient_accumulation_steps=14)
    with pytest.raises(BadInput, match="13 forget rows cannot be shared among 1 processes x 14"):
        trainer.train()


def test_defaults():
    config = NegGradConfig(output_dir="unused", use_cpu=True)
    assert (config.learning_rate, config.max_abs_loss) == (1e-5, 1e3)
