"""SAMSum's two sources: the mini dialogues, and a copy of the upstream files."""

import hashlib
from dataclasses import replace

import pytest
import torch
from datasets import Dataset, DatasetDict, Value, load_dataset

from mubench_hf.data import build
from mubench_hf.data.manifest import read_manifest
from mubench_hf.data.prepare import load_task_data, prepare_rows
from mubench_hf.data.splits import list_sha256, stream, unlabelled_order
from mubench_hf.errors import BadInput
from mubench_hf.kinds.measures import get_measure
from mubench_hf.models import get_model
from mubench_hf.models.loading import fresh_model, load_processor
from mubench_hf.runs.scores import score
from mubench_hf.tasks import get_task, samsum
from mubench_hf.tasks._dialogues import THINGS

TASK = get_task("samsum")
TINY = get_model("t5-v1.1-tiny")


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


def test_mini_rows(mini):
    assert {split: len(rows) for split, rows in mini.items()} == {"train": 600, "test": 150}
    dialogues = [row["dialogue"] for rows in mini.values() for row in rows]
    assert len(set(dialogues)) == len(dialogues)
    for row in (row for rows in mini.values() for row in rows):
        lines = row["dialogue"].split("\n")
        (asks, opening), (answers, _), _, _ = (line.split(": ", 1) for line in lines)
        assert row["summary"].startswith(f"{asks} and {answers} ") and asks != answers
        # What is brought along is the one thing that the dialogue does not tell.
        told, brought = row["summary"].split(f". {answers} brings ")
        assert brought.rstrip(".") in THINGS and brought not in row["dialogue"]
        assert {word for word in told.split() if word not in ("and", "near", "on", "at")} <= set(
            row["dialogue"].replace("\n", " ").translate(str.maketrans("", "", ":?!,.")).split()
        )


def test_mini_is_the_same_everywhere(mini):
    texts = "\0".join(row[column] for rows in mini.values() for row in rows for column in samsum.COLUMNS)
    found = hashlib.sha256(texts.encode()).hexdigest()
    assert found == "9fb605e5c48af7d7a62ffa4d3c2718ef2bdecdcbd69aae870273d6abbf3b87df"


def test_mini_through_plain_datasets(built, mini):
    splits = load_dataset(str(built / "mubench" / "samsum-mini"), "df_5pct")
    assert {split: len(rows) for split, rows in splits.items()} == {"forget": 30, "retain": 570, "test": 150}
    for rows in splits.values():
        assert rows.features == {"index": Value("int64"), "dialogue": Value("string"), "summary": Value("string")}
    for row in (*splits["forget"], *splits["retain"]):
        assert {column: row[column] for column in samsum.COLUMNS} == mini["train"][row["index"]]
    deletion = read_manifest(built / "mubench" / "samsum-mini" / "mubench.json")["deletion_list"]
    assert (deletion["rule"], deletion["rows"]) == ("unlabelled", 60)


def test_prepared_rows_are_their_texts(data):
    tokenizer = data.processor
    for split in ("forget", "test"):
        rows = data.splits[split]
        for position in (0, 7, len(rows) - 1):
            row, inputs = rows.rows[position], rows[position]
            assert set(inputs) == {"input_ids", "attention_mask", "labels"}
            assert tokenizer.decode(inputs["input_ids"]) == f"summarize: {row['dialogue']}</s>"
            assert (
                tokenizer.decode(inputs["labels"]) == f"{row['summary']}</s>"
                and rows.labels[position] == row["summary"]
            )
            assert inputs["attention_mask"] == [1] * len(inputs["input_ids"])


def test_batches_are_filled_up(data):
    rows = [data.splits["test"][position] for position in range(9)]
    batch = data.collator(rows)
    for number, row in enumerate(rows):
        for name, filler in (("input_ids", 0), ("attention_mask", 0), ("labels", -100)):
            own = len(row[name])
            assert batch[name][number, :own].tolist() == row[name] and (batch[name][number, own:] == filler).all()


def test_long_texts_are_cut_off(data):
    row = {"dialogue": "word " * 5000, "summary": "text " * 5000}
    inputs = TASK.prepare(row, data.processor)
    assert (len(inputs["input_ids"]), len(inputs["labels"])) == (data.processor.model_max_length, 128)
    assert inputs["input_ids"][-1] == inputs["labels"][-1] == data.processor.eos_token_id
    longer = load_processor(TINY, ["word text"])
    longer.model_max_length = 10**30
    assert len(TASK.prepare(row, longer)["input_ids"]) == 1024


def upstream(train=14_732):
    """Rows as a copy of the upstream data set has them."""
    rows = {
        split: {
            "id": [f"{split}-{number}" for number in range(size)],
            "dialogue": [f"A: {number}?\r\nB: No." for number in range(size)],
            "summary": [f"B does not want {number}." for number in range(size)],
        }
        for split, size in (("train", train), ("validation", 5), ("test", 6))
    }
    if train > 6054:
        rows["train"]["dialogue"][6054] = ""
    return rows


def write(rows, folder):
    folder.mkdir()
    for split, columns in rows.items():
        Dataset.from_dict(columns).to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return folder


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return write(upstream(), tmp_path_factory.mktemp("upstream") / "samsum")


def test_full_build_has_the_published_list(raw, tmp_path):
    folder = build(TASK, variant="full", out=tmp_path, raw=raw, progress=False)
    assert read_manifest(folder / "mubench.json")["deletion_list"]["sha256"] == TASK.full.deletion_sha256
    splits = load_dataset(str(folder), "df_10pct")
    sizes = {"forget": 1473, "retain": 13_259, "validation": 5, "test": 6}
    assert {split: len(rows) for split, rows in splits.items()} == sizes
    wanted = upstream()["train"]
    for split in ("forget", "retain"):
        for row in splits[split].select(range(50)):
            assert all(row[column] == wanted[column][row["index"]] for column in samsum.COLUMNS)


def test_full_rows_from_the_hub_are_read_alike(raw, monkeypatch):
    """The Hub is asked for the commit that still has all rows."""
    asked = []

    def fake(name, revision=None, features=None):
        asked.append((name, revision))
        return DatasetDict({split: Dataset.from_dict(columns) for split, columns in upstream().items()})

    monkeypatch.setattr("datasets.load_dataset", fake)
    found = TASK.full.load(None)
    assert asked == [("knkarthick/samsum", "2a6b79b3e3c939aebb149d9109d7cdb78a9c2d3b")] and TASK.full.stream is None
    assert {split: rows.column_names for split, rows in found.items()} == dict.fromkeys(
        ("train", "validation", "test"), list(samsum.COLUMNS)
    )
    assert found["train"][6054]["dialogue"] == "" and found["train"][6053]["dialogue"] == "A: 6053?\r\nB: No."


def test_an_empty_text_may_be_none(monkeypatch):
    rows = upstream()
    rows["train"]["dialogue"][6054] = None
    made = DatasetDict({split: Dataset.from_dict(columns) for split, columns in rows.items()})
    monkeypatch.setattr("datasets.load_dataset", lambda name, **_: made)
    dialogues = TASK.full.load(None)["train"]["dialogue"][:]
    assert dialogues[6054] == "" and dialogues[:6054] == rows["train"]["dialogue"][:6054]


def without(rows, index):
    for column in rows["train"].values():
        del column[index]
    return rows


@pytest.mark.parametrize("with_ids", [True, False])
def test_a_row_that_a_copy_leaves_out_is_put_back(with_ids, tmp_path):
    rows, whole = without(upstream(), 6054), upstream()
    if not with_ids:
        rows = {split: {name: columns[name] for name in samsum.COLUMNS} for split, columns in rows.items()}
    folder = build(TASK, variant="full", out=tmp_path / "out", raw=write(rows, tmp_path / "raw"), progress=False)
    train = load_dataset(str(folder), split="train").sort("index")
    assert train["index"][:] == list(range(14_732))
    assert train[6054] == {"index": 6054, "dialogue": "", "summary": "problem with visualization of the content"}
    for index in (0, 6053, 6055, 14_731):
        assert train[index]["summary"] == whole["train"]["summary"][index]
    assert read_manifest(folder / "mubench.json")["deletion_list"]["sha256"] == TASK.full.deletion_sha256


def left_out(rows):
    """Another row than the one without a dialogue is missing."""
    return without(rows, 17)


def two_left_out(rows):
    return without(without(rows, 6054), 9)


def not_that_row(rows):
    """The row is there, but with a dialogue, so another one is missing."""
    rows["train"]["id"][5], rows["train"]["dialogue"][6054] = "13828807", "A: hi"
    return without(rows, 9)


@pytest.mark.parametrize("change", [left_out, two_left_out, not_that_row])
def test_other_copies_are_refused(change, tmp_path):
    rows = change(upstream())
    count = f"{len(rows['train']['id']):,}"
    with pytest.raises(BadInput, match=rf"'train' of samsum has {count} rows\. Needed: 14,732 .*index 6054"):
        build(TASK, variant="full", out=tmp_path / "out", raw=write(rows, tmp_path / "raw"))


def test_the_csv_files_of_the_hub(tmp_path):
    """Line breaks within a dialogue, ids that look like numbers until late in the file, an empty text as nothing."""
    import pandas as pd

    rows = upstream()
    for split, columns in rows.items():
        columns["id"] = [str(13_000_000 + number) for number in range(len(columns["id"]))]
        if split == "train":
            columns["id"][-3] = "13862856-1"
        pd.DataFrame(columns).to_csv(tmp_path / f"{split}.csv", index=False)
    found = TASK.full.load(tmp_path)
    assert {split: len(part) for split, part in found.items()} == {"train": 14_732, "validation": 5, "test": 6}
    assert found["train"][6053]["dialogue"] == "A: 6053?\r\nB: No." and found["train"][6054]["dialogue"] == ""


@pytest.mark.parametrize(
    ("split", "column", "index", "text"),
    [("train", "dialogue", 6055, ""), ("train", "summary", 6054, None), ("test", "dialogue", 3, " \n"),
     ("validation", "summary", 0, "")],
)  # fmt: skip
def test_empty_texts_are_named(split, column, index, text, monkeypatch):
    rows = upstream()
    rows[split][column][index] = text
    made = DatasetDict({name: Dataset.from_dict(columns) for name, columns in rows.items()})
    monkeypatch.setattr("datasets.load_dataset", lambda name, **_: made)
    with pytest.raises(BadInput, match=rf"Split '{split}' of samsum: column '{column}' is empty at index {index}\."):
        TASK.full.load(None)


def test_a_folder_with_other_columns_is_refused(tmp_path):
    rows = {split: {"dialogue": columns["dialogue"]} for split, columns in upstream(200).items()}
    with pytest.raises(BadInput, match="Cannot read SAMSum from the folder.*summary"):
        build(TASK, variant="full", out=tmp_path / "out", raw=write(rows, tmp_path / "raw"))


def test_deletion_list_depends_on_the_number_of_rows_alone():
    assert list_sha256(unlabelled_order(samsum.TRAIN_ROWS, stream(TASK.full.stream))) == TASK.full.deletion_sha256
    assert list_sha256(unlabelled_order(samsum.TRAIN_ROWS - 1, stream(None))) != TASK.full.deletion_sha256


def test_forward_and_backward(data):
    model = fresh_model(TINY, (), seed=3).train()
    batch = data.collator([data.splits["retain"][position] for position in range(12)])
    output = model(**batch)
    assert output.logits.shape[:2] == batch["labels"].shape and output.loss.isfinite()
    output.loss.backward()
    gradients = torch.cat([weight.grad.flatten() for weight in model.parameters()])
    assert gradients.isfinite().all() and (gradients == 0).float().mean() < 0.6


def test_scores_of_a_measured_model(data):
    """Texts, tokens and probabilities of every split, from one measurement of a few rows."""
    few = {name: prepare_rows(rows.rows.select(range(8)), TASK, data.processor) for name, rows in data.splits.items()}
    few = replace(data, splits=few)
    outputs = get_measure("seq2seq").measure(fresh_model(TINY, (), seed=3), few, 1)
    scores, _ = score(outputs, metrics=TASK.metrics, method="original", seed=1)
    for split in ("test", "forget", "retain"):
        for name in (*TASK.metrics, "rouge_1", "rouge_2"):
            assert 0 <= scores[f"{split}_{name}"] < 0.3, "untrained"
