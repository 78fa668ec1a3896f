"""Evaluation uses the task's own loss, whatever a method minimises."""

import numpy as np
import pytest
import torch
from torch.utils.data import StackDataset

from mubench_hf.trainers import list_methods


def plain_loss(model, world, where):
    with torch.no_grad():
        logits = model.eval()(pixel_values=torch.from_numpy(world.pixels[where])).logits
    return torch.nn.functional.cross_entropy(logits, torch.from_numpy(world.labels[where])).item()


@pytest.mark.parametrize("method", list_methods())
def test_evaluation_loss(method, dropout_world, make):
    world = dropout_world
    trainer = make(method, world, eval_strategy="epoch", per_device_eval_batch_size=64, learning_rate=0.01,
                   kwargs={"eval_dataset": world.forget})  # fmt: skip
    assert trainer.evaluate()["eval_loss"] == pytest.approx(plain_loss(world.original(), world, world.is_forget), 1e-5)
    before = trainer.evaluate(world.retain)["eval_loss"]
    assert before == pytest.approx(plain_loss(world.original(), world, ~world.is_forget), 1e-5)
    trainer.train()
    logged = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert len(logged) == trainer.args.num_train_epochs and min(logged) > 0
    after = trainer.evaluate()["eval_loss"]
    assert after == pytest.approx(logged[-1], 1e-6)
    assert after == pytest.approx(plain_loss(trainer.model, world, world.is_forget), 1e-5)
    assert trainer.evaluate(world.retain)["eval_loss"] != pytest.approx(before, 1e-4)


@pytest.mark.parametrize("method", list_methods())
def test_training_goes_on_as_if_it_had_not_been_evaluated(method, world, make, same_weights, weights_of):
    ends = []
    for settings in ({}, {"eval_strategy": "steps", "eval_steps": 2, "kwargs": {"eval_dataset": world.forget}}):
        trainer = make(method, world, **settings)
        trainer.train()
        ends.append(weights_of(trainer.model))
    assert same_weights(*ends)


def test_evaluation_in_batches_and_predictions(world, make):
    trainer = make("neggrad", world, per_device_eval_batch_size=7)
    output = trainer.predict(world.retain)
    with torch.no_grad():
        expected = world.original().eval()(pixel_values=torch.from_numpy(world.pixels[~world.is_forget])).logits
    np.testing.assert_allclose(output.predictions, expected.numpy(), atol=1e-5)
    assert (output.label_ids == world.labels[~world.is_forget]).all()


def test_evaluation_rows_may_have_columns_that_the_model_does_not_take(world, make):
    """As training rows may."""
    where = world.is_forget
    rows = StackDataset(
        pixel_values=torch.from_numpy(world.pixels[where]),
        labels=torch.from_numpy(world.labels[where]),
        name=[f"row {number}" for number in range(where.sum())],
        index=np.flatnonzero(where),
    )
    trainer = make("finetune", world, kwargs={"eval_dataset": rows})
    assert trainer.evaluate()["eval_loss"] == pytest.approx(plain_loss(world.original(), world, where), 1e-5)
