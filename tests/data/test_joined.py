"""D_f and D_r as one data set, and the collator that keeps its flags apart from the model's inputs."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch.utils.data import StackDataset
from transformers import default_data_collator

from mubench_hf.data.columns import column
from mubench_hf.data.joined import IS_FORGET, ROW, FlaggedCollator, JoinedRows
from mubench_hf.errors import BadInput


def part(index, named=True):
    """Rows that say where they come from: ``x`` is 100 + their index, the label its last digit."""
    index = np.asarray(index)
    rows = StackDataset(x=torch.from_numpy(index + 100), labels=torch.from_numpy(index % 10))
    if named:
        rows.index, rows.labels = index, index % 10
    return rows


@pytest.fixture
def split(rng):
    """Draw indices of D_f and D_r, each in an order of its own."""
    order = rng.permutation(30)
    return order[:7], order[7:]


def test_rows_stand_in_the_order_of_their_index(split):
    forget, retain = split
    rows = JoinedRows(part(forget), part(retain))
    assert len(rows) == 30
    assert (rows.is_forget == np.isin(np.arange(30), forget)).all() and rows.is_forget.dtype == bool
    assert (rows.labels == np.arange(30) % 10).all()
    for position in range(30):
        row = rows[position]
        assert set(row) == {"x", "labels", IS_FORGET, ROW}
        assert row["x"] == 100 + position and row["labels"] == position % 10
        assert row[ROW] == position and row[IS_FORGET] is (position in forget)


def test_index_may_have_gaps(rng):
    index = np.sort(rng.choice(1000, 20, replace=False))
    forget = rng.random(20) < 0.4
    forget[:2] = True, False
    rows = JoinedRows(part(index[forget]), part(index[~forget]))
    assert [int(rows[position]["x"]) - 100 for position in range(20)] == index.tolist()
    assert (rows.is_forget == forget).all() and (rows.labels == index % 10).all()


def test_a_row_has_one_position_at_every_ratio(rng):
    order = rng.permutation(40)
    tables = [JoinedRows(part(order[:size]), part(order[size:])) for size in (1, 7, 20, 39)]
    for position in range(40):
        assert {int(rows[position]["x"]) for rows in tables} == {100 + position}
    assert [int(rows.is_forget.sum()) for rows in tables] == [1, 7, 20, 39]


@pytest.mark.parametrize("unnamed", ["forget", "retain", "both"])
def test_without_an_index_forget_comes_first(split, unnamed):
    forget, retain = split
    rows = JoinedRows(part(forget, unnamed == "retain"), part(retain, unnamed == "forget"))
    assert [int(rows[position]["x"]) - 100 for position in range(30)] == [*forget, *retain]
    assert rows.is_forget.tolist() == [True] * 7 + [False] * 23
    assert (rows.labels == np.concatenate([forget, retain]) % 10).all(), "they are stored, if not named"


def test_one_part_alone(split):
    forget, retain = split
    rows = JoinedRows(None, part(retain))
    assert len(rows) == 23 and not rows.is_forget.any() and (rows.labels == np.sort(retain) % 10).all()
    rows = JoinedRows(part(forget), None)
    assert len(rows) == 7 and rows.is_forget.all()


def test_joined_rows_join_again(split):
    """As an original is trained: all rows are its D_r."""
    forget, retain = split
    rows = JoinedRows(None, JoinedRows(part(forget), part(retain)))
    assert not rows.is_forget.any() and (rows.labels == np.arange(30) % 10).all()
    for position in (0, 11, 29):
        row = rows[position]
        assert row["x"] == 100 + position and row[ROW] == position and row[IS_FORGET] is False


def test_shared_rows_are_named():
    with pytest.raises(BadInput) as error:
        JoinedRows(part([3, 8, 1]), part([5, 8, 2, 3]))
    assert str(error.value) == (
        "forget and retain share 2 rows (index 3, 8); every row of train belongs to exactly one of them. "
        "Load both from one configuration, such as df_5pct."
    )


def test_of_many_shared_rows_five_are_named():
    with pytest.raises(BadInput, match=r"share 9 rows \(index 0, 1, 2, 3, 4, \.\.\.\); every row"):
        JoinedRows(part(range(9)), part(range(12)))


def test_a_row_twice_in_one_part():
    with pytest.raises(BadInput, match=r"\(index 4\)"):
        JoinedRows(part([1, 2]), part([4, 5, 4]))


def test_one_data_set_twice():
    rows = part(range(5), named=False)
    with pytest.raises(BadInput, match="^forget and retain are the same data set"):
        JoinedRows(rows, rows)


def test_column(rng):
    values = rng.integers(9, size=12)
    table = Dataset.from_dict({"label": values.tolist(), "index": list(range(12))})
    rows = part(range(4))
    assert column(rows, "index").tolist() == [0, 1, 2, 3]
    assert column(table, "labels", "label").tolist() == values.tolist()
    assert column(table, "index").dtype == np.int64
    assert column(table, "missing") is None and column(object(), "index") is None
    assert column([{"a": 1}], "index") is None, "a method is no column"


@pytest.mark.parametrize("style", ["transform", "torch", "numpy"])
def test_column_is_read_as_it_is_stored(style):
    """No row is prepared for it, and a column that a transform leaves out is found."""
    table = Dataset.from_dict({"index": [5, 6, 7], "x": [[1.0], [2.0], [3.0]]})
    asked = []

    def transform(rows):
        asked.append(len(rows["x"]))
        return {"y": rows["x"]}

    table = table.with_transform(transform) if style == "transform" else table.with_format(style)
    found = column(table, "index")
    assert type(found) is np.ndarray and found.tolist() == [5, 6, 7] and not asked


def rows_of(count, rng):
    return [
        {"x": torch.from_numpy(rng.normal(size=3)), "labels": row % 4, "note": f"row {row}", "id": row,
         IS_FORGET: row % 3 == 0, ROW: 40 + row}
        for row in range(count)
    ]  # fmt: skip


def test_collator_keeps_the_flags_apart(rng):
    given = []

    def collator(batch):
        given.extend(batch)
        return default_data_collator(batch)

    rows = rows_of(5, rng)
    batch = FlaggedCollator(collator)(rows)
    assert all(set(row) == {"x", "labels", "note", "id"} for row in given) and len(given) == 5
    assert batch[IS_FORGET].tolist() == [True, False, False, True, False] and batch[IS_FORGET].dtype == torch.bool
    assert batch[ROW].tolist() == [40, 41, 42, 43, 44] and batch[ROW].dtype == torch.int64
    assert torch.equal(batch["x"], torch.stack([row["x"] for row in rows]))
    assert batch["labels"].tolist() == [0, 1, 2, 3, 0]


def test_collator_without_flags(rng):
    rows = rows_of(4, rng)
    plain, flagged = FlaggedCollator().without_flags(rows), FlaggedCollator()(rows)
    assert set(plain) == {"x", "labels", "id"} == set(flagged) - {IS_FORGET, ROW}
    assert torch.equal(plain["x"], flagged["x"])


def test_collator_leaves_rows_as_they_are(rng):
    rows = rows_of(3, rng)
    before = [dict(row) for row in rows]
    FlaggedCollator()(rows)
    assert [row.keys() for row in rows] == [row.keys() for row in before]
