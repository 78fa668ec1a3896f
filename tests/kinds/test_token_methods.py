"""Every method on models that write: the loss it says, the same course however a batch is divided."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import entropy
from transformers import TrainerCallback

from mubench_hf.models.loading import reinitialised
from mubench_hf.trainers import list_methods

SEED = 11
SETTINGS = {
    "scrub": {"num_train_epochs": 2, "msteps": 1, "gamma": 0.7, "alpha": 0.4, "temperature": 2.0},
    "bad_teaching": {"temperature": 1.5},
}


class Recorder(TrainerCallback):
    """Calls `before` when an update begins, and keeps the rows of each."""

    def __init__(self, trainer, before=lambda model: None):
        self.rows, self.students, self.before, self.trainer = [], [], before, trainer
        through = trainer.forward

        def forward(model, inputs, count):
            batch, outputs = through(model, inputs, count)
            if trainer.is_in_train:
                self.rows[-1] += batch.rows.tolist()
            return batch, outputs

        trainer.forward = forward
        trainer.add_callback(self)

    def on_step_begin(self, args, state, control, **kwargs):
        self.rows.append([])
        self.students.append(self.before(self.trainer.model))


@pytest.mark.parametrize("method", list_methods())
def test_two_updates(method, fixed_world, make):
    trainer = make(method, fixed_world, max_steps=2)
    assert trainer.kind is fixed_world.kind
    before = fixed_world.original().state_dict()
    output = trainer.train()
    assert np.isfinite(output.training_loss) and output.global_step == 2 and trainer.status == "ok"
    after = trainer.model.state_dict()
    assert all(weight.isfinite().all() for weight in after.values())
    moved = sum(int((weight != before[name]).sum()) for name, weight in after.items())
    assert moved > 0.2 * sum(weight.numel() for weight in after.values())


def row_loss(method, logits, target, is_forget):
    """Return the loss of one row that a method's formula says, a mean over its tokens.

    `logits` are those of the student, the original and the incompetent teacher, `[tokens of the target, tokens]`.
    """
    student, original, bad = logits

    def kl(teacher, temperature):
        pair = (softmax(each / temperature, axis=1) for each in (teacher, student))
        return (temperature**2 * entropy(*pair, axis=1)).mean()

    cross_entropy = -log_softmax(student, axis=1)[np.arange(len(target)), target].mean()
    if method == "rand_label":
        return cross_entropy
    if method == "bad_teaching":
        return kl(bad if is_forget else original, 1.5)
    return -kl(original, 2.0) if is_forget else 0.7 * cross_entropy + 0.4 * kl(original, 2.0)


@pytest.mark.parametrize("shares", [(8, 1), (4, 2)])
@pytest.mark.parametrize("method", ["rand_label", "scrub", "bad_teaching"])
def test_loss_of_every_update(method, world, make, token_logits, shares):
    targets = [target for _, target in world.pairs]
    if method == "rand_label":
        drawn = np.random.default_rng([SEED, 0]).choice(np.flatnonzero(~world.is_forget), size=len(targets))
        chosen = zip(targets, drawn, world.is_forget, strict=True)
        targets = [targets[donor] if forget else own for own, donor, forget in chosen]
    rows = [(prompt, target) for (prompt, _), target in zip(world.pairs, targets, strict=True)]

    def logits(model):
        return [token_logits(model.eval(), *row) for row in rows]

    def student(model):
        found = logits(model)
        model.train()
        return found

    trainer = make(
        method,
        world,
        learning_rate=3e-3,
        per_device_train_batch_size=shares[0],
        gradient_accumulation_steps=shares[1],
        logging_strategy="steps",
        logging_steps=1,
        **SETTINGS.get(method, {}),
    )
    seen = Recorder(trainer, before=student)
    trainer.train()
    original, bad = logits(world.original()), logits(reinitialised(world.original(), SEED))
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(logged) == len(seen.students) == trainer.state.max_steps
    for loss, students, positions in zip(logged, seen.students, seen.rows, strict=True):
        expected = [
            row_loss(method, (students[row], original[row], bad[row]), targets[row], world.is_forget[row])
            for row in positions
        ]
        assert loss == pytest.approx(np.mean(expected), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("method", list_methods())
def test_one_batch_or_two_accumulated(method, fixed_world, make):
    """Plain SGD: Adam makes rounding errors as large as real steps wherever a gradient is zero."""
    ends, settings = [], {"optim": "sgd", "learning_rate": 0.05, "max_grad_norm": 0.5}
    for batch_size, accumulation in ((8, 1), (4, 2)):
        trainer = make(
            method,
            fixed_world,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            **{**settings, **SETTINGS.get(method, {})},
        )
        trainer.train()
        assert trainer.status == "ok"
        ends.append(trainer.model.state_dict())
    original, (whole, halves) = fixed_world.original().state_dict(), ends
    assert max((whole[name] - original[name]).abs().max() for name in whole) > 1e-3
    for name, weight in whole.items():
        torch.testing.assert_close(halves[name], weight, rtol=1e-4, atol=5e-6)
