"""Means over the rows of an update, and of what a classifier's batch says of its rows."""

import numpy as np
import pytest
import torch
from formulas import kl, log_likelihood

from mubench_hf.kinds import get_kind
from mubench_hf.trainers._batch import Batch, mean_where
from mubench_hf.trainers._teachers import TableTeacher

ROWS = 40


def test_mean_where(rng):
    losses = torch.from_numpy(rng.normal(size=ROWS).astype("f4"))
    where = torch.from_numpy(rng.random(ROWS) < 0.3)
    where[0], where[1] = True, False
    chosen = losses.double()[where].numpy()
    assert mean_where(losses, where).item() == pytest.approx(chosen.mean(), abs=1e-6)
    count = torch.tensor(77)
    assert mean_where(losses, where, count).item() == pytest.approx(chosen.sum() / 77, abs=1e-6)


def test_mean_where_of_no_rows_is_zero_and_pulls_at_nothing(rng):
    losses = torch.from_numpy(rng.normal(size=ROWS).astype("f4")).requires_grad_()
    for count in (None, torch.tensor(0), torch.tensor(9)):
        found = mean_where(losses, torch.zeros(ROWS, dtype=torch.bool), count)
        assert found.item() == 0
        (gradient,) = torch.autograd.grad(found, losses)
        assert not gradient.any()


def test_mean_where_leaves_out_what_it_is_told_to_even_if_not_finite():
    losses = torch.tensor([1.0, float("nan"), float("inf"), 4.0], requires_grad=True)
    found = mean_where(losses, torch.tensor([True, False, False, True]))
    found.backward()
    assert found.item() == 2.5 and losses.grad.tolist() == [0.5, 0, 0, 0.5]


def test_shares_of_an_update_add_up_to_its_mean(rng):
    losses = torch.from_numpy(rng.normal(size=ROWS).astype("f4"))
    where = torch.from_numpy(rng.random(ROWS) < 0.5)
    shares = [mean_where(losses[part], where[part], where.sum()) for part in np.array_split(np.arange(ROWS), 7)]
    assert sum(shares).item() == pytest.approx(mean_where(losses, where).item(), abs=1e-6)


@pytest.fixture
def batch(rng):
    """A batch of a classifier's rows, some of them to forget."""
    is_forget = torch.from_numpy(rng.random(ROWS) < 0.4)
    counts = torch.stack([(~is_forget).sum(), is_forget.sum()])
    logits = torch.from_numpy(rng.normal(size=(ROWS, 7)).astype("f4"))
    rows = torch.from_numpy(rng.permutation(ROWS))
    return Batch({}, logits, torch.from_numpy(rng.integers(7, size=ROWS)), is_forget, rows, counts, 1,
                 get_kind("classification"))  # fmt: skip


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses_and_likelihoods_of_rows_with_one_label(batch, rng, reduction):
    table = rng.normal(size=(ROWS, 7)).astype("f4")
    taught = table[batch.rows]
    for teacher, logits in ((None, batch.predictions.numpy()), (TableTeacher(table), taught)):
        expected = log_likelihood(logits, batch.labels.numpy())
        np.testing.assert_allclose(batch.log_likelihoods(teacher, reduction=reduction), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(batch.losses(teacher, reduction=reduction), -expected, rtol=1e-4, atol=1e-5)
    expected = kl(taught, batch.predictions.numpy(), 2.0)
    np.testing.assert_allclose(batch.divergences(TableTeacher(table), 2.0), expected, rtol=1e-4, atol=1e-5)


def test_means_are_over_their_own_rows(batch, rng):
    values = torch.from_numpy(rng.normal(size=ROWS).astype("f4"))
    for found, where in ((batch.mean, batch.is_forget | True), (batch.forget_mean, batch.is_forget),
                         (batch.retain_mean, ~batch.is_forget)):  # fmt: skip
        assert found(values).item() == pytest.approx(values[where].double().mean().item(), abs=1e-6)
