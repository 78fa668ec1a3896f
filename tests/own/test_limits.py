"""Models of somebody's own that read less than their tokenizers make, or have no token to fill batches up with."""

from __future__ import annotations

import json

import pytest
from own_data import save_bert, write_reviews

from mubench_hf.models.loading import saved_processor, text_positions
from mubench_hf.runs.store import load_logits, load_results
from mubench_hf.tasks import get_task

QUICK = ["--settings", "num_train_epochs=1", "cpu_threads=1", "learning_rate=0.002", "use_cpu=true"]
SHORT = ["--methods", "finetune", "--seeds", "1", "--out", "out"]


def statuses():
    return {run.method: run.status for run in load_results("out/results")}


@pytest.mark.slow
def test_longer_texts_are_cut_at_the_positions_of_the_model(outside, draw, mubench):
    rows = write_reviews(outside, draw)
    save_bert(outside / "short", rows, max_position_embeddings=64)
    for row in rows:  # 200 words and more, each at least a token.
        row["text"] = f"{row['text']} " * 30
    (outside / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = ["--data", "long.jsonl", "--label", "mood", "--inputs", "text", "--hold_out", "20%", "--model", "short"]
    mubench("run", *data, *SHORT, *QUICK)
    assert set(statuses().values()) == {"ok"} and len(statuses()) == 3

    task = get_task("long")
    made = task.prepare({"text": rows[0]["text"], "mood": 0}, saved_processor("short"))
    assert len(made["input_ids"]) == 64
    (checkpoint,) = outside.glob("out/mubench/long-short-finetune-*")
    assert saved_processor(checkpoint).model_max_length == 64
    again = mubench("evaluate", checkpoint, "--out", "out")
    assert "long · short · 5% deleted · seed 1" in again


@pytest.mark.parametrize(
    ("model_type", "fields", "found"),
    [
        ("bert", {"max_position_embeddings": 64}, 64),
        ("roberta", {"max_position_embeddings": 514}, 512),
        ("mpnet", {"max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ("gpt2", {"n_positions": 77}, 77),
        ("bart", {"max_position_embeddings": 96}, 96),
    ],
)
def test_positions_are_read_from_a_config(model_type, fields, found):
    from transformers import AutoConfig

    assert text_positions(AutoConfig.for_model(model_type, **fields)) == found


@pytest.mark.parametrize("model_type", ["t5", "xlnet"])
def test_a_model_without_a_table_of_positions_has_no_limit(model_type):
    from transformers import AutoConfig

    assert text_positions(AutoConfig.for_model(model_type)) <= 0


def test_roberta_reads_as_many_tokens_as_are_counted():
    import torch
    from transformers import RobertaConfig, RobertaModel

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = RobertaModel(RobertaConfig(vocab_size=50, max_position_embeddings=20, **sizes)).eval()
    most = text_positions(model.config)
    ids = torch.randint(3, 50, (1, most + 1))
    model(ids[:, :most])
    with pytest.raises((IndexError, RuntimeError)):
        model(ids)


@pytest.mark.parametrize("positions", [pytest.param(512, marks=pytest.mark.slow), 48])
def test_answers_are_written_without_a_pad_token(positions, outside, draw, mubench):
    from transformers import GPT2Config, GPT2LMHeadModel

    from mubench_hf.models.architectures._bpe import bpe_tokenizer

    rows = [{"question": f"who is {number}?", "answer": f"a {draw.random()} person"} for number in range(112)]
    (outside / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tokenizer = bpe_tokenizer([f"{row['question']} {row['answer']}" for row in rows], size=280)
    tokenizer.pad_token = None
    tokenizer.model_max_length = 10**30
    tokenizer.save_pretrained("writer")
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=positions, n_embd=16, n_layer=1, n_head=2,
        bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained("writer")
    assert saved_processor("writer").pad_token_id is None

    flags = ["--data", "qa.jsonl", "--label", "answer", "--hold_out", "10%", "--model", "writer"]
    mubench("run", *flags, *SHORT, *QUICK)
    assert set(statuses().values()) == {"ok"} and len(statuses()) == 3
    run = next(run for run in load_results("out/results") if run.method == "finetune")
    outputs = load_logits(run.name, "out/results")
    assert outputs["test_predictions"].shape == outputs["test_references"].shape == (11,)
    # Each target ends with the end of the text, which fills batches up too and is masked there.
    tokens = outputs["test_label_tokens"]
    assert ((tokens == tokenizer.eos_token_id).sum(1) == 1).all()
