"""Tickets: the rows of both sources, and what they are built into."""

import csv

import pytest
from upstream_data import Upstream

from mubench_hf.data import build, load_split
from mubench_hf.errors import BadInput
from mubench_hf.tasks import get_task

TASK = get_task("tickets")
WORDS = {
    "billing": {"invoice", "charged", "refund", "price"},
    "delivery": {"parcel", "courier", "box", "lamp"},
    "login": {"password", "code", "locked", "sign"},
}


def upstream(rng):
    """A folder of the two files."""
    lines = [f"Where is box {number}?,{name}" for number in rng.permutation(50) for name in WORDS]
    return Upstream(raw=dict.fromkeys(("train.csv", "test.csv"), "\n".join(["text,label", *lines, ""]).encode()))


def test_mini_rows_are_told_by_their_complaint():
    data = TASK.mini.load(None)
    assert {split: len(rows) for split, rows in data.items()} == {"train": 300, "test": 90}
    for rows in data.values():
        names = rows.features["label"].names
        assert names == list(WORDS)
        for row in rows:
            told = {name for name, words in WORDS.items() if words & set(row["text"].replace(".", "").split())}
            assert told == {names[row["label"]]}
    assert len(set(data["train"]["text"][:])) == 300


def test_built_splits(tmp_path):
    build(TASK, variant="mini", out=tmp_path, progress=False)
    splits = load_split(TASK, variant="mini", ratio=10, out=tmp_path)
    assert {name: len(rows) for name, rows in splits.items()} == {"forget": 30, "retain": 270, "test": 90}


def test_full_rows_are_the_files(tmp_path):
    rows = [["text", "label"], ["Where is my box?", "delivery"], ["Too dear!", "billing"]]
    for split in ("train", "test"):
        with (tmp_path / f"{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    for rows in TASK.full.load(tmp_path).values():
        assert (rows["text"][:], rows["label"][:]) == (["Where is my box?", "Too dear!"], [1, 0])
    (tmp_path / "test.csv").unlink()
    with pytest.raises(BadInput, match=r"There is no test.csv"):
        TASK.full.load(tmp_path)
    with pytest.raises(BadInput, match=r"There is no train.csv"):
        TASK.full.load(None)
