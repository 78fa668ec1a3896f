"""Rows as a model's inputs: each prepared once, kept while they fit, and the splits of a task that way."""

import hashlib
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import Audio, ClassLabel, Dataset, Features, Image, Value
from transformers import default_data_collator

from mubench_hf.data.joined import JoinedRows
from mubench_hf.data.loading import load_split
from mubench_hf.data.prepare import PreparedRows, load_task_data, prepare_rows
from mubench_hf.errors import BadInput
from mubench_hf.models import get_model
from mubench_hf.models.loading import load_processor, saved_processor


class Prepare:
    """Counts how often each row is prepared; a row's inputs are 400 bytes."""

    def __init__(self):
        self.rows = []

    def __call__(self, row):
        self.rows.append(row["index"])
        return {"x": torch.full((100,), float(row["index"])), "labels": row["label"]}


@pytest.fixture
def table(rng):
    index = rng.permutation(1000)[:20]
    return Dataset.from_dict({"index": index.tolist(), "label": (index % 7).tolist(), "other": ["a"] * 20})


def test_rows_are_prepared_once(table, rng):
    prepare = Prepare()
    rows = PreparedRows(table, prepare)
    assert len(rows) == 20 and not prepare.rows, "nothing is prepared before it is read"
    order = [*rng.permutation(20).tolist(), *rng.permutation(20).tolist()]
    for position in order:
        row = rows[position]
        assert (row["x"] == table[position]["index"]).all() and row["labels"] == table[position]["label"]
    assert sorted(prepare.rows) == sorted(table["index"])


def test_columns(table):
    rows = PreparedRows(table, Prepare())
    assert rows.index.tolist() == table["index"][:] and rows.labels.tolist() == table["label"][:]
    assert rows.index.dtype == rows.labels.dtype == np.int64
    bare = PreparedRows(table.remove_columns(["index", "label"]), Prepare())
    assert bare.index is None and bare.labels is None
    named = PreparedRows(table.rename_column("label", "fine"), Prepare(), label="fine")
    assert named.labels.tolist() == table["label"][:]


@pytest.mark.parametrize("kept", [0, 1, 6, 20])
def test_rows_past_the_budget_are_prepared_again(table, kept):
    prepare = Prepare()
    rows = PreparedRows(table, prepare, memory_budget=400 * kept + 399)
    for _ in range(3):
        for position in range(20):
            assert (rows[position]["x"] == table[position]["index"]).all()
    assert len(prepare.rows) == 20 + 2 * (20 - kept)
    assert prepare.rows.count(table[0]["index"]) == (1 if kept else 3)


def test_positions_of_any_integer_type(table):
    prepare = Prepare()
    rows = PreparedRows(table, prepare)
    for position in (3, np.int64(3), torch.tensor(3)):
        assert (rows[position]["x"] == table[3]["index"]).all()
    assert len(prepare.rows) == 1


@pytest.mark.parametrize("named", [True, False])
def test_a_picture_that_cannot_be_decoded_is_named(named):
    features = Features({"image": Image(), "label": Value("int64"), "index": Value("int64")})
    picture = {"bytes": b"not a picture", "path": None}
    table = Dataset.from_dict({"image": [picture] * 2, "label": [0, 1], "index": [40, 70]}, features=features)
    rows = PreparedRows(table if named else table.remove_columns("index"), lambda row: row)
    with pytest.raises(BadInput, match=f"^The row at index {70 if named else 1} cannot be decoded: .*Build the data"):
        rows[1]


def test_out_of_range(table):
    with pytest.raises(IndexError):
        PreparedRows(table, Prepare())[20]


@pytest.fixture(scope="module")
def processor():
    return load_processor(get_model("vit-tiny"))


@pytest.fixture(scope="module")
def data(task, mini_out, processor):
    return load_task_data(task, variant="mini", ratio=5, processor=lambda texts: processor, out=mini_out)


def test_prepared_the_tasks_way(task, mini_out, processor):
    raw = load_split(task, variant="mini", ratio=2, out=mini_out)["forget"]
    rows = prepare_rows(raw, task, processor)
    for position in (0, 7):
        found, expected = rows[position], task.prepare(raw[position], processor)
        assert found.keys() == expected.keys() == {"pixel_values", "labels"}
        assert torch.equal(found["pixel_values"], expected["pixel_values"])
        pixels = np.asarray(raw[position]["image"], np.float32).transpose(2, 0, 1) / 127.5 - 1
        np.testing.assert_allclose(found["pixel_values"], pixels, atol=1e-6)
        assert found["labels"] == raw[position]["label"]


def test_task_data(data, task, mini_out):
    assert {name: len(rows) for name, rows in data.splits.items()} == {"forget": 50, "retain": 950, "test": 797}
    assert (data.task, data.variant, data.ratio) == (task, "mini", 5)
    assert data.label_names == tuple(str(digit) for digit in range(10))
    assert data.manifest["fingerprint"] and data.cache_dir.parent == mini_out / ".cache"
    train = JoinedRows(data.splits["forget"], data.splits["retain"])
    assert (np.sort(np.concatenate([data.splits[name].index for name in ("forget", "retain")])) == range(1000)).all()
    assert train.is_forget.sum() == 50


def test_a_row_has_one_position_at_every_ratio(data, task, mini_out, processor):
    other = load_task_data(task, variant="mini", ratio=10, processor=lambda texts: processor, out=mini_out)
    one, two = (JoinedRows(each.splits["forget"], each.splits["retain"]) for each in (data, other))
    assert (one.labels == two.labels).all() and (two.is_forget >= one.is_forget).all()
    assert two.is_forget.sum() == 100
    for position in (0, 123, 999):
        assert torch.equal(one[position]["pixel_values"], two[position]["pixel_values"])
    assert other.cache_dir == data.cache_dir, "what models say of train serves every ratio"


def test_cache_folder_is_of_the_rows_and_their_preparation(data, task, mini_out, processor, tmp_path, monkeypatch):
    def folder(processor, out=mini_out):
        return load_task_data(task, variant="mini", ratio=5, processor=lambda texts: processor, out=out).cache_dir

    assert folder(load_processor(get_model("vit-tiny"))) == data.cache_dir
    larger = load_processor(get_model("vit-tiny"))
    larger.size = {"height": 32, "width": 32}
    grey = load_processor(get_model("vit-tiny"))
    grey.image_mean = [0.4, 0.5, 0.5]
    resnet = load_processor(get_model("resnet-tiny"))
    folders = {folder(each) for each in (processor, larger, grey, resnet)}
    assert len(folders) == 4 and {each.parent for each in folders} == {mini_out / ".cache"}
    monkeypatch.setattr("mubench_hf.__version__", "0.0.0+other")
    assert folder(processor) not in folders


def test_cache_folder_changes_with_the_rows(data, task, mini_out, processor, monkeypatch):
    from mubench_hf.data import prepare

    changed = {**data.manifest, "fingerprint": hashlib.sha256(b"other rows").hexdigest()}
    monkeypatch.setattr(prepare, "load_manifest", lambda *args, **kwargs: changed)
    other = load_task_data(task, variant="mini", ratio=5, processor=lambda texts: processor, out=mini_out)
    assert other.cache_dir != data.cache_dir and other.cache_dir.parent == data.cache_dir.parent


@pytest.mark.parametrize("name", ["vit-tiny", "resnet-tiny", "mobilenet-v1-tiny"])
def test_a_processor_read_back_from_a_checkpoint_names_the_same_folder(name, task, mini_out, tmp_path):
    made = load_processor(get_model(name))
    made.save_pretrained(tmp_path)
    one, other = (
        load_task_data(task, variant="mini", ratio=5, processor=lambda texts, each=each: each, out=mini_out)
        for each in (made, saved_processor(tmp_path))
    )
    assert one.cache_dir == other.cache_dir


def test_processor_is_made_from_the_train_texts(data, task, mini_out, processor):
    """In upstream order, at every ratio; a task without texts has none."""
    given = []

    def make(texts):
        given.append(texts)
        return processor

    for ratio, corpus in [(5, ("label",)), (9, ("label",)), (5, ())]:
        found = load_task_data(replace(task, corpus=corpus), variant="mini", ratio=ratio, processor=make, out=mini_out)
        assert found.processor is processor
    labels = JoinedRows(data.splits["forget"], data.splits["retain"]).labels.tolist()
    assert given == [labels, labels, []]


def test_collator_is_the_tasks(data, task, mini_out, processor):
    assert data.collator is default_data_collator
    made = []
    own = replace(task, collator=lambda processor: made.append(processor) or "collator")
    found = load_task_data(own, variant="mini", ratio=5, processor=lambda texts: processor, out=mini_out)
    assert found.collator == "collator" and made == [processor]


def test_sound_comes_as_stored_bytes(task, mini_out, processor, monkeypatch):
    """No decoder is asked, whichever is installed."""
    from mubench_hf.data import prepare

    features = Features({"audio": Audio(), "label": ClassLabel(names=["a", "b"]), "index": Value("int64")})
    splits = {
        name: Dataset(pa.table({"audio": [{"bytes": b"not a sound", "path": None}], "label": [1], "index": [index]}))
        .cast(features)
        for index, name in enumerate(("forget", "retain"))
    }  # fmt: skip
    monkeypatch.setattr(prepare, "load_split", lambda *args, **kwargs: splits)
    own = replace(task, prepare=lambda row, processor: {"sound": row["audio"]["bytes"], "labels": row["label"]})
    found = load_task_data(own, variant="mini", ratio=5, processor=lambda texts: processor, out=mini_out)
    assert found.splits["retain"][0] == {"sound": b"not a sound", "labels": 1}
    assert found.label_names == ("a", "b")


@pytest.mark.parametrize("ratio", [0, 11, 12, -5])
def test_ratio_that_is_not_there(task, mini_out, processor, ratio):
    with pytest.raises(BadInput, match=f"{ratio}"):
        load_task_data(task, variant="mini", ratio=ratio, processor=lambda texts: processor, out=mini_out)


def test_data_that_was_not_built(task, processor, tmp_path):
    with pytest.raises(BadInput):
        load_task_data(task, variant="mini", ratio=5, processor=lambda texts: processor, out=tmp_path)


def test_another_preparation(task, mini_out, processor):
    """A task's `prepare` alone says what a row becomes."""

    def upside_down(row, processor):
        inputs = task.prepare(row, processor)
        return {**inputs, "pixel_values": inputs["pixel_values"].flip(1)}

    flipped = replace(task, prepare=upside_down)
    raw = load_split(task, variant="mini", ratio=1, out=mini_out)["forget"]
    one, other = prepare_rows(raw, task, processor)[0], prepare_rows(raw, flipped, processor)[0]
    assert torch.equal(one["pixel_values"].flip(1), other["pixel_values"])
