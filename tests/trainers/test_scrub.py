"""SCRUB: max passes away from the original on D_f, min passes near it on D_r."""

from itertools import groupby

import numpy as np
import pytest
import torch
from formulas import cross_entropy, kl
from scipy.special import log_softmax
from scipy.stats import entropy

from mubench_hf.errors import BadInput
from mubench_hf.kinds._losses import row_kl
from mubench_hf.models.outputs import row_outputs
from mubench_hf.trainers import ScrubConfig
from mubench_hf.trainers.scrub import above_noise, scrub_max_loss, scrub_min_loss

SPLITS = ("forget", "retain")


def test_pure_losses(rng):
    losses, divergences = (torch.from_numpy(rng.exponential(size=40).astype("f4")) for _ in range(2))
    gamma, alpha = rng.random(2)
    assert scrub_max_loss(divergences).equal(-divergences)
    expected = gamma * losses.double().numpy() + alpha * divergences.double().numpy()
    np.testing.assert_allclose(scrub_min_loss(losses, divergences, gamma, alpha), expected, rtol=1e-5)
    expected = 0.99 * losses.double().numpy() + 0.001 * divergences.double().numpy()
    np.testing.assert_allclose(scrub_min_loss(losses, divergences), expected, rtol=1e-5)


def test_defaults_are_the_papers():
    config = ScrubConfig(output_dir="unused", use_cpu=True)
    assert (config.temperature, config.gamma, config.alpha, config.msteps, config.num_train_epochs) == (
        4, 0.99, 0.001, 2, 3)  # fmt: skip


def test_loss_of_every_update(world, updates, shares, logits_of):
    settings = {"num_train_epochs": 3, "msteps": 2, "gamma": 0.7, "alpha": 0.4, "temperature": 2.0}
    trainer, found = updates("scrub", world, **settings, **shares)
    original = logits_of(trainer, world.original())
    for update in found:
        away = kl(original, update.student, 2.0)
        near = 0.7 * cross_entropy(update.student, world.labels) + 0.4 * away
        expected = np.where(world.is_forget, -away, near)[update.rows]
        assert update.loss == pytest.approx(expected.mean(), rel=1e-4, abs=1e-5)


def test_each_pass_is_all_of_its_set(world, make, spy):
    trainer = make("scrub", world, num_train_epochs=3, msteps=2)
    seen = spy(trainer)
    trainer.train()
    forget, retain = np.flatnonzero(world.is_forget).tolist(), np.flatnonzero(~world.is_forget).tolist()
    for batches, expected in zip(seen.epochs(), [[forget, retain]] * 2 + [[retain]], strict=True):
        walked = [np.concatenate([batch.rows for batch in part]) for _, part in
                  groupby(batches, key=lambda batch: batch.is_forget.all())]  # fmt: skip
        assert [sorted(rows) for rows in walked] == expected


def test_a_strong_divergence_takes_the_same_course_accumulated(fixed_world, make, weights_of):
    """Plain SGD: Adam makes rounding errors as large as steps, and the first max pass has no slope at all."""
    ends = []
    for shares in (
        {"per_device_train_batch_size": 8},
        {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
    ):
        trainer = make("scrub", fixed_world, optim="sgd", learning_rate=0.05, max_grad_norm=0.5, num_train_epochs=3,
                       temperature=1.0, alpha=0.5, msteps=2, **shares)  # fmt: skip
        trainer.train()
        ends.append(weights_of(trainer.model))
    for name, weight in ends[0].items():
        torch.testing.assert_close(ends[1][name], weight, rtol=1e-4, atol=3e-6)


def test_max_steps_ends_within_an_epoch(world, make, spy):
    trainer = make("scrub", world, max_steps=9)
    seen = spy(trainer)
    trainer.train()
    # An epoch is 2 updates over 13 D_f rows and 5 over 37 D_r rows.
    assert [batch.is_forget.all() for batch in seen.batches] == [True] * 2 + [False] * 5 + [True] * 2
    assert trainer.state.global_step == 9 and [len(batches) for batches in seen.epochs()] == [7, 2]


def test_part_of_an_epoch(world, make, spy):
    trainer = make("scrub", world, num_train_epochs=1.5)
    seen = spy(trainer)
    trainer.train()
    assert len(seen.batches) == trainer.state.global_step == trainer.state.max_steps == 7 + 4


def test_scrub_alternates_max_and_min_passes(world, make, spy):
    trainer = make("scrub", world, num_train_epochs=4, msteps=2, forget_batch_size=4)
    seen = spy(trainer)
    trainer.train()
    assert all(batch.is_forget.all() or not batch.is_forget.any() for batch in seen.batches), (
        "a batch has one direction"
    )
    passes = [
        ("max" if forget else "min", len(list(batches)))
        for (_, forget), batches in groupby(seen.batches, key=lambda batch: (batch.epoch, batch.is_forget.all()))
    ]
    assert passes == [("max", 4), ("min", 5), ("max", 4), ("min", 5), ("min", 5), ("min", 5)]
    assert max(len(batch.rows) for batch in seen.batches if batch.is_forget.all()) == 4


def test_scrub_moves_the_student_in_both_directions(world, make, spy, weights_of):
    """A max pass takes the student's D_f outputs away from the original's, a min pass lowers the loss of D_r."""
    trainer = make(
        "scrub", world, num_train_epochs=2, msteps=2, temperature=1.0, alpha=0.1, learning_rate=0.1, optim="sgd"
    )
    logits = {name: row_outputs(world.original(), getattr(world, name)).logits for name in SPLITS}
    moments = []

    def look(update):
        outputs = {name: row_outputs(trainer.model, getattr(world, name)).logits for name in SPLITS}
        moments.append((weights_of(trainer.model), *measure(outputs)))

    def measure(outputs):
        kl = entropy(*(np.exp(log_softmax(z.astype(float), 1)) for z in (logits["forget"], outputs["forget"])), axis=1)
        retain_labels = world.labels[~world.is_forget]
        loss = -log_softmax(outputs["retain"].astype(float), 1)[np.arange(len(retain_labels)), retain_labels]
        return kl.mean(), loss.mean()

    seen = spy(trainer, before=look)
    trainer.train()
    look(None)
    starts = [0, 2, 7, 9, 14]
    assert [batch.is_forget.all() for batch in seen.batches] == [True] * 2 + [False] * 5 + [True] * 2 + [False] * 5
    at = [moments[start] for start in starts]
    assert at[2][2] < at[1][2] - 1e-3 and at[4][2] < at[3][2] - 1e-3, "min passes lower the loss of D_r"
    assert at[3][1] > at[2][1], "the second max pass moves away from the original"
    for before, after in [(2, 3), (3, 4)]:
        moved = [not torch.equal(at[before][0][name], at[after][0][name]) for name in at[0][0]]
        assert all(moved), "each pass moves every weight"


def test_first_max_pass_of_scrub_starts_without_a_gradient(fixed_world, make, weights_of, spy):
    """KL(original || student) is at its least where the student is the original: SGD does not leave it by that pass."""
    trainer = make("scrub", fixed_world, optim="sgd", learning_rate=0.1, max_steps=2)
    seen = spy(trainer)
    trainer.train()
    assert all(batch.is_forget.all() for batch in seen.batches) and len(seen.batches) == 2
    original = weights_of(fixed_world.original())
    moved = max((tensor - original[name]).abs().max() for name, tensor in weights_of(trainer.model).items())
    assert moved < 1e-5


def test_a_still_start_moves_nothing_until_there_is_a_slope(world, make, weights_of):
    """With Adam, too; then the min pass moves every weight, and the second max pass has a slope."""
    original = weights_of(world.original())
    for steps, stands in ((2, True), (3, False)):
        trainer = make("scrub", world, start="still", max_steps=steps)
        trainer.train()
        assert [tensor.equal(original[name]) for name, tensor in weights_of(trainer.model).items()] == [
            stands for _ in original
        ]


def test_losses_of_a_still_start(world, updates, shares, logits_of):
    settings = {"num_train_epochs": 2, "gamma": 0.7, "alpha": 0.4, "temperature": 2.0, "start": "still"}
    trainer, found = updates("scrub", world, **settings, **shares)
    original = logits_of(trainer, world.original())
    firsts = [update for update in found if world.is_forget[update.rows].all()]
    assert [update.loss for update in firsts[: len(firsts) // 2]] == [0] * (len(firsts) // 2)
    for update in firsts[len(firsts) // 2 :]:
        away = kl(original, update.student, 2.0)[update.rows]
        assert update.loss == pytest.approx(-away.mean(), rel=1e-4, abs=2e-5) and away.mean() > 1e-4


def test_a_start_along_the_labels_is_one_update(world, updates, shares, logits_of):
    settings = {"num_train_epochs": 2, "temperature": 2.0, "start": "labels"}
    trainer, found = updates("scrub", world, **settings, **shares)
    original = logits_of(trainer, world.original())
    firsts = [update for update in found if world.is_forget[update.rows].all()]
    first = firsts[0]
    assert first.loss == pytest.approx(-cross_entropy(first.student, world.labels)[first.rows].mean(), rel=1e-4)
    for update in firsts[1:]:
        assert update.loss == pytest.approx(-kl(original, update.student, 2.0)[update.rows].mean(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_rounding_is_noise_and_a_small_step_is_none(rng, precision, temperature):
    logits = torch.from_numpy(rng.normal(size=(200, 100)).astype("f4"))
    eps = torch.finfo(precision).eps
    rounded = logits * (1 + eps * (torch.rand(logits.shape) - 0.5))
    assert not above_noise(row_kl(logits, rounded, temperature), temperature, precision).any()
    moved = logits + temperature * max(0.02, 60 * eps) * torch.randn(logits.shape)
    assert above_noise(row_kl(logits, moved, temperature), temperature, precision).all()


def test_other_starts_are_refused():
    with pytest.raises(BadInput, match="start is 'calm'; allowed: 'authors', 'labels', 'still'"):
        ScrubConfig(output_dir="unused", use_cpu=True, start="calm")
