"""Rows that are not the benchmark's are refused by name, before anything is written."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from huggingface_hub.errors import HTTPError

from mubench_hf.data import build, load_manifest
from mubench_hf.data.card import RETAIN_FILE
from mubench_hf.data.splits import deletion_order, list_sha256, stream, unlabelled_order
from mubench_hf.errors import BadInput
from mubench_hf.tasks._commits import dataset_commit


def with_rows(data, split, column, values):
    """Return `data` with some values of one column changed: position → value."""
    from datasets import Dataset

    columns = data[split].with_format("arrow")[:].to_pydict()
    for position, value in values.items():
        columns[column][position] = value
    # Straight from storage: the public way would refuse some of these values itself.
    import pyarrow as pa

    table = pa.table(columns, schema=data[split].features.arrow_schema)
    return type(data)({**data, split: Dataset(table)})


def string_labels(data):
    from datasets import Value

    return data.cast_column("label", Value("string"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.rename_column("label", "fine"), "Split 'train' of cifar100 has the columns image, fine. Needed"),
        (lambda d: type(d)(train=d["train"], test=d["test"].remove_columns("image")), "Split 'test'.*columns label"),
        (lambda d: type(d)(train=d["train"]), "found train. Needed: train and test.*Check test"),
        (lambda d: type(d)(test=d["test"]), "found test. .*Check train"),
        (lambda d: type(d)(d, dev=d["test"]), "Check dev"),
        (lambda d: type(d)(d, test=d["test"].select([])), "Split 'test' of cifar100 is empty"),
        (lambda d: type(d)(d, train=d["train"].select([])), "Split 'train' of cifar100 is empty"),
        (lambda d: with_rows(d, "test", "label", {4: 3, 9: -1}), "Split 'test'.*'label' holds 3 at index 4.*0 to 2"),
        (lambda d: with_rows(d, "train", "label", {11: -1}), "Split 'train'.*'label' holds -1 at index 11"),
        (lambda d: with_rows(d, "train", "label", {399: None}), "Split 'train'.*'label' holds None at index 399"),
        (lambda d: with_rows(d, "train", "image", {7: None}), "Split 'train': column 'image' has no value at index 7"),
        (lambda d: with_rows(d, "test", "image", {29: None}), "Split 'test': column 'image' has no value at index 29"),
        (string_labels, "column 'label' is Value.*Needed: ClassLabel"),
        (lambda d: type(d)(d, test=string_labels(d)["test"]), "Split 'test' of cifar100 has the features"),
        (lambda d: type(d)(d, train=d["train"].select(range(99))), "99 train rows have no whole percent"),
    ],
)
def test_rows_refused(made_up, tmp_path, change, message):
    with pytest.raises(BadInput, match=message):
        build(made_up(change=change), variant="full", out=tmp_path)
    assert not list(tmp_path.glob("mubench/*"))


def test_a_list_that_takes_all_rows_is_refused(made_up, tmp_path):
    def widen(data):
        from datasets import ClassLabel

        return data.cast_column("label", ClassLabel(names=[str(number) for number in range(10)]))

    with pytest.raises(BadInput, match="All 100 train rows of cifar100 would be forgotten"):
        build(made_up(train=100, change=widen), variant="full", out=tmp_path)


def test_another_list_than_the_published_one_is_refused(made_up, tmp_path):
    wanted = "0" * 64
    found = list_sha256(deletion_order(np.arange(400) ** 2 % 3, 3, stream(None)))
    with pytest.raises(BadInput) as error:
        build(made_up(source={"deletion_sha256": wanted}), variant="full", out=tmp_path / "out")
    assert wanted in str(error.value) and found in str(error.value)
    assert not (tmp_path / "out").exists()
    assert build(made_up(source={"deletion_sha256": found}), variant="full", out=tmp_path / "out").is_dir()


def test_the_stream_of_the_source_is_used(made_up, tmp_path):
    labels = np.arange(400) ** 2 % 3
    for name in ("cifar100", None):
        made = made_up(source={"stream": name})
        build(made, variant="full", out=tmp_path / str(name))
        deletion = load_manifest(made, variant="full", out=tmp_path / str(name))["deletion_list"]
        expected = list_sha256(deletion_order(labels, 3, stream(name)))
        assert (deletion["stream"], deletion["sha256"]) == (name, expected)
    with pytest.raises(BadInput, match="stream None in place of 'cifar100'"):
        build(made_up(source={"stream": "cifar100"}), variant="full", out=tmp_path / "None")


def test_rows_without_classes_take_the_other_rule(made_up, tmp_path):
    made = replace(made_up(change=string_labels), kind="generation")
    kept = pq.read_table(build(made, variant="full", out=tmp_path) / RETAIN_FILE)["index"].to_numpy()
    assert kept.tolist() == np.setdiff1d(np.arange(400), unlabelled_order(400, stream(None))).tolist()
    assert load_manifest(made, variant="full", out=tmp_path)["deletion_list"]["rule"] == "unlabelled"


def test_raw_folder(made_up, task, tmp_path):
    with pytest.raises(BadInput, match=f"There is no folder {tmp_path / 'none'}"):
        build(made_up(), variant="full", out=tmp_path, raw=tmp_path / "none")
    with pytest.raises(BadInput, match="mini source of cifar100 is made by this package"):
        build(task, variant="mini", out=tmp_path, raw=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=f"Cannot read CIFAR-100 from the folder {tmp_path / 'empty'}"):
        build(task, variant="full", out=tmp_path, raw=tmp_path / "empty")


@pytest.mark.parametrize(
    ("pinned", "raw", "answer", "expected"),
    [
        (None, False, "c0ffee", "c0ffee"),
        ("abc123", False, AssertionError("a pinned revision needs no question"), "abc123"),
        (None, True, AssertionError("a raw folder needs no question"), None),
        (None, False, HTTPError("no network"), None),
    ],
)
def test_upstream_revision_is_recorded(made_up, tmp_path, monkeypatch, pinned, raw, answer, expected):
    def dataset_info(self, repo_id, **kwargs):
        if isinstance(answer, Exception):
            raise answer
        return type("Info", (), {"sha": answer})

    dataset_commit.cache_clear()
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", dataset_info)
    made = made_up(source={"hub_id": "someone/rows", "revision": pinned})
    build(made, variant="full", out=tmp_path / "out", raw=tmp_path if raw else None)
    upstream = load_manifest(made, variant="full", out=tmp_path / "out")["upstream"]
    assert upstream == {"id": "someone/rows", "revision": expected, "raw": raw}
    other = replace(made, full=replace(made.full, hub_id="someone/else"))
    with pytest.raises(BadInput, match="upstream 'someone/rows' in place of 'someone/else'"):
        build(other, variant="full", out=tmp_path / "out")
