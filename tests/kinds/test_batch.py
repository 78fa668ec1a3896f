"""What a batch says of its rows, of student and teacher: each from logits of one row alone, without padding."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from formulas import kl, log_likelihood

from mubench_hf.errors import BadInput
from mubench_hf.models.loading import fresh_model, reinitialised
from mubench_hf.trainers import Pass, UnlearningConfig, UnlearningTrainer
from mubench_hf.trainers._teachers import LiveTeacher


class Reader(UnlearningTrainer):
    """A trainer that only makes batches."""

    config_class = UnlearningConfig

    def passes(self, epoch):
        return (Pass("union"),)


@pytest.fixture
def case(world, make, rng, token_logits):
    """A batch of some rows, a teacher, and what student and teacher say of each label token."""
    trainer = make(Reader, world)
    chosen = rng.choice(len(world.pairs), 9, replace=False).tolist()
    batch, _ = trainer.forward(trainer.model.eval(), trainer.collator([trainer.rows[row] for row in chosen]), None)
    other = reinitialised(trainer.model, seed=int(rng.integers(1000)))
    pairs = [world.pairs[row] for row in chosen]
    said = [[token_logits(model, *pair) for pair in pairs] for model in (trainer.model, other.eval())]
    return batch, LiveTeacher(other, world.kind), *said, [target for _, target in pairs]


def close(found, expected):
    assert found.dtype == torch.float32 and found.shape == (len(expected),)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=2e-4, atol=2e-5)


def test_log_likelihoods_and_losses(case):
    batch, teacher, student, taught, targets = case
    for whose, logits in ((None, student), (teacher, taught)):
        tokens = [log_likelihood(row, target) for row, target in zip(logits, targets, strict=True)]
        whole, mean = [row.sum() for row in tokens], [row.mean() for row in tokens]
        close(batch.log_likelihoods(whose), whole)
        close(batch.log_likelihoods(whose, reduction="mean"), mean)
        close(-batch.losses(whose), mean)
        close(-batch.losses(whose, reduction="sum"), whole)
    assert len({len(target) for target in targets}) > 1, "targets of one length would not tell sum and mean apart"


def test_divergences(case, rng):
    batch, teacher, student, taught, _ = case
    temperature = float(rng.uniform(0.5, 4))
    expected = [kl(theirs, own, temperature).mean() for theirs, own in zip(taught, student, strict=True)]
    close(batch.divergences(teacher, temperature), expected)


@pytest.mark.parametrize("read", ["losses", "log_likelihoods", "divergences"])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_rows_that_do_not_count_are_zero_and_the_teacher_never_sees_them(case, rng, read, share):
    batch, teacher, *_ = case
    where, asked = torch.from_numpy(rng.random(9) < share), []

    def watched(inputs, rows):
        asked.extend(rows.tolist())
        assert all(len(value) == len(rows) for value in inputs.values())
        return teacher(inputs, rows)

    more = (1.5,) if read == "divergences" else ()
    found = getattr(batch, read)(watched, *more, where=where)
    assert asked == batch.rows[where].tolist()
    torch.testing.assert_close(found, torch.where(where, getattr(batch, read)(teacher, *more), 0.0))


@pytest.mark.parametrize("read", ["losses", "log_likelihoods", "divergences"])
@pytest.mark.parametrize("more", ["patches", "texts"])
def test_inputs_that_cannot_be_divided_by_rows_are_given_whole(case, rng, read, more):
    """As the patches of all images of a batch: half of them would belong to other rows."""
    batch, teacher, *_ = case
    extra = {"patches": torch.zeros(21, 3), "texts": [str(row) for row in range(9)]}[more]
    whole, asked = replace(batch, inputs={**batch.inputs, more: extra}), []
    where = torch.from_numpy(np.arange(9) % 3 == 0)

    def watched(inputs, rows):
        asked.append(len(rows))
        return teacher({name: value for name, value in inputs.items() if name != more}, rows)

    temperature = (1.5,) if read == "divergences" else ()
    found = getattr(whole, read)(watched, *temperature, where=where)
    assert asked == [9]
    torch.testing.assert_close(found, getattr(batch, read)(teacher, *temperature, where=where), rtol=1e-4, atol=1e-5)


def test_the_student_is_pulled_and_the_teacher_is_not(case):
    batch, teacher, *_ = case
    assert batch.log_likelihoods().requires_grad and batch.losses().requires_grad
    assert not batch.log_likelihoods(teacher).requires_grad and not batch.losses(teacher).requires_grad


@pytest.mark.parametrize("read", ["losses", "log_likelihoods"])
def test_another_reduction_is_refused(case, read):
    with pytest.raises(BadInput, match="reduction is 'max'. Allowed: 'mean' or 'sum'"):
        getattr(case[0], read)(reduction="max")


def test_a_denoiser_has_losses_and_no_likelihoods(rng):
    from mubench_hf.kinds import get_kind
    from mubench_hf.models import get_model
    from mubench_hf.trainers._batch import Batch

    kind, model = get_kind("diffusion"), fresh_model(get_model("stable-diffusion-tiny"), (), 0)
    pixels = torch.from_numpy(rng.uniform(-1, 1, (3, 3, 8, 8)).astype("f4"))
    inputs = {"pixel_values": pixels, "input_ids": torch.from_numpy(rng.integers(4, 20, (3, 4)))}
    inputs["noise_keys"] = torch.arange(3)
    _, predicted, noise = kind.run(model, inputs)
    batch = Batch(inputs, predicted, noise, torch.ones(3, dtype=torch.bool), torch.arange(3), torch.tensor([0, 3]), 1,
                  kind)  # fmt: skip
    errors = (predicted - noise).detach().double().numpy() ** 2
    close(batch.losses(), errors.mean(axis=(1, 2, 3)))
    close(batch.losses(reduction="sum"), errors.sum(axis=(1, 2, 3)))
    with pytest.raises(BadInput, match="gives an image no log-likelihood"):
        batch.log_likelihoods()
