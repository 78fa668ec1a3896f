"""`mubench_hf.evaluate`: scores of any model on any rows, without a task or a run."""

import json

import numpy as np
import pytest
import torch
from made_up import table
from scipy.special import log_softmax
from transformers import LlamaConfig, LlamaForCausalLM, ViTConfig, ViTForImageClassification

import mubench_hf
from mubench_hf import BadInput, Evaluation, ScrubConfig, ScrubTrainer, evaluate
from mubench_hf.leaderboard.entries import dataset_paths

CLASSES = 4


def vit(seed=0):
    config = ViTConfig(image_size=8, patch_size=4, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                       intermediate_size=16, num_labels=CLASSES, initializer_range=0.3)  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ViTForImageClassification(config).eval()


@pytest.fixture
def sets():
    """Fresh random rows: D_f, D_r and test."""
    rng = np.random.default_rng()

    def rows(count):
        pixels = rng.normal(size=(count, 3, 8, 8)).astype(np.float32)
        labels = rng.integers(CLASSES, size=count)
        return [
            {"pixel_values": torch.from_numpy(each), "labels": int(y)} for each, y in zip(pixels, labels, strict=True)
        ]

    return {"forget": rows(9), "retain": rows(20), "test": rows(15)}


def logits_of(model, rows):
    with torch.inference_mode():
        return model(pixel_values=torch.stack([row["pixel_values"] for row in rows])).logits.numpy()


def test_scores_follow_from_the_models_own_logits(sets):
    model = vit()
    found = evaluate(model, **sets)
    for split, rows in sets.items():
        labels = [row["labels"] for row in rows]
        right = logits_of(model, rows).argmax(1) == labels
        assert found.scores[f"{split}_accuracy"] == pytest.approx(right.mean())
    losses = {
        split: -log_softmax(logits_of(model, sets[split]).astype(float), axis=1)[
            np.arange(len(sets[split])), [row["labels"] for row in sets[split]]
        ]
        for split in ("forget", "test")
    }
    lower = (losses["forget"][:, None] < losses["test"]).mean()
    assert found.scores["mia_loss_auc"] == pytest.approx(lower, abs=1e-4)
    assert found.scores["average_gap"] is None and "retrained" in found.reasons["average_gap"]
    assert set(found.reasons) == {name for name, value in found.scores.items() if value is None}


def test_references_are_models_or_what_was_found_of_them(sets):
    model, original, retrain = vit(0), vit(1), vit(2)
    by_model = evaluate(model, **sets, original=original, retrain=retrain, seconds=2.0)
    stated = {name: evaluate(each, **sets) for name, each in (("original", original), ("retrain", retrain))}
    assert evaluate(model, **sets, seconds=2.0, **stated).scores == by_model.scores
    assert evaluate(model, **sets, seconds=2.0, **{name: each.scores for name, each in stated.items()}) == by_model
    gaps = [abs(by_model.scores[key] - stated["retrain"].scores[key])
            for key in ("forget_accuracy", "retain_accuracy", "test_accuracy", "mia_confidence_svc")]  # fmt: skip
    assert by_model.scores["average_gap"] == pytest.approx(np.mean(gaps))
    assert by_model.scores["unlearn_seconds"] == 2.0 and by_model.scores["unlearning_score"] is not None


def test_only_what_is_asked_for(sets):
    found = evaluate(vit(), **sets, metrics=["macro_f1", "zrf"])
    assert set(found.scores) == {"test_macro_f1", "forget_macro_f1", "retain_macro_f1", "zrf"}
    with pytest.raises(BadInput, match="Did you mean 'zrf'"):
        evaluate(vit(), **sets, metrics=["zfr"])


def test_data_sets_with_transforms_and_columns_that_no_model_knows(sets):
    from datasets import Dataset

    def as_dataset(rows):
        columns = {"pixels": [row["pixel_values"].numpy() for row in rows], "label": [row["labels"] for row in rows],
                   "note": ["kept"] * len(rows)}  # fmt: skip
        return Dataset.from_dict(columns).with_transform(
            lambda batch: {
                "pixel_values": [torch.tensor(pixels) for pixels in batch["pixels"]],
                "labels": batch["label"],
                "note": batch["note"],
            }
        )

    expected = evaluate(vit(), **sets).scores
    assert evaluate(vit(), **{split: as_dataset(rows) for split, rows in sets.items()}).scores == pytest.approx(
        expected
    )


def test_a_collator_of_ones_own(sets):
    def half(rows):
        return {"pixel_values": torch.stack([row["pixel_values"] / 2 for row in rows]),
                "labels": torch.tensor([row["labels"] for row in rows])}  # fmt: skip

    halved = {split: [{**row, "pixel_values": row["pixel_values"] / 2} for row in rows] for split, rows in sets.items()}
    assert evaluate(vit(), **sets, data_collator=half).scores == evaluate(vit(), **halved).scores


def test_an_adapted_model_is_scored_as_it_stands(sets):
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(vit(), LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    merged = get_peft_model(vit(), LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    merged.load_state_dict(model.state_dict())
    assert evaluate(model, **sets).scores == pytest.approx(evaluate(merged.merge_and_unload(), **sets).scores, abs=1e-4)


def test_it_follows_a_trainer(sets, tmp_path):
    args = ScrubConfig(output_dir=str(tmp_path), num_train_epochs=1, msteps=1, use_cpu=True, disable_tqdm=True,
                       save_strategy="no")  # fmt: skip
    original = vit()
    before = {name: weight.clone() for name, weight in original.state_dict().items()}
    trainer = ScrubTrainer(vit(), args, forget_dataset=sets["forget"], retain_dataset=sets["retain"])
    trainer.train()
    found = evaluate(trainer.model, **sets, original=original, seconds=trainer.unlearn_seconds, method="scrub")
    assert found.scores["unlearn_seconds"] == trainer.unlearn_seconds
    assert all(torch.equal(weight, original.state_dict()[name]) for name, weight in before.items())


def word_tokenizer(words):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(["<pad>", "<eos>", "<unk>", *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def test_a_model_that_writes():
    rng, words = np.random.default_rng(), [f"w{number}" for number in range(20)]
    tokenizer = word_tokenizer(words)
    torch.manual_seed(int(rng.integers(2**31)))
    config = LlamaConfig(vocab_size=23, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                         num_attention_heads=2, num_key_value_heads=2, pad_token_id=0, eos_token_id=1)  # fmt: skip
    model = LlamaForCausalLM(config)

    def rows(count):
        found = []
        for _ in range(count):
            prompt, answer = rng.choice(words, 3).tolist(), rng.choice(words, int(rng.integers(1, 4))).tolist()
            ids = tokenizer(" ".join([*prompt, *answer]))["input_ids"] + [1]
            found.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": [-100] * 3 + ids[3:]})
        return found

    sets = {"forget": rows(4), "retain": rows(6), "test": rows(5)}
    found = evaluate(model, **sets, processing_class=tokenizer)
    for split, given in sets.items():
        right = total = 0
        for row in given:
            with torch.inference_mode():
                best = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1].argmax(-1).tolist()
            scored = [(b, y) for b, y in zip(best, row["labels"][1:], strict=True) if y != -100]
            right, total = right + np.mean([b == y for b, y in scored]), total + 1
        assert found.scores[f"{split}_token_accuracy"] == pytest.approx(right / total, abs=1e-6)
        assert 0 <= found.scores[f"{split}_rouge_l"] <= 1
    references = found.outputs["forget_references"].tolist()
    assert references == [tokenizer.decode([y for y in row["labels"] if y > 1]) for row in sets["forget"]]
    with pytest.raises(BadInput, match="Give its tokenizer as processing_class"):
        evaluate(model, **sets)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": []}, "test is empty"),
        ({"retain": None}, "retain is missing"),
        ({"forget": [{"pixel_values": torch.zeros(3, 8, 8)}]}, "Row 0 of forget has pixel_values but none of labels"),
        (
            {"forget": [{"pixel_values": torch.zeros(3, 8, 8), "labels": CLASSES}]},
            "label 4 in row 0; allowed: .* 0 to 3",
        ),
    ],
)
def test_bad_input_is_refused(sets, change, message):
    with pytest.raises(BadInput, match=message):
        evaluate(vit(), **{**sets, **change})
    with pytest.raises(BadInput, match="forget and retain are the same data set"):
        evaluate(vit(), **{**sets, "forget": sets["retain"]})


def test_what_comes_out_can_be_kept_and_read(sets):
    found = evaluate(vit(), **sets)
    content = json.loads(json.dumps(found.to_dict()))
    assert Evaluation(**content) == found
    frame = found.to_pandas().set_index("score")
    assert frame["value"].dropna().to_dict() == {
        name: value for name, value in found.scores.items() if value is not None
    }
    assert frame["reason"].dropna().to_dict() == found.reasons
    printed = str(found)
    for name, value in found.scores.items():
        assert name in printed and ("–" if value is None else f"{value:.4f}") in printed


def test_results_become_a_table(finished):
    results = mubench_hf.load_results(finished)
    frame = results.to_pandas()
    assert len(frame) == len(results) == 9
    row = frame[(frame.method == "finetune") & (frame.seed == 42)].iloc[0]
    (run,) = [run for run in results if (run.method, run.seed) == ("finetune", 42)]
    assert row["forget_accuracy"] == run.scores["forget_accuracy"] and row["status"] == "ok"
    originals = frame[frame.method == "original"]
    assert len(originals) == 3 and originals["unlearn_seconds"].isna().all()


def test_results_of_the_leaderboard_become_a_table_too(hub_here, tmp_path):
    results = table(tmp_path)
    files = {dataset_paths(result)[0]: result.to_json().encode() for result in results}
    hub_here.add("dataset", "mubench/results", files | {"runs/x/nan.json": b"NaN"})
    frame = mubench_hf.load_results("mubench/results").to_pandas()
    assert sorted(zip(frame.method, frame.seed, strict=True)) == sorted((run.method, run.seed) for run in results)
    scrub = frame[(frame.method == "scrub") & (frame.seed == 87)].iloc[0]
    (run,) = [run for run in results if (run.method, run.seed) == ("scrub", 87)]
    assert scrub["zrf"] == run.scores["zrf"]
