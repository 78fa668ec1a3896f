"""IMDb's two sources, its rows as token lists, and the models on text."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, load_dataset
from pyarrow import parquet

from mubench_hf.cli import dispatch
from mubench_hf.data import build, load_split
from mubench_hf.data.loading import load_manifest
from mubench_hf.data.prepare import load_task_data
from mubench_hf.data.splits import deletion_order, list_sha256, stream
from mubench_hf.errors import BadInput
from mubench_hf.models import get_model, list_models
from mubench_hf.models.loading import fresh_model, load_processor
from mubench_hf.tasks import get_task
from mubench_hf.tasks.imdb import AGREE, OPINIONS, SENTENCES

TASK = get_task("imdb")
NAMES = ["neg", "pos"]
TINY = ["bert-tiny", "roberta-tiny", "distilbert-tiny", "electra-tiny", "deberta-v3-tiny", "albert-tiny"]


@pytest.fixture(scope="module", autouse=True)
def datasets_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets_cache"))
        torch.set_num_threads(1)
        yield


@pytest.fixture(scope="module")
def mini():
    return TASK.mini.load(None)


@pytest.fixture(scope="module")
def mini_out(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    build(TASK, variant="mini", out=out)
    return out


@pytest.fixture(scope="module")
def plain(mini_out):
    return load_dataset(str(mini_out / "mubench" / "imdb-mini"), "df_5pct")


# The mini rows -------------------------------------------------------------------------------------------------------


def test_mini_rows(mini):
    assert {split: len(rows) for split, rows in mini.items()} == {"train": 1000, "test": 500, "ood": 200}
    for rows in mini.values():
        assert rows.column_names == ["text", "label"] and rows.features["label"].names == NAMES
        half = len(rows) // 2
        assert rows["label"][:] == [0] * half + [1] * half, "negative ones first, as upstream"
    texts = [text for rows in mini.values() for text in rows["text"][:]]
    assert len(set(mini["train"]["text"][:])) == 1000 and all(text.isascii() for text in texts)


def test_mini_is_the_same_every_time(mini):
    for split, rows in TASK.mini.load(None).items():
        assert rows.with_format("arrow")[:] == mini[split].with_format("arrow")[:]
    # Made of integers and comparisons alone: these are the rows everywhere.
    assert mini["train"][0]["text"].startswith("My sister called the editing exact.")


def test_opinions_agree_with_the_label_as_often_as_documented(plain):
    agree, count = 0, 0
    for split in ("forget", "retain", "test"):
        for row in plain[split]:
            words = re.findall("[a-z]+", row["text"].lower())
            own, other = (sum(word in OPINIONS[label] for word in words) for label in (row["label"], 1 - row["label"]))
            assert own + other == SENTENCES
            agree, count = agree + own, count + SENTENCES
    assert abs(agree / count - AGREE) < 5 * (AGREE * (1 - AGREE) / count) ** 0.5


def test_plain_configuration(plain, mini):
    assert {split: len(rows) for split, rows in plain.items()} == {"forget": 50, "retain": 950, "test": 500, "ood": 200}
    for split in ("forget", "retain"):
        for row in plain[split]:
            assert {"text": row["text"], "label": row["label"]} == mini["train"][row["index"]]
    assert np.bincount(plain["forget"]["label"]).tolist() == [25, 25]
    assert not set(plain["ood"]["text"]) & set(plain["test"]["text"])


def test_rows_are_prepared_as_they_are_stored(plain, mini_out):
    processor = partial(load_processor, get_model("bert-tiny"))
    data = load_task_data(TASK, variant="mini", ratio=5, processor=processor, out=mini_out)
    for split in ("forget", "retain", "test"):
        rows = plain[split]
        for position in (0, len(rows) - 1):
            inputs = data.splits[split][position]
            said = data.processor.decode(inputs["input_ids"], skip_special_tokens=True)
            assert said.replace(" ", "") == rows[position]["text"].lower().replace(" ", "")
            assert inputs["labels"] == rows[position]["label"]


def test_built_afresh_the_rows_are_the_new_ones(tmp_path):
    """The cache of `datasets` knows local data sets by name and card, not by folder."""
    found = []
    for number in range(2):
        rows = TASK.mini.load(None)
        rows["test"] = rows["test"].map(lambda row, n: {"text": f"{n} {row['text']}"}, fn_kwargs={"n": number})
        made = replace(TASK, mini=replace(TASK.mini, load=lambda raw, rows=rows: rows))
        folder = build(made, variant="mini", out=tmp_path / str(number))
        found.append(load_dataset(str(folder), "df_5pct")["test"][0]["text"])
        assert load_split(made, variant="mini", ratio=5, out=tmp_path / str(number))["test"][0]["text"] == found[-1]
    assert [text[0] for text in found] == ["0", "1"]


# Token lists ---------------------------------------------------------------------------------------------------------


def test_prepare_cuts_and_does_not_pad():
    tokenizer = load_processor(get_model("bert-tiny"), ["a good film", "a bad film"])
    short = TASK.prepare({"text": "A good film", "label": 1}, tokenizer)
    assert tokenizer.convert_ids_to_tokens(short["input_ids"]) == ["[CLS]", "a", "good", "film", "[SEP]"]
    assert (short["attention_mask"], short["labels"]) == ([1] * 5, 1)
    long = TASK.prepare({"text": "good film " * 100, "label": 0}, tokenizer)
    assert len(long["input_ids"]) == 128 and long["input_ids"][-1] == short["input_ids"][-1]
    batch = TASK.collator(tokenizer)([short, long])
    assert batch["input_ids"].shape == (2, 128) and batch["labels"].tolist() == [1, 0]
    assert batch["attention_mask"].sum(1).tolist() == [5, 128] and (batch["input_ids"][0, 5:] == 0).all()


# The full rows -------------------------------------------------------------------------------------------------------

SIZES = {
    "imdb/plain_text/train-00000-of-00001.parquet": 25_000,
    "imdb/plain_text/test-00000-of-00001.parquet": 300,
    "imdb/plain_text/unsupervised-00000-of-00001.parquet": 10,
    "rotten_tomatoes/train.parquet": 60,
    "rotten_tomatoes/validation.parquet": 20,
    "rotten_tomatoes/test.parquet": 30,
}


def write(file, rows, names=NAMES, change=None):
    labels = [-1] * rows if "unsupervised" in file.name else [0] * (rows // 2) + [1] * (rows - rows // 2)
    texts = [f"{file.parent.name} {file.stem} {row}" for row in range(rows)]
    if change:
        texts[change[0]] = change[1]
    file.parent.mkdir(parents=True, exist_ok=True)
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    Dataset.from_dict({"text": texts, "label": labels}, features=features).to_parquet(file)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Copies of both data sets as they lie on the Hub; the train split has its true size and order of labels."""
    folder = tmp_path_factory.mktemp("raw")
    for name, rows in SIZES.items():
        write(folder / name, rows)
    return folder


def test_full_build_has_the_published_deletion_list(raw, tmp_path):
    dispatch(["build", "imdb", "--out", str(tmp_path), "--raw", str(raw)])
    manifest = load_manifest(TASK, variant="full", out=tmp_path)
    assert manifest["deletion_list"]["sha256"] == TASK.full.deletion_sha256
    splits = load_split(TASK, variant="full", ratio=2, out=tmp_path)
    assert {split: len(rows) for split, rows in splits.items()} == {
        "forget": 500, "retain": 24_500, "test": 300, "ood": 110
    }  # fmt: skip
    forget = splits["forget"]
    assert forget["text"][:] == [f"plain_text train-00000-of-00001 {index}" for index in forget["index"][:]]
    ood = splits["ood"]["text"][:]
    assert (ood[0], ood[60], ood[80]) == tuple(
        f"rotten_tomatoes {split} 0" for split in ("train", "validation", "test")
    )


def test_other_order_is_refused():
    labels = np.repeat([0, 1], 12_500)
    assert list_sha256(deletion_order(labels, 2, stream("imdb"))) == TASK.full.deletion_sha256
    assert list_sha256(deletion_order(labels[::-1], 2, stream("imdb"))) != TASK.full.deletion_sha256


def with_bad_file(tmp_path, name, **wrong):
    for other in SIZES:
        write(tmp_path / other, 400 if "imdb/plain_text/train" in other else 20)
    write(tmp_path / name, 400 if "plain_text/train" in name else 20, **wrong)
    return tmp_path


def test_empty_texts_are_named(tmp_path):
    folder = with_bad_file(tmp_path, "imdb/plain_text/train-00000-of-00001.parquet", change=(17, " \n"))
    with pytest.raises(BadInput, match="Split 'train' of imdb: column 'text' has no text at index 17"):
        build(TASK, variant="full", out=tmp_path / "out", raw=folder)
    folder = with_bad_file(tmp_path, "rotten_tomatoes/test.parquet", change=(3, None))
    with pytest.raises(BadInput, match="Split 'ood' of imdb: column 'text' has no text at index 43"):
        build(TASK, variant="full", out=tmp_path / "out", raw=folder)


@pytest.mark.parametrize("label", [-1, 2, None])
def test_labels_out_of_range_are_named(tmp_path, label):
    folder = with_bad_file(tmp_path, "imdb/plain_text/test-00000-of-00001.parquet")
    file = folder / "imdb/plain_text/test-00000-of-00001.parquet"
    table = parquet.read_table(file)
    labels = pa.array([*table["label"].to_pylist()[:13], label, *table["label"].to_pylist()[14:]], pa.int64())
    parquet.write_table(table.set_column(1, table.schema.field("label"), labels), file)
    with pytest.raises(BadInput, match=rf"Split 'test' of imdb: column 'label' holds {label} at index 13.*0 to 1"):
        build(TASK, variant="full", out=tmp_path / "out", raw=folder)


def test_both_data_sets_are_read_at_their_pinned_revisions(raw, monkeypatch):
    asked = []

    def fake(name, config=None, *, revision):
        asked.append((name, config, revision))
        files = {file.stem.split("-")[0]: file for file in raw.glob(f"{name.split('/')[1]}/**/*.parquet")}
        return DatasetDict({split: Dataset.from_parquet(str(file)) for split, file in files.items()})

    monkeypatch.setattr("datasets.load_dataset", fake)
    found = TASK.full.load(None)
    assert asked == [
        ("stanfordnlp/imdb", "plain_text", "e6281661ce1c48d982bc483cf8a173c1bbeb5d31"),
        ("cornell-movie-review-data/rotten_tomatoes", None, "aa13bc287fa6fcab6daf52f0dfb9994269ffea28"),
    ]
    assert {split: len(rows) for split, rows in found.items()} == {"train": 25_000, "test": 300, "ood": 110}
    assert found["ood"]["text"][:] == TASK.full.load(raw)["ood"]["text"][:]


def test_other_classes_are_refused(tmp_path):
    folder = with_bad_file(tmp_path, "rotten_tomatoes/validation.parquet", names=["pos", "neg"])
    with pytest.raises(BadInput, match="Split 'validation' of cornell.*'pos', 'neg'.*Needed: .*neg, pos"):
        TASK.full.load(folder)


@pytest.mark.parametrize("name", ["imdb/plain_text/test-00000-of-00001.parquet", "rotten_tomatoes/train.parquet"])
def test_missing_files_are_named(tmp_path, name):
    folder = with_bad_file(tmp_path, name)
    (folder / name).unlink()
    with pytest.raises(BadInput, match=rf"There is no {Path(name).stem[:4]}.*parquet below .*{name.split('/')[0]}"):
        TASK.full.load(folder)


# Models --------------------------------------------------------------------------------------------------------------


def test_text_models():
    found = [get_model(name) for name in list_models() if get_model(name).architecture.modality == "text"]
    assert {spec.name: spec.hub_id for spec in found if spec.hub_id}.items() >= {
        "bert-base": "google-bert/bert-base-uncased",
        "bert-large": "google-bert/bert-large-uncased",
        "roberta-base": "FacebookAI/roberta-base",
        "roberta-large": "FacebookAI/roberta-large",
        "distilbert-base": "distilbert/distilbert-base-uncased",
        "electra-base": "google/electra-base-discriminator",
        "deberta-v3-base": "microsoft/deberta-v3-base",
        "albert-base-v2": "albert/albert-base-v2",
    }.items()
    assert {*TINY, "biobert-tiny", "biomedbert-tiny"} <= {spec.name for spec in found if not spec.hub_id}


@pytest.fixture(scope="module", params=TINY)
def prepared(request, mini_out):
    spec = get_model(request.param)
    return load_task_data(TASK, variant="mini", ratio=5, processor=partial(load_processor, spec), out=mini_out), spec


def test_forward_and_backward(prepared):
    data, spec = prepared
    model = fresh_model(spec, data.label_names, seed=3).train()
    batch = data.collator([data.splits["test"][position] for position in range(235, 265)])
    output = model(**batch)
    assert output.logits.shape == (30, 2) and output.loss.isfinite()
    output.loss.backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
        # Tokens and positions that no row has stay as they are.
        assert weight.grad.abs().max() > 0 or "position" in name or "key.bias" in name or "token_type" in name, name


def test_padding_does_not_change_a_row(prepared):
    data, spec = prepared
    model = fresh_model(spec, data.label_names, seed=3).eval()
    rows = sorted((data.splits["test"][position] for position in range(20)), key=lambda row: len(row["input_ids"]))
    with torch.no_grad():
        together, alone = model(**data.collator(rows)).logits, model(**data.collator(rows[:1])).logits
    assert len(rows[0]["input_ids"]) < len(rows[-1]["input_ids"])
    torch.testing.assert_close(together[:1], alone, rtol=1e-3, atol=1e-4)
    assert torch.pdist(together).min() > 1e-5, "rows are told apart"
