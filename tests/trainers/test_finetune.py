"""Fine-tuning: cross-entropy of D_r alone."""

import numpy as np
import pytest
from formulas import cross_entropy

from mubench_hf.trainers import FinetuneTrainer


def test_loss_of_every_update(world, updates, shares):
    _, found = updates("finetune", world, **shares)
    for update in found:
        expected = cross_entropy(update.student, world.labels)[update.rows]
        assert update.loss == pytest.approx(expected.mean(), rel=1e-4, abs=1e-5)


def test_each_epoch_is_all_of_d_r(world, make, spy):
    trainer = make("finetune", world)
    seen = spy(trainer)
    trainer.train()
    for batches in seen.epochs():
        rows = np.concatenate([batch.rows for batch in batches])
        assert sorted(rows) == np.flatnonzero(~world.is_forget).tolist()


def test_it_needs_no_deletion_set(world, make):
    trainer = make("finetune", world, max_steps=1, kwargs={"forget_dataset": None})
    trainer.train()
    assert len(trainer.rows) == len(world.retain) and trainer.status == "ok"


def test_defaults():
    assert FinetuneTrainer.config_class(output_dir="unused", use_cpu=True).num_train_epochs == 5
