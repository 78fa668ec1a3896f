"""The random labels: never a row's own, uniform, and a function of the seed."""

import numpy as np
import pytest
import torch
from formulas import cross_entropy
from scipy.stats import chi2

from mubench_hf.errors import BadInput
from mubench_hf.kinds import get_kind
from mubench_hf.trainers.rand_label import RandLabelTrainer, RelabelledRows


def label_offsets(rows, num_labels, seed, epoch=0):
    """Return how far each row's random label is from its own."""
    rng = np.random.default_rng([seed, epoch])
    return get_kind("classification").draw_targets(np.ones(rows, dtype=bool), num_labels, rng)


@pytest.mark.parametrize("num_labels", [2, 3, 10, 100])
def test_never_a_rows_own_label(rng, num_labels):
    labels = rng.integers(num_labels, size=5000)
    drawn = (labels + label_offsets(5000, num_labels, seed=int(rng.integers(2**31)))) % num_labels
    assert (drawn != labels).all() and drawn.min() >= 0
    assert label_offsets(5000, num_labels, seed=1).dtype == np.int64


def test_uniform_over_the_other_classes(rng):
    """The counts of each (label, random label) against equal ones; a fair draw fails once in a billion runs."""
    classes, rows = 7, 21_000
    labels = np.arange(rows) % classes
    drawn = (labels + label_offsets(rows, classes, seed=int(rng.integers(2**31)))) % classes
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels, drawn), 1)
    assert not counts.diagonal().any()
    expected = rows / classes / (classes - 1)
    others = counts[~np.eye(classes, dtype=bool)]
    statistic = ((others - expected) ** 2 / expected).sum()
    assert statistic < chi2.isf(1e-9, classes * (classes - 2))
    # The next class alone, a common shortcut, is far beyond that.
    shortcut = np.zeros(len(others))
    shortcut[:classes] = rows / classes
    assert ((shortcut - expected) ** 2 / expected).sum() > 10 * chi2.isf(1e-9, classes * (classes - 2))


def test_a_function_of_seed_and_epoch():
    first = label_offsets(200, 10, seed=5)
    np.random.seed(0)
    assert (label_offsets(200, 10, seed=5) == first).all()
    assert (label_offsets(200, 10, seed=5, epoch=0) == first).all()
    assert (label_offsets(200, 10, seed=6) != first).any()
    assert (label_offsets(200, 10, seed=5, epoch=1) != first).any()


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("redraw", [False, True])
def test_labels_of_a_run(world, make, spy, redraw, workers):
    settings = {"num_train_epochs": 3, "redraw_labels": redraw, "dataloader_num_workers": workers}
    trainer = make("rand_label", world, **settings)
    seen = spy(trainer)
    trainer.train()
    epochs = []
    for batches in seen.epochs():
        drawn = {row: label for batch in batches for row, label in zip(batch.rows, batch.labels, strict=True)}
        assert len(drawn) == len(world.labels)
        own = np.array([drawn[row] == world.labels[row] for row in range(len(drawn))])
        assert (own == ~world.is_forget).all(), "rows of D_f get another label, those of D_r keep theirs"
        epochs.append(drawn)
    same = [drawn == epochs[0] for drawn in epochs]
    assert same == ([True, False, False] if redraw else [True, True, True])
    assert (epochs[1] != epochs[2]) is redraw


def test_workers_that_would_not_see_new_labels_are_refused(world, make):
    settings = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}
    with pytest.raises(BadInput, match="redraw_labels"):
        make("rand_label", world, redraw_labels=True, **settings).train()


def test_a_row_without_a_label_is_named(world):
    row = {"pixel_values": 0, "is_forget": True}
    with pytest.raises(BadInput, match="cannot be relabelled"):
        get_kind("classification").retarget(row, 1, [], 5)


def test_relabelled_rows_change_nothing_else(world, make):
    trainer = make("rand_label", world)
    rows, plain = RelabelledRows(trainer.rows, trainer.kind, 5, seed=3), trainer.rows
    for position in range(len(plain)):
        changed, kept = rows[position], plain[position]
        assert (changed.pop("labels") != kept.pop("labels")) == world.is_forget[position]
        assert changed.keys() == kept.keys() and changed["row"] == kept["row"]
        assert changed["pixel_values"].equal(kept["pixel_values"])


def test_defaults():
    config = RandLabelTrainer.config_class(output_dir="unused", use_cpu=True)
    assert (config.redraw_labels, config.num_train_epochs) == (False, 10)


def test_loss_of_every_update(world, updates, shares):
    _, found = updates("rand_label", world, **shares)
    drawn = (world.labels + label_offsets(len(world.labels), 5, seed=11)) % 5
    labels = np.where(world.is_forget, drawn, world.labels)
    for update in found:
        expected = cross_entropy(update.student, labels)[update.rows]
        assert update.loss == pytest.approx(expected.mean(), rel=1e-4, abs=1e-5)


def test_loss_of_an_update_is_of_the_relabelled_rows(world, make, spy):
    """The first update's loss, from the original's own logits and labels drawn here."""
    trainer = make("rand_label", world, max_steps=1, logging_strategy="steps", logging_steps=1)
    seen = spy(trainer)
    trainer.train()
    (batch,) = seen.batches
    with torch.no_grad():
        logits = world.original()(pixel_values=torch.from_numpy(batch.pixels)).logits
    drawn = (world.labels + label_offsets(len(world.labels), 5, seed=11)) % 5
    labels = np.where(world.is_forget, drawn, world.labels)[batch.rows]
    expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).item()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected, rel=1e-4)
