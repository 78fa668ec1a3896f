"""What attacks on membership read: per token and per gradient of texts, and at fixed times and noise of denoisers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from mubench_hf.data.joined import JoinedRows
from mubench_hf.errors import BadInput
from mubench_hf.kinds._chunked import log_prob_mean, log_prob_std
from mubench_hf.kinds.measures import _membership, get_measure
from mubench_hf.kinds.measures._membership import ATTACKED, GRADIENT_NORMS, LOG_PROBS, MEANS, STDS, attacked
from mubench_hf.metrics.min_k_pp import min_k_pp

TOKENS = (LOG_PROBS, MEANS, STDS)


@pytest.fixture(params=["seq2seq_world", pytest.param("bart_world", marks=pytest.mark.slow), "causal_world"])
def world(request):
    return request.getfixturevalue(request.param)


def measured(world, model, names, split="forget"):
    return attacked(world.kind, model, JoinedRows(getattr(world, split), None), world.data(), names)


def test_tokens_are_what_the_model_says_of_each(world, token_logits):
    model = world.original()
    found = measured(world, model, TOKENS)
    for number, (prompt, target) in enumerate(world.forget.pairs):
        logs = log_softmax(token_logits(model, prompt, target), axis=1)
        p = np.exp(logs)
        mean = (p * logs).sum(axis=1)
        expected = logs[np.arange(len(target)), target], mean, np.sqrt((p * logs**2).sum(axis=1) - mean**2)
        for name, values in zip(TOKENS, expected, strict=True):
            row = found[name][number]
            np.testing.assert_allclose(row[~np.isnan(row)], values, atol=2e-5, rtol=2e-5)
    assert all(values.dtype == np.float32 for values in found.values())


def test_gradient_norms_are_those_of_each_row_alone(world):
    model = world.original().double()
    weights = [*model.parameters()]
    weights[0].requires_grad_(False)  # As of an adapted model, whose gradient counts all the same.
    before = [weight.detach().clone() for weight in weights]
    found = measured(world, model, [GRADIENT_NORMS])[GRADIENT_NORMS]
    flags = [weight.requires_grad for weight in weights]
    assert flags == [False] + [True] * (len(weights) - 1) and not model.training
    assert all(weight.grad is None and weight.equal(old) for weight, old in zip(weights, before, strict=True))
    weights[0].requires_grad_(True)
    row = int(np.argmax(found))
    batch = world.data().collator([world.forget[row]])
    loss = model(**batch).loss  # The model's own: the mean over its label tokens.
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    expected = torch.cat([one.ravel() for one in gradients if one is not None]).norm().item()
    assert found[row] == pytest.approx(expected, rel=1e-6), "a loss is float32"


def test_padding_and_batches_change_nothing(world, collate, monkeypatch):
    """A row is measured alike whatever is beside it and however far it is filled up."""
    model, rows, data = world.original().double(), JoinedRows(world.forget, None), world.data()
    names, wide = (*TOKENS, GRADIENT_NORMS), replace(data, collator=lambda held: collate(held, extra=3))
    whole = attacked(world.kind, model, rows, data, names)
    wider = attacked(world.kind, model, rows, wide, names)
    monkeypatch.setattr(_membership, "BATCH", 2)
    narrow = attacked(world.kind, model, rows, data, names)
    for name in names:
        for other in (wider, narrow):
            if name == GRADIENT_NORMS:
                np.testing.assert_allclose(other[name], whole[name], rtol=1e-5)
                continue
            for one, same in zip(other[name], whole[name], strict=True):
                np.testing.assert_allclose(one[~np.isnan(one)], same[~np.isnan(same)], rtol=1e-5, atol=1e-6)


def test_scores_are_there_for_what_is_asked_and_nothing_else_is_measured(causal_world):
    model, measure = causal_world.original(), get_measure("causal_lm")
    assert measure.on_request >= ATTACKED
    asked = {"forget_token_log_probs", "test_token_log_probs"}
    outputs = measure.measure(model, causal_world.data(), 3, wanted=asked)
    assert ATTACKED & outputs.keys() == asked
    every = measure.measure(model, causal_world.data(), 3)
    assert every.keys() >= ATTACKED and not any(name.startswith("retain_token_log") for name in every)
    for name, values in outputs.items():
        assert np.array_equal(values, every[name], equal_nan=values.dtype.kind == "f"), name
    given = [every[f"{split}_{name}"] for split in ("forget", "test") for name in TOKENS]
    assert 0 <= min_k_pp(*given)["min_k_pp"] <= 1


def test_gradients_of_a_model_in_parts_are_refused(causal_world, monkeypatch):
    monkeypatch.setattr(_membership, "is_sharded", lambda model: True)
    with pytest.raises(BadInput, match="Evaluate it in one process, or leave out the metric gradnorm"):
        measured(causal_world, causal_world.original(), [GRADIENT_NORMS])


def test_impossible_tokens_count_for_nothing():
    logits = torch.tensor([[0.0, 0.0, -torch.inf], [5.0, -torch.inf, -torch.inf], [1e4, -1e4, 0.0]])
    mean, std = (function(logits, wanted=(False,))[0] for function in (log_prob_mean, log_prob_std))
    assert mean.tolist() == pytest.approx([-np.log(2), 0, 0]) and std.tolist() == [0, 0, 0]
