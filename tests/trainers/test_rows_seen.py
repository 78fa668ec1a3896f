"""Every method trains on exactly the rows that its passes name; which these are stands in the method's own test."""

import numpy as np
import pytest
import torch
from methods import methods_for


@pytest.mark.parametrize("method", methods_for("classification"))
def test_rows_of_each_epoch(method, world, make, spy):
    trainer = make(method, world)
    seen = spy(trainer)
    trainer.train()
    assert len(seen.epochs()) == trainer.args.num_train_epochs
    sets = {"forget": world.is_forget, "retain": ~world.is_forget, "union": world.is_forget | True}
    for epoch, batches in enumerate(seen.epochs()):
        rows = np.concatenate([batch.rows for batch in batches])
        for each in trainer.passes(epoch):
            size = 2 * len(world.forget) if each.rows == "balanced" else sets[each.rows].sum()
            here, rows = np.split(rows, [size])
            if each.rows == "balanced":
                assert sorted(here[world.is_forget[here]]) == np.flatnonzero(world.is_forget).tolist()
            else:
                assert sorted(here) == np.flatnonzero(sets[each.rows]).tolist()
        assert not len(rows)


@pytest.mark.parametrize("method", methods_for("classification"))
def test_what_the_model_is_given_are_these_rows(method, world, make, spy):
    trainer = make(method, world)
    seen = spy(trainer)
    trainer.train()
    for batch in seen.batches:
        # Rows stand in upstream order, so a position is an index.
        assert (batch.pixels == world.pixels[batch.rows]).all()
        assert (batch.is_forget == world.is_forget[batch.rows]).all()
        kept = ~batch.is_forget
        assert (batch.labels[kept] == world.labels[batch.rows][kept]).all(), "rows of D_r keep their labels"
        assert 0 < len(batch.rows) <= 8


@pytest.mark.parametrize("method", methods_for("classification"))
def test_orders_differ_between_epochs_and_seeds_only(method, world, make, spy):
    walks = []
    for seed in (1, 1, 2):
        trainer = make(method, world, seed=seed)
        torch.rand(seed)
        seen = spy(trainer)
        trainer.train()
        walks.append([np.concatenate([batch.rows for batch in epoch]).tolist() for epoch in seen.epochs()])
    assert walks[0] == walks[1] and walks[0] != walks[2]
    assert walks[0][0] != walks[0][1]
