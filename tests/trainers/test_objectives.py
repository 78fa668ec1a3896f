"""The loss of every update is the method's formula, in NumPy, at the weights it was taken at."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from scipy.stats import entropy

from mubench_hf.models.loading import reinitialised
from mubench_hf.models.outputs import row_outputs
from mubench_hf.trainers import list_methods

SEED = 11
SETTINGS = {
    "scrub": {"num_train_epochs": 3, "msteps": 2, "gamma": 0.7, "alpha": 0.4, "temperature": 2.0},
    "bad_teaching": {"temperature": 1.5},
}


def cross_entropy(logits, labels):
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]


def kl(teacher, student, temperature):
    return temperature**2 * entropy(*(softmax(logits / temperature, axis=1) for logits in (teacher, student)), axis=1)


def row_losses(method, student, original, incompetent, labels, is_forget):
    """Return the loss of each row that a method's formula says."""
    if method == "neggrad":
        return -cross_entropy(student, labels)
    if method in ("finetune", "retrain"):
        return cross_entropy(student, labels)
    if method in ("rand_label", "salun"):
        other = (labels + np.random.default_rng([SEED, 0]).integers(1, 5, size=len(labels))) % 5
        return cross_entropy(student, np.where(is_forget, other, labels))
    if method == "bad_teaching":
        return np.where(is_forget, kl(incompetent, student, 1.5), kl(original, student, 1.5))
    if method == "scrub":
        from_original = kl(original, student, 2.0)
        return np.where(is_forget, -from_original, 0.7 * cross_entropy(student, labels) + 0.4 * from_original)
    raise AssertionError(f"write down here what {method} minimises")


@pytest.mark.parametrize("shares", [(8, 1), (4, 2)])
@pytest.mark.parametrize("method", list_methods())
def test_loss_of_every_update(method, world, make, spy, shares):
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

    def logits(model):
        return row_outputs(model, trainer.rows, trainer.collator.without_flags).logits.astype(float)

    students = []
    seen = spy(trainer, before=lambda update: students.append(logits(trainer.model)))
    trainer.train()
    original, incompetent = logits(world.original()), logits(reinitialised(world.original(), SEED))
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(logged) == len(students) == trainer.state.max_steps
    for update, student in enumerate(students):
        losses = row_losses(method, student, original, incompetent, world.labels, world.is_forget)
        rows = np.concatenate([batch.rows for batch in seen.batches if batch.update == update])
        assert logged[update] == pytest.approx(losses[rows].mean(), rel=1e-4, abs=1e-5)
