"""Celebrity Profile's sources: made people, many or few, and a folder of one's own."""

import hashlib
import json
import random
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Value, load_dataset

from mubench_hf.data import build
from mubench_hf.data.manifest import read_manifest
from mubench_hf.data.prepare import load_task_data, prepare_rows
from mubench_hf.errors import BadInput
from mubench_hf.kinds.measures import get_measure
from mubench_hf.models import get_model
from mubench_hf.models.loading import fresh_model, load_processor
from mubench_hf.runs.scores import score
from mubench_hf.tasks import celeb_profile, get_task
from mubench_hf.tasks._profiles import other_answers, profiles

TASK = get_task("celeb_profile")
TINY = get_model("llama-2-tiny")


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets_cache"))
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def mini():
    return TASK.mini.load(None)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    build(TASK, variant="mini", out=out, progress=False)
    return out


@pytest.fixture(scope="module")
def data(built):
    return load_task_data(TASK, variant="mini", ratio=5, processor=lambda texts: load_processor(TINY, texts), out=built)


def texts_sha256(splits):
    texts = "\0".join(row[column] for rows in splits.values() for row in rows for column in celeb_profile.COLUMNS)
    return hashlib.sha256(texts.encode()).hexdigest()


@pytest.mark.parametrize(
    ("source", "sizes", "sha256"),
    [
        ("mini", {"train": 200, "test": 100}, "f187277afc4c18434f7c33b50e5461ef3bbb3b4b6e53e3577b04f2b516cdcb87"),
        ("full", {"train": 1000, "test": 200}, "d4a9c4e10977ef3e96d3b13f36a053b110f979b18d78a3991c7edb231c74388c"),
    ],
)
def test_made_people(source, sizes, sha256):
    splits = getattr(TASK, source).load(None)
    assert {split: len(rows) for split, rows in splits.items()} == sizes
    assert texts_sha256(splits) == sha256, "the same everywhere"
    names = [" ".join(row["biography"].split()[:2]) for rows in splits.values() for row in rows]
    assert len(set(names)) == len(names), "nobody twice"
    for name, row in zip(names, (row for rows in splits.values() for row in rows), strict=True):
        assert name in row["instruction"] and row["biography"].count(".") == {"mini": 2, "full": 5}[source]


def test_cards_say_that_people_are_made(built, tmp_path):
    full = build(TASK, variant="full", out=tmp_path, progress=False)
    for folder in (full, built / "mubench" / "celeb_profile-mini"):
        assert "people who do not exist" in (folder / "README.md").read_text()
        manifest = read_manifest(folder / "mubench.json")
        assert manifest["upstream"] == {"id": None, "revision": None, "raw": False}
        assert manifest["deletion_list"]["rule"] == "unlabelled"
    assert "no public home" in (full / "README.md").read_text()


def test_mini_through_plain_datasets(built, mini):
    splits = load_dataset(str(built / "mubench" / "celeb_profile-mini"), "df_5pct")
    assert {split: len(rows) for split, rows in splits.items()} == {"forget": 10, "retain": 190, "test": 100}
    for rows in splits.values():
        assert rows.features == {"index": Value("int64"), "instruction": Value("string"), "biography": Value("string")}
    for row in (*splits["forget"], *splits["retain"]):
        assert {column: row[column] for column in celeb_profile.COLUMNS} == mini["train"][row["index"]]


def test_prepared_rows_are_their_texts(data):
    tokenizer = data.processor
    for split in ("forget", "test"):
        rows = data.splits[split]
        for position in (0, 7, len(rows) - 1):
            row, inputs = rows.rows[position], rows[position]
            start = inputs["labels"].count(-100)
            assert tokenizer.decode(inputs["input_ids"]) == f"{row['instruction']}\n{row['biography']}</s>"
            assert tokenizer.decode(inputs["input_ids"][:start]) == row["instruction"] + "\n"
            assert inputs["labels"] == [-100] * start + inputs["input_ids"][start:]
            assert inputs["attention_mask"] == [1] * len(inputs["input_ids"])
            assert rows.labels[position] == row["biography"]


@pytest.mark.parametrize("pad", [True, False])
def test_batches_are_filled_up(data, pad):
    tokenizer = load_processor(TINY, ["some text"])
    if not pad:
        tokenizer.pad_token = None
    rows = [data.splits["test"][position] for position in range(9)]
    batch = TASK.collator(tokenizer)(rows)
    fillers = {"input_ids": 0 if pad else tokenizer.eos_token_id, "attention_mask": 0, "labels": -100}
    assert batch.keys() == fillers.keys() and tokenizer.eos_token_id == 1
    for number, row in enumerate(rows):
        for name, filler in fillers.items():
            own = len(row[name])
            assert batch[name][number, :own].tolist() == row[name] and (batch[name][number, own:] == filler).all()
    # The end is learned, also where it fills rows up.
    assert (batch["labels"] == tokenizer.eos_token_id).sum(1).tolist() == [1] * 9


def test_a_tokenizer_that_starts_texts_does_so_once(data):
    from tokenizers import processors

    tokenizer = load_processor(TINY, ["some text"])
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<pad> $A", special_tokens=[("<pad>", 0)]
    )
    inputs = TASK.prepare({"instruction": "Who?", "biography": "text"}, tokenizer)
    assert tokenizer.decode(inputs["input_ids"]) == "<pad>Who?\ntext</s>"


def test_long_texts_are_cut_off(data):
    inputs = TASK.prepare({"instruction": "word " * 5000, "biography": "text " * 5000}, data.processor)
    scored = [label for label in inputs["labels"] if label != -100]
    assert len(scored) == TASK.max_target_tokens and scored[-1] == data.processor.eos_token_id
    assert len(inputs["input_ids"]) <= data.processor.model_max_length


def write(folder, **changes):
    """Write a folder of one's own: 120 and 3 rows, and what `changes` says in place of lines."""
    folder.mkdir(exist_ok=True)
    for split, size in (("train", 120), ("test", 3)):
        rows = [
            {"instruction": f"Who is {split} {number}?", "biography": f"Nº {number}.", "age": 3}
            for number in range(size)
        ]
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        for place, line in changes.get(split, {}).items():
            lines[place - 1] = line
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    return folder


def test_a_folder_of_ones_own(tmp_path):
    folder = build(TASK, variant="full", out=tmp_path / "out", raw=write(tmp_path / "raw"), progress=False)
    splits = load_dataset(str(folder), "df_10pct")
    assert {split: len(rows) for split, rows in splits.items()} == {"forget": 12, "retain": 108, "test": 3}
    for row in (*splits["forget"], *splits["retain"]):
        assert (row["instruction"], row["biography"]) == (f"Who is train {row['index']}?", f"Nº {row['index']}.")
        assert set(row) == {"index", "instruction", "biography"}
    assert read_manifest(folder / "mubench.json")["upstream"]["raw"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"instruction": "Who?"', "line 7 is not JSON"),
        ("Who?", "line 7 is not JSON"),
        ('["Who?", "He."]', "line 7 is a JSON list"),
        ('{"instruction": "Who?"}', "line 7: column 'biography' is missing"),
        ('{"instruction": " ", "biography": "He."}', "line 7: column 'instruction' is ' '"),
        ('{"instruction": "Who?", "biography": null}', "line 7: column 'biography' is None"),
        ('{"instruction": 3, "biography": "He."}', "line 7: column 'instruction' is 3"),
    ],
)
def test_malformed_lines_are_named(line, message, tmp_path):
    with pytest.raises(BadInput, match=rf"train\.jsonl, {message}.*Needed: a JSON object"):
        TASK.full.load(write(tmp_path, train={7: line}))


def test_missing_and_empty_files_are_named(tmp_path):
    write(tmp_path)
    (tmp_path / "test.jsonl").write_text("\n \n")
    with pytest.raises(BadInput, match=r"test\.jsonl has no rows\. Needed"):
        TASK.full.load(tmp_path)
    (tmp_path / "test.jsonl").unlink()
    with pytest.raises(BadInput, match=r"no file .*test\.jsonl\. Needed"):
        TASK.full.load(tmp_path)
    (tmp_path / "test.jsonl").write_bytes(b'{"instruction": "Who?", "biography": "\xff"}\n')
    with pytest.raises(BadInput, match=r"test\.jsonl, line 1 is not JSON"):
        TASK.full.load(tmp_path)


@pytest.mark.parametrize("name", ["llama-2-tiny", "phi-tiny", "zephyr-tiny"])
def test_forward_and_backward(data, name):
    model = fresh_model(get_model(name), (), seed=3).train()
    batch = data.collator([data.splits["retain"][position] for position in range(12)])
    output = model(**batch)
    assert output.logits.shape[:2] == batch["labels"].shape and output.loss.isfinite()
    output.loss.backward()
    gradients = torch.cat([weight.grad.flatten() for weight in model.parameters()])
    assert gradients.isfinite().all() and (gradients == 0).float().mean() < 0.6


def test_scores_of_a_measured_model(data):
    """Texts, tokens and probabilities of every split, from one measurement of a few rows, without a padding token."""
    processor = load_processor(TINY, data.splits["retain"].rows["biography"][:])
    processor.pad_token = None
    few = {name: prepare_rows(rows.rows.select(range(8)), TASK, processor) for name, rows in data.splits.items()}
    few = replace(data, splits=few, processor=processor, collator=TASK.collator(processor))
    outputs = get_measure("causal_lm").measure(fresh_model(TINY, (), seed=3), few, 1)
    scores, _ = score(outputs, metrics=TASK.metrics, method="original", seed=1)
    for split in ("test", "forget", "retain"):
        for name in (*TASK.metrics, "rouge_1", "rouge_2"):
            assert 0 <= scores[f"{split}_{name}"] < 0.3, "untrained"


@pytest.mark.parametrize("sentences", range(1, 6))
def test_other_answers_say_the_same_in_other_words_or_all_of_it_wrong(sentences):
    for row in profiles({"train": 25}, sentences=sentences, seed=random.randrange(2**31))["train"]:
        biography = row["biography"]
        answers = celeb_profile.answers(row)
        assert answers == other_answers(biography) and answers.paraphrased != biography
        assert {*re.findall(r"\w+", answers.paraphrased.lower())} <= {*re.findall(r"\w+", biography.lower())}
        assert len({*answers.perturbed}) == len(answers.perturbed) == 5
        name, true = first_facts(answers.paraphrased)
        assert biography.startswith(name)
        for wrong in answers.perturbed:
            assert wrong.count(".") == sentences == answers.paraphrased.count(".")
            other_name, false = first_facts(wrong)
            assert other_name == name and all(said != fact for said, fact in zip(false, true, strict=True))


def first_facts(answer):
    """Return the name, and the year, town and job that the first sentence tells."""
    born, name, town, job = re.match(r"Born in (\d+), (.+?) from (\w+) is a (.+?)\.", answer).groups()
    return name, (born, town, job)


@pytest.mark.parametrize("biography", ["Ada wrote programs.", "A. is a poet from B, born in 1900. And then?", ""])
def test_a_biography_of_another_kind_has_no_other_answers(biography):
    assert other_answers(biography) is None


def test_other_answers_are_measured_on_request(data, monkeypatch):
    """The mean log-probability of each answer's tokens, against a pass over that answer alone."""
    few = {name: prepare_rows(rows.rows.select(range(3)), TASK, data.processor) for name, rows in data.splits.items()}
    few = replace(data, splits=few)
    model, measure = fresh_model(TINY, (), seed=3).eval(), get_measure("causal_lm")
    monkeypatch.setattr(measure, "_texts", lambda model, rows, data: np.array(["no"] * len(rows)), raising=True)
    outputs = measure.measure(model, few, 1, wanted=("forget_perturbed_log_probs", "retain_perturbed_log_probs"))
    assert not any(name.startswith("test_p") and name.endswith("log_probs") for name in outputs)
    for number, row in enumerate(few.splits["forget"].rows):
        answers, found = celeb_profile.answers(row), []
        for text in (answers.paraphrased, *answers.perturbed):
            inputs = TASK.prepare({**row, "biography": text}, few.processor)
            inputs = {name: torch.tensor([values]) for name, values in inputs.items()}
            with torch.no_grad():
                found.append(-model(**inputs).loss.item())
        assert outputs["forget_paraphrased_log_probs"][number] == pytest.approx(found[0], abs=1e-4)
        assert outputs["forget_perturbed_log_probs"][number].tolist() == pytest.approx(found[1:], abs=1e-4)

    scores, reasons = score(
        outputs, metrics=TASK.metrics, method="retrain", seed=1, asked=["truth_ratio", "tofu_forget_quality"]
    )
    assert 0 <= scores["forget_truth_ratio"] <= 1 and scores["tofu_forget_quality"] == 0
    assert "test_truth_ratio" in reasons and "paraphrased_log_probs" in reasons["test_truth_ratio"]
    assert reasons["test_truth_ratio"].endswith(
        "only where a task has other answers to its rows, right and wrong ones)"
    )

    unlike = {name: rows.rows.map(lambda row: {"biography": "Somebody else."}) for name, rows in few.splits.items()}
    unlike = replace(few, splits={name: prepare_rows(rows, TASK, few.processor) for name, rows in unlike.items()})
    outputs = measure.measure(model, unlike, 1, wanted=("forget_perturbed_log_probs",))
    assert not any(name.endswith("log_probs") for name in outputs)
