"""What is measured of a checkpoint that writes: texts, tokens, losses, and distances from an untrained model."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax, softmax

from mubench_hf.data.joined import JoinedRows
from mubench_hf.kinds.measures import get_measure, incompetent, truth_logits
from mubench_hf.metrics.populations import log_odds
from mubench_hf.metrics.reference_probability import reference_probability
from mubench_hf.tasks import get_task

EOS = 1


@torch.no_grad()
def greedy(model, prompt, limit):
    """Write one row's text a token at a time, with no batch, no padding and no cache."""
    encodes, text = model.config.is_encoder_decoder, []
    while len(text) < limit and EOS not in text:
        if encodes:
            written = torch.tensor([[model.config.decoder_start_token_id, *text]])
            logits = model(input_ids=torch.tensor([prompt]), decoder_input_ids=written, use_cache=False).logits
        else:
            logits = model(input_ids=torch.tensor([[*prompt, *text]]), use_cache=False).logits
        text.append(int(logits[0, -1].argmax()))
    return text


def double(world):
    """The original in double precision: rounding then decides between no two tokens."""
    return world.original().double()


@pytest.fixture(params=["seq2seq_world", "bart_world", "causal_world"])
def world(request):
    return request.getfixturevalue(request.param)


def test_texts_are_the_greedy_ones(world, words):
    model = double(world)
    outputs = get_measure(world.kind.key).measure(model, world.data(), 3)
    lengths = set()
    for split in ("forget", "retain", "test"):
        pairs = getattr(world, split).pairs
        written = [greedy(model, prompt, world.limit) for prompt, _ in pairs]
        assert outputs[f"{split}_predictions"].tolist() == [words(tokens) for tokens in written]
        assert outputs[f"{split}_references"].tolist() == [words(target) for _, target in pairs]
        lengths |= {len(tokens) for tokens in written}
    assert max(lengths) <= world.limit


def test_texts_end_where_targets_do(causal_world, tokenizer, words):
    """With a tokenizer that has no padding and a model that does not know its end, as some chat models."""
    model = double(causal_world)
    # The end becomes likely, so that most texts do.
    with torch.no_grad():
        model.get_output_embeddings().weight[EOS] *= 3
    expected = [words(greedy(model, prompt, causal_world.limit)) for prompt, _ in causal_world.retain.pairs]
    for settings in (model.config, model.generation_config):
        settings.eos_token_id = settings.pad_token_id = None
    outputs = get_measure(causal_world.kind.key).measure(model, causal_world.data(tokenizer(pad=None)), 3)
    # To such a tokenizer the token that others pad with is a word.
    found = [[word for word in text.split() if word != "<pad>"] for text in outputs["retain_predictions"]]
    assert found == [text.split() for text in expected]


def test_tokens_losses_and_divergences(world, token_logits):
    model = world.original()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    outputs = get_measure(world.kind.key).measure(model, world.data(), 3)
    assert all(weight.equal(before[name]) for name, weight in model.state_dict().items()) and not model.training
    untrained = incompetent(model, 3)
    assert outputs["chance"] == 0
    for split in ("forget", "retain", "test"):
        rows, losses = getattr(world, split), []
        longest = outputs[f"{split}_label_tokens"].shape[1]
        for number, (prompt, target) in enumerate(rows.pairs):
            logits = token_logits(model, prompt, target)
            losses.append(-log_softmax(logits, axis=1)[np.arange(len(target)), target].mean())
            true, said = (outputs[f"{split}_{name}_tokens"][number] for name in ("label", "predicted"))
            places = np.flatnonzero(true != -100)
            assert true[places].tolist() == target and (said == -100).tolist() == (true == -100).tolist()
            margin = np.diff(np.sort(logits, axis=1)[:, -2:], axis=1).ravel()
            clear = margin > 1e-4
            assert (said[places][clear] == logits.argmax(1)[clear]).all()
            if split == "forget":
                other = token_logits(untrained, prompt, target)
                pair = (softmax(each, axis=1) for each in (logits, other))
                expected = np.mean(jensenshannon(*pair, base=2, axis=1) ** 2)
                assert outputs["incompetent_forget_divergences"][number] == pytest.approx(expected, abs=1e-5)
        assert longest >= max(len(target) for _, target in rows.pairs)
        logits, labels = outputs[f"{split}_logits"], outputs[f"{split}_labels"]
        assert logits.shape == (len(rows), 2) and (labels == 0).all()
        np.testing.assert_allclose(-log_softmax(logits.astype(float), axis=1)[:, 0], losses, rtol=1e-4)
        probability = reference_probability(logits, labels)["reference_probability"]
        assert probability == pytest.approx(np.exp(-np.asarray(losses)).mean(), rel=1e-4)
    assert "test_divergences" not in outputs and "retain_divergences" not in outputs


def test_any_loss_is_a_probability_of_the_truth(rng):
    losses = np.concatenate([[0.0, 1e-12, 50.0, 800.0], rng.exponential(size=50)])
    logits, labels = truth_logits(losses)
    assert np.isfinite(logits).all() and logits.dtype == np.float32 and (labels == 0).all()
    np.testing.assert_allclose(-log_softmax(logits.astype(float), axis=1)[:, 0], losses, rtol=1e-5, atol=2e-9)


def test_other_answers_can_be_measured_only_where_a_task_has_some():
    """Or each evaluation would run the model again for arrays that never come."""
    for task, has in (("celeb_profile", True), ("samsum", False)):
        measure = get_measure(get_task(task).kind)
        found = measure.measurable(get_task(task))
        assert ("forget_perturbed_log_probs" in found) == has and "incompetent_forget_divergences" in found
        assert "forget_perturbed_log_probs" in measure.on_request


def test_truths_are_those_of_the_whole_measure_and_no_text_is_written(world, monkeypatch):
    """Populations of models keep the log-odds of these, and runs are compared with them."""
    model, measure = world.original(), get_measure(world.kind.key)
    whole = measure.measure(model, world.data(), 3)
    monkeypatch.setattr(type(model), "generate", None)
    found = measure.truths(model, world.data())
    for split, what in product(("forget", "retain", "test"), ("logits", "labels")):
        assert np.array_equal(found[f"{split}_{what}"], whole[f"{split}_{what}"])
        odds = log_odds(split, found[f"{split}_logits"], found[f"{split}_labels"])
        losses = measure.row_losses(model, JoinedRows(world.data().splits[split], None), world.data())
        assert odds == pytest.approx(np.log(np.exp(-losses) / -np.expm1(-losses)), rel=1e-4, abs=1e-4)
