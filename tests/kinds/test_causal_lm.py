"""Causal language models: labels are one place on, prompts are not learned, random targets follow a row's prompt."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from mubench_hf.data.joined import JoinedRows


@pytest.fixture
def world(causal_world):
    return causal_world


def test_predictions_stand_beside_their_labels(world, collate, token_logits):
    model, pairs = world.original(), [world.retain.pairs[position] for position in range(6)]
    inputs = collate([world.retain[position] for position in range(6)])
    with torch.no_grad():
        _, predictions, labels = world.kind.run(model, inputs)
        own = model(**inputs).loss
    assert predictions.shape[:2] == labels.shape == (6, inputs["labels"].shape[1] - 1)
    losses = world.kind.row_losses(predictions, labels)
    counts = (labels != -100).sum(1)
    assert counts.tolist() == [len(target) for _, target in pairs]
    assert own.item() == pytest.approx(((losses * counts).sum() / counts.sum()).item(), rel=1e-5)
    for (prompt, target), loss in zip(pairs, losses, strict=True):
        expected = -log_softmax(token_logits(model, prompt, target), axis=1)[np.arange(len(target)), target].mean()
        assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_neither_padding_nor_prompt_counts(world, collate):
    model, rows = world.original(), [world.retain[position] for position in range(6)]
    with torch.no_grad():
        tight, loose = (world.kind.row_losses(*world.kind.run(model, collate(rows, extra))[1:]) for extra in (0, 5))
    torch.testing.assert_close(tight, loose, rtol=1e-5, atol=1e-5)
    _, predictions, labels = world.kind.run(model, collate(rows, 5))
    predictions.retain_grad()
    world.kind.row_losses(predictions, labels).sum().backward()
    scored = predictions.grad.abs().sum(-1) > 0
    for (prompt, target), places in zip(world.retain.pairs, scored, strict=False):
        first = len(prompt) - 1
        assert places.nonzero().flatten().tolist() == list(range(first, first + len(target)))


def test_a_random_target_is_that_of_a_row_to_keep(world, rng):
    rows = JoinedRows(world.forget, world.retain)
    drawn = world.kind.draw_targets(rows.is_forget, None, rng)
    assert drawn.shape == (len(rows),) and not rows.is_forget[drawn].any()
    for position in np.flatnonzero(rows.is_forget):
        row, (prompt, own) = rows[position], world.pairs[position]
        kept = np.flatnonzero(~world.is_forget)
        after = np.roll(kept, -np.searchsorted(kept, drawn[position]))
        target = next(world.pairs[at][1] for at in after if world.pairs[at][1] != own)
        other = world.kind.retarget(row, int(drawn[position]), rows, None)
        assert other["input_ids"] == [*prompt, *target] and other["attention_mask"] == [1] * len(other["input_ids"])
        assert other["labels"] == [-100] * len(prompt) + target
        assert other.keys() == row.keys() and other["row"] == position and other["is_forget"]
        assert world.kind.prompt(row) == world.kind.prompt(other) == prompt
