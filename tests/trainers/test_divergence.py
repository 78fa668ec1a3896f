"""A run whose loss leaves the range ends at the weights before that update, and says so."""

import pytest
import torch
from methods import methods_for
from transformers import TrainerCallback

from mubench_hf.trainers import get_method, list_methods


@pytest.fixture
def steps(weights_of):
    """Records the weights after each update, and how often training ended."""

    class Steps(TrainerCallback):
        def __init__(self, trainer):
            self.weights, self.ends, self.trainer = [weights_of(trainer.model)], 0, trainer
            trainer.add_callback(self)

        def on_step_end(self, args, state, control, **kwargs):
            self.weights.append(weights_of(self.trainer.model))

        def on_train_end(self, args, state, control, **kwargs):
            self.ends += 1

    return Steps


def spoil(trainer, update, micro_batch, value):
    """Multiply the loss of one micro-batch of an update by ``value``."""
    through, count = trainer.compute_loss, {"update": None, "batches": 0}

    def compute_loss(model, inputs, *args, **kwargs):
        now = trainer.state.global_step
        count["batches"] = count["batches"] + 1 if count["update"] == now else 0
        count["update"] = now
        loss = through(model, inputs, *args, **kwargs)
        return loss * value if (now, count["batches"]) == (update, micro_batch) else loss

    trainer.compute_loss = compute_loss


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(("update", "micro_batch"), [(0, 0), (3, 0), (3, 1)])
def test_loss_that_is_not_finite(world, make, steps, same_weights, weights_of, value, update, micro_batch):
    trainer = make("rand_label", world, per_device_train_batch_size=4, gradient_accumulation_steps=2)
    taken = steps(trainer)
    spoil(trainer, update, micro_batch, value)
    output = trainer.train()
    assert trainer.status == "diverged"
    assert trainer.status_reason.startswith(f"loss {value:.4g} at update {update + 1} of 14; allowed: finite and")
    assert output.global_step == trainer.state.global_step == update
    assert len(taken.weights) == update + 1
    assert same_weights(weights_of(trainer.model), taken.weights[-1])
    assert all(tensor.isfinite().all() for tensor in weights_of(trainer.model).values())
    assert taken.ends == 1 and trainer.unlearn_seconds > 0 and not trainer.is_in_train
    assert all(weight.grad is None or not weight.grad.any() for weight in trainer.model.parameters())


@pytest.mark.parametrize("method", methods_for("classification"))
def test_every_method_stops(method, world, make, steps, same_weights, weights_of):
    trainer = make(method, world)
    taken = steps(trainer)
    spoil(trainer, 1, 0, float("nan"))
    trainer.train()
    assert trainer.status == "diverged" and len(taken.weights) == 2
    assert same_weights(weights_of(trainer.model), taken.weights[1])


def test_ascent_at_a_huge_rate(world, make, steps, same_weights, weights_of):
    trainer = make("neggrad", world, learning_rate=1e6, num_train_epochs=20, lr_scheduler_type="constant")
    taken = steps(trainer)
    trainer.train()
    assert trainer.status == "diverged" and "at update" in trainer.status_reason
    assert 1 <= trainer.state.global_step < 40
    assert same_weights(weights_of(trainer.model), taken.weights[-1])
    assert all(tensor.isfinite().all() for tensor in weights_of(trainer.model).values())


def test_limit_of_the_loss(world, make, same_weights, weights_of):
    low = make("finetune", world, max_abs_loss=1e-3)
    low.train()
    assert low.status == "diverged" and low.status_reason.endswith(
        "at update 1 of 10; allowed: finite and at most 0.001 in absolute value"
    )
    assert same_weights(weights_of(low.model), weights_of(world.original()))
    for limit in (1e2, float("inf")):
        high = make("finetune", world, max_abs_loss=limit)
        high.train()
        assert (high.status, high.status_reason) == ("ok", None)
        assert not same_weights(weights_of(high.model), weights_of(world.original()))


def test_no_limit_still_stops_at_infinity(world, make):
    trainer = make("finetune", world, max_abs_loss=float("inf"))
    spoil(trainer, 2, 0, float("inf"))
    trainer.train()
    assert trainer.status == "diverged"


@pytest.mark.parametrize("shares", [(8, 1), (4, 2), (2, 4)])
def test_limit_is_of_the_update_not_of_its_parts(world, make, shares):
    """A loss of about 1.6 an update is stopped at 1 and not at 4, however small its micro-batches are."""
    batch_size, accumulation = shares
    for limit, expected in [(0.5, "diverged"), (40.0, "ok")]:
        trainer = make(
            "finetune",
            world,
            max_abs_loss=limit,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            lr_scheduler_type="constant",
            max_steps=1,
            logging_strategy="steps",
            logging_steps=1,
        )
        trainer.train()
        assert trainer.status == expected


def test_reported_loss_of_an_update_is_the_same_for_any_division(world, make):
    reasons = []
    for batch_size, accumulation in [(8, 1), (4, 2), (2, 4)]:
        trainer = make("finetune", world, max_abs_loss=1e-3, per_device_train_batch_size=batch_size,
                       gradient_accumulation_steps=accumulation)  # fmt: skip
        trainer.train()
        reasons.append(float(trainer.status_reason.split()[1]))
    assert reasons == pytest.approx([reasons[0]] * 3, rel=2e-3)


@pytest.mark.parametrize("bar", [False, True])
def test_weights_that_are_not_finite_after_the_last_update(world, make, steps, bar):
    trainer = make("finetune", world, max_steps=3, disable_tqdm=not bar)

    class Break(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 3:
                with torch.no_grad():
                    trainer.model.classifier.bias[0] = float("inf")

    taken = steps(trainer)
    trainer.add_callback(Break())
    output = trainer.train()
    assert (trainer.status, output.global_step, taken.ends) == ("diverged", 3, 1)
    assert trainer.status_reason == "weights are not finite after the last update"


def test_a_good_run_is_ok(world, make):
    trainer = make("finetune", world)
    assert (trainer.status, trainer.status_reason) == ("ok", None)
    trainer.train()
    assert (trainer.status, trainer.status_reason) == ("ok", None)


def test_status_is_of_the_last_training(world, make):
    trainer = make("finetune", world, max_abs_loss=1e-3)
    trainer.train()
    assert trainer.status == "diverged"
    trainer.args.max_abs_loss = 1e3
    trainer.train()
    assert (trainer.status, trainer.status_reason) == ("ok", None)


def test_a_diverged_run_diverges_again_where_it_is_resumed(world, make, tmp_path):
    settings = {"learning_rate": 1e6, "num_train_epochs": 20, "save_strategy": "steps", "save_steps": 1,
                "lr_scheduler_type": "constant"}  # fmt: skip
    first = make("neggrad", world, **settings)
    first.train()
    again = make("neggrad", world, **settings)
    again.train(resume_from_checkpoint=True)
    assert (again.status, again.status_reason) == (first.status, first.status_reason)


@pytest.mark.parametrize("method", list_methods())
def test_shipped_limit_leaves_room(method):
    assert get_method(method).config_class(output_dir="unused", use_cpu=True).max_abs_loss == 1e3
