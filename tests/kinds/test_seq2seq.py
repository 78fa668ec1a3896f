"""Sequence to sequence: label positions are the decoder's, and a random target is another row's."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from mubench_hf.data.joined import JoinedRows


@pytest.fixture(params=["seq2seq_world", "bart_world"])
def world(request):
    return request.getfixturevalue(request.param)


def test_predictions_stand_beside_their_labels(world, collate, token_logits):
    model, rows = world.original(), [world.retain[position] for position in range(6)]
    inputs = collate(rows)
    with torch.no_grad():
        _, predictions, labels = world.kind.run(model, inputs)
        own = model(**inputs).loss
    assert torch.equal(labels, inputs["labels"]) and predictions.shape[:2] == labels.shape
    losses = world.kind.row_losses(predictions, labels)
    counts = (labels != -100).sum(1)
    assert own.item() == pytest.approx(((losses * counts).sum() / counts.sum()).item(), rel=1e-5)
    for row, loss in zip(rows, losses, strict=True):
        logits, target = token_logits(model, row["input_ids"], row["labels"]), row["labels"]
        expected = -log_softmax(logits, axis=1)[np.arange(len(target)), target].mean()
        assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_padding_does_not_count(world, collate):
    model, rows = world.original(), [world.retain[position] for position in range(6)]
    with torch.no_grad():
        tight, loose = (world.kind.row_losses(*world.kind.run(model, collate(rows, extra))[1:]) for extra in (0, 5))
    torch.testing.assert_close(tight, loose, rtol=1e-5, atol=1e-5)
    _, predictions, labels = world.kind.run(model, collate(rows, 5))
    predictions.retain_grad()
    world.kind.row_losses(predictions, labels).sum().backward()
    assert torch.equal(predictions.grad.abs().sum(-1) > 0, labels != -100)


def test_a_random_target_is_that_of_a_row_to_keep(world, rng):
    rows = JoinedRows(world.forget, world.retain)
    drawn = world.kind.draw_targets(rows.is_forget, None, rng)
    assert drawn.shape == (len(rows),) and not rows.is_forget[drawn].any()
    for position in np.flatnonzero(rows.is_forget):
        row = rows[position]
        other = world.kind.retarget(row, int(drawn[position]), rows, None)
        kept = np.flatnonzero(~world.is_forget)
        after = np.roll(kept, -np.searchsorted(kept, drawn[position]))
        assert other["labels"] == next(world.pairs[at][1] for at in after if world.pairs[at][1] != row["labels"])
        assert {**other, "labels": row["labels"]} == row
    many = np.concatenate([world.kind.draw_targets(rows.is_forget, None, rng) for _ in range(40)])
    assert set(many) == set(np.flatnonzero(~world.is_forget)), "any of them"
