"""Every method trains on exactly the rows it declares, epoch by epoch."""

from itertools import groupby

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from scipy.stats import entropy

from mubench_hf.models.outputs import row_outputs
from mubench_hf.trainers import list_methods

SPLITS = ("forget", "retain")
SETTINGS = {"scrub": {"num_train_epochs": 3, "msteps": 2}}
RELABEL = ("rand_label", "salun")
"""Methods that give rows of D_f other labels."""


def expected_rows(method, is_forget, epoch):
    """Return the rows of an epoch's passes, written down from the papers; None where they are drawn."""
    forget, retain = np.flatnonzero(is_forget), np.flatnonzero(~is_forget)
    known = {
        "bad_teaching": None,
        "finetune": [retain],
        "neggrad": [forget],
        "rand_label": [np.arange(len(is_forget))],
        "retrain": [retain],
        "salun": [np.arange(len(is_forget))],
        "scrub": [forget, retain] if epoch < 2 else [retain],
    }
    assert method in known, f"write down here which rows {method} trains on"
    return known[method]


@pytest.mark.parametrize("method", list_methods())
def test_rows_of_each_epoch(method, world, make, spy):
    trainer = make(method, world, **SETTINGS.get(method, {}))
    seen = spy(trainer)
    trainer.train()
    epochs = seen.epochs()
    assert len(epochs) == trainer.args.num_train_epochs
    for epoch, batches in enumerate(epochs):
        rows = np.concatenate([batch.rows for batch in batches])
        expected = expected_rows(method, world.is_forget, epoch)
        if expected is None:
            of_forget = world.is_forget[rows]
            assert sorted(rows[of_forget]) == np.flatnonzero(world.is_forget).tolist()
            assert (~of_forget).sum() == of_forget.sum()
            assert len(set(rows[~of_forget])) <= np.ceil(0.3 * 37)
            continue
        assert len(rows) == sum(map(len, expected))
        for walked in expected:
            here, rows = np.split(rows, [len(walked)])
            assert sorted(here) == walked.tolist()


@pytest.mark.parametrize("method", list_methods())
def test_what_the_model_is_given_are_these_rows(method, world, make, spy):
    trainer = make(method, world, **SETTINGS.get(method, {}))
    seen = spy(trainer)
    trainer.train()
    for batch in seen.batches:
        # Rows stand in upstream order, so a position is an index.
        assert (batch.pixels == world.pixels[batch.rows]).all()
        same = batch.labels == world.labels[batch.rows]
        relabelled = batch.is_forget if method in RELABEL else np.zeros_like(batch.is_forget)
        assert (same == ~relabelled).all()
        assert (batch.is_forget == world.is_forget[batch.rows]).all()
        assert 0 < len(batch.rows) <= 8


@pytest.mark.parametrize("method", ["bad_teaching", "rand_label", "scrub"])
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


def test_original_is_trained_on_all_rows(world, make, spy):
    from mubench_hf.data.joined import JoinedRows

    rows = JoinedRows(world.forget, world.retain)
    trainer = make("retrain", world, kwargs={"forget_dataset": None, "retain_dataset": rows})
    seen = spy(trainer)
    trainer.train()
    for batches in seen.epochs():
        assert sorted(np.concatenate([batch.rows for batch in batches])) == list(range(len(world.labels)))
    assert all((batch.pixels == world.pixels[batch.rows]).all() for batch in seen.batches)
    assert not any(batch.is_forget.any() for batch in seen.batches)


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
