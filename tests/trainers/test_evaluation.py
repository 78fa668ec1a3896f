"""Evaluation uses the task's own loss, whatever a method minimises."""

import functools
import inspect

import numpy as np
import pytest
import torch
from methods import methods_for
from torch.utils.data import StackDataset
from transformers import Trainer

from mubench_hf.trainers import (
    FinetuneTrainer,
    Pass,
    UnlearningConfig,
    UnlearningTrainer,
    get_method,
    list_methods,
    over_batch,
)


def plain_loss(model, world, where):
    with torch.no_grad():
        logits = model.eval()(pixel_values=torch.from_numpy(world.pixels[where])).logits
    return torch.nn.functional.cross_entropy(logits, torch.from_numpy(world.labels[where])).item()


@pytest.mark.parametrize("method", methods_for("classification"))
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


@pytest.mark.parametrize("method", methods_for("classification"))
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


class Mixin:
    """Part of a trainer that knows nothing of unlearning."""

    def compute_loss(self, *args, **kwargs):
        return 2 * super().compute_loss(*args, **kwargs)


def plain(self, model, inputs, return_outputs=False, num_items_in_batch=None):
    """A `compute_loss` as users of `Trainer` write it, whose value no evaluation could have."""
    outputs = model(pixel_values=inputs["pixel_values"], labels=inputs["labels"])
    loss = -outputs.loss - 5
    return (loss, outputs) if return_outputs else loss


@over_batch
def of_a_batch(self, batch):
    return batch.mean(-batch.losses() - 5)


def decorated(function):
    @functools.wraps(FinetuneTrainer.compute_loss)
    def through(*args, **kwargs):
        return function(*args, **kwargs)

    return through


OVERRIDES = {
    "plain": lambda: type("Mine", (FinetuneTrainer,), {"compute_loss": plain}),
    "batch": lambda: type("Mine", (FinetuneTrainer,), {"compute_loss": of_a_batch}),
    "decorated": lambda: type("Mine", (FinetuneTrainer,), {"compute_loss": decorated(plain)}),
    "twice": lambda: type("Other", (type("Mine", (FinetuneTrainer,), {"compute_loss": plain}),), {}),
    "mixin": lambda: type("Mine", (Mixin, FinetuneTrainer), {}),
    "base": lambda: type("Mine", (UnlearningTrainer,), {
        "compute_loss": plain, "config_class": UnlearningConfig, "passes": lambda self, epoch: (Pass("union"),)
    }),
}  # fmt: skip


@pytest.mark.parametrize("how", OVERRIDES)
def test_however_a_user_overrides_compute_loss(how, dropout_world, make):
    world = dropout_world
    settings = {"logging_strategy": "steps", "logging_steps": 1, "max_steps": 2, "per_device_eval_batch_size": 64}
    trainer = make(OVERRIDES[how](), world, kwargs={"eval_dataset": world.forget}, **settings)
    trainer.train()
    found, expected = trainer.evaluate()["eval_loss"], plain_loss(trainer.model, world, world.is_forget)
    assert found == pytest.approx(expected, 1e-5)
    assert trainer.predict(world.retain).metrics["test_loss"] == pytest.approx(
        plain_loss(trainer.model, world, ~world.is_forget), 1e-5
    )
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if how == "mixin":
        ordinary = make("finetune", world, **settings)
        ordinary.train()
        first = ordinary.state.log_history[0]["loss"]
        assert logged[0] == pytest.approx(2 * first, rel=1e-4)
    else:
        assert max(logged) < -5, "training minimises what the user says"


@pytest.mark.parametrize("method", methods_for("classification"))
def test_rows_of_training_are_evaluated_like_any_other(method, world, make):
    """They carry the flag by which a batch of training is told; an evaluation drops it."""
    trainer = make(method, world, per_device_eval_batch_size=64)
    found = trainer.evaluate(trainer.rows)["eval_loss"]
    assert found == pytest.approx(plain_loss(world.original(), world, world.is_forget | True), 1e-5)


def test_a_method_that_does_not_say_what_it_minimises(world, make):
    Nothing = type("Nothing", (UnlearningTrainer,), {
        "config_class": UnlearningConfig, "passes": lambda self, epoch: (Pass("union"),)
    })  # fmt: skip
    with pytest.raises(NotImplementedError, match="Nothing does not say what it minimises: override compute_loss"):
        make(Nothing, world).train()


@pytest.mark.parametrize("method", list_methods())
def test_compute_loss_has_trainers_signature(method):
    expected = list(inspect.signature(Trainer.compute_loss).parameters)
    assert list(inspect.signature(get_method(method).compute_loss).parameters) == expected
    assert get_method(method).compute_loss.__doc__


def test_outputs_are_returned_beside_the_loss(world, make):
    trainer = make("finetune", world)
    inputs = next(iter(trainer.get_train_dataloader()))
    loss, outputs = trainer.compute_loss(trainer.model.eval(), dict(inputs), return_outputs=True)
    assert loss.item() == pytest.approx(trainer.compute_loss(trainer.model, dict(inputs)).item())
    assert outputs.logits.shape == (len(inputs["labels"]), 5)
