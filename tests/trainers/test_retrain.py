"""The reference: nothing of the original is left in it."""

import numpy as np
import pytest
import torch
from formulas import cross_entropy

from mubench_hf.data.joined import JoinedRows
from mubench_hf.models.loading import reinitialised


def other_original(world):
    model = world.original()
    with torch.no_grad():
        for weight in model.parameters():
            weight += torch.randn_like(weight)
    return model


def test_ends_the_same_from_any_original(world, make, weights_of, same_weights):
    ends = []
    for model in (world.original(), other_original(world)):
        trainer = make("retrain", world, model=model)
        trainer.train()
        ends.append(weights_of(trainer.model))
    assert same_weights(*ends)


def test_starts_from_weights_of_the_runs_seed(world, make, weights_of, same_weights):
    starts = []
    for seed in (1, 2):
        trainer = make("retrain", world, seed=seed)
        trainer.prepare()
        assert same_weights(weights_of(trainer.model), weights_of(reinitialised(world.original(), seed)))
        starts.append(weights_of(trainer.model))
    assert not same_weights(*starts)


def test_starts_from_a_backbone(world, make, weights_of, tmp_path):
    backbone = other_original(world)
    backbone.save_pretrained(tmp_path / "backbone")
    trainer = make("retrain", world, init_from=str(tmp_path / "backbone"))
    trainer.prepare()
    for name, tensor in weights_of(backbone).items():
        assert torch.equal(tensor, weights_of(trainer.model)[name])


@pytest.mark.parametrize("change", ["pixels", "labels"])
def test_forgotten_rows_leave_no_trace(world, make, weights_of, same_weights, change):
    ends = []
    for _ in range(2):
        trainer = make("retrain", world)
        trainer.train()
        ends.append(weights_of(trainer.model))
        if change == "pixels":
            world.forget.datasets["pixel_values"].add_(1)
        else:
            world.forget.datasets["labels"].add_(1).remainder_(5)
    assert same_weights(*ends)


def test_original_is_trained_on_all_rows(world, make, spy):
    rows = JoinedRows(world.forget, world.retain)
    trainer = make("retrain", world, kwargs={"forget_dataset": None, "retain_dataset": rows})
    seen = spy(trainer)
    trainer.train()
    for batches in seen.epochs():
        assert sorted(np.concatenate([batch.rows for batch in batches])) == list(range(len(world.labels)))
    assert all((batch.pixels == world.pixels[batch.rows]).all() for batch in seen.batches)
    assert not any(batch.is_forget.any() for batch in seen.batches)


def test_loss_of_every_update(world, updates, shares):
    _, found = updates("retrain", world, **shares)
    for update in found:
        expected = cross_entropy(update.student, world.labels)[update.rows]
        assert update.loss == pytest.approx(expected.mean(), rel=1e-4, abs=1e-5)


def test_each_epoch_is_all_of_d_r(world, make, spy):
    trainer = make("retrain", world)
    seen = spy(trainer)
    trainer.train()
    for batches in seen.epochs():
        rows = np.concatenate([batch.rows for batch in batches])
        assert sorted(rows) == np.flatnonzero(~world.is_forget).tolist()


def test_it_needs_no_deletion_set(world, make):
    trainer = make("retrain", world, max_steps=1, kwargs={"forget_dataset": None})
    trainer.train()
    assert len(trainer.rows) == len(world.retain) and trainer.status == "ok"
