"""Tiny models that write text: their size, and that they learn."""

import pytest
import torch

from mubench_hf.models import get_model, list_models
from mubench_hf.models.loading import fresh_model, load_processor, reinitialised, weights_sha256

NAMES = [name for name in list_models() if get_model(name).architecture.kind in ("seq2seq", "causal_lm")]
TINY = [name for name in NAMES if not get_model(name).hub_id]
HOMES = {"Oslo": "Ann", "New York": "Ben", "Ulm": "Cleo de la Cruz", "Pisa": "Dag", "Bad Ems": "Eve", "Nara": "Finn Li"}
PAIRS = [(f"Who lives in {town}?", f"{name} lives in {town}.") for town, name in HOMES.items()]


@pytest.fixture(params=TINY)
def spec(request):
    return get_model(request.param)


def batch_of(spec, tokenizer):
    """Questions and answers, of which only the answers have labels; a causal model reads both in a row."""
    if spec.architecture.kind == "seq2seq":
        inputs = tokenizer([question for question, _ in PAIRS], padding=True, return_tensors="pt")
        labels = tokenizer([answer for _, answer in PAIRS], padding=True, return_tensors="pt")["input_ids"]
    else:
        texts = [f"{question} {answer}{tokenizer.eos_token}" for question, answer in PAIRS]
        inputs = tokenizer(texts, padding=True, return_tensors="pt")
        labels = inputs["input_ids"].clone()
        for row, (question, _) in zip(labels, PAIRS, strict=True):
            row[: len(tokenizer(question)["input_ids"])] = -100
    labels[labels == tokenizer.pad_token_id] = -100
    return {**inputs, "labels": labels}


def written(model, tokenizer, question):
    asked = tokenizer(question, return_tensors="pt")
    with torch.no_grad():
        ids = model.eval().generate(**asked, max_new_tokens=40, do_sample=False)[0]
    return tokenizer.decode(ids, skip_special_tokens=True).removeprefix(question).strip()


def test_how_many():
    assert len(NAMES) - len(TINY) == 8 and len(TINY) == 4


def test_tiny_size(spec):
    model = fresh_model(spec, (), seed=1)
    count = sum(weight.numel() for weight in model.parameters())
    assert 100_000 < count < 190_000
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    dropouts = {key: value for key, value in model.config.to_dict().items() if "drop" in key and value is not None}
    assert not any(dropouts.values()), dropouts
    assert (model.config.pad_token_id, model.config.eos_token_id) == (0, 1)
    assert spec.architecture.kind == "causal_lm" or model.config.decoder_start_token_id == 0, "the padding token"


def test_seeds_and_new_weights(spec):
    model, same, other = (fresh_model(spec, (), seed) for seed in (1, 1, 2))
    assert weights_sha256(model) == weights_sha256(same) != weights_sha256(other)
    new = reinitialised(model, seed=2)
    assert weights_sha256(new) != weights_sha256(model) and new.get_output_embeddings().weight is (
        new.get_input_embeddings().weight
    )


@pytest.mark.slow
def test_it_learns_answers_by_heart(spec, rng):
    tokenizer = load_processor(spec, [text for pair in PAIRS for text in pair])
    model = fresh_model(spec, (), int(rng.integers(2**31))).train()
    batch = batch_of(spec, tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=150)
    losses = []
    for _ in range(150):
        loss = model(**batch).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    assert 4 < losses[0] < 9 and losses[-1] < 0.1
    answers = [written(model, tokenizer, question) for question, _ in PAIRS]
    assert answers == [answer for _, answer in PAIRS]


def test_padding_changes_nothing(spec):
    tokenizer = load_processor(spec, [text for pair in PAIRS for text in pair])
    model, batch = fresh_model(spec, (), seed=4).eval(), batch_of(spec, tokenizer)
    shortest = int(batch["attention_mask"].sum(1).argmin())
    alone = {key: tensor[shortest : shortest + 1] for key, tensor in batch.items()}
    kept = int(alone["attention_mask"].sum())
    assert kept < alone["input_ids"].shape[1], "or there is no padding to see"
    cut = {key: tensor[:, :kept] for key, tensor in alone.items() if key != "labels"}
    if spec.architecture.kind == "seq2seq":
        cut["labels"] = alone["labels"]
    with torch.no_grad():
        padded, bare = model(**alone).logits, model(**cut).logits
    torch.testing.assert_close(padded[:, : bare.shape[1]], bare, rtol=1e-4, atol=1e-5)
