"""Rows of D_f in D_r are found without an index: at the same place inside wrappers, or of the same content."""

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image, Value, concatenate_datasets
from torch.utils.data import ConcatDataset, StackDataset, Subset, random_split

from mubench_hf.data.overlap import check_disjoint
from mubench_hf.errors import BadInput

ROWS = 40


@pytest.fixture
def rng():
    return np.random.default_rng()


class Made(torch.utils.data.Dataset):
    """Rows that are made when they are read, which nobody may do to compare them."""

    def __len__(self):
        return ROWS

    def __getitem__(self, position):
        raise AssertionError("a row was made")


def lists(rng):
    return [
        {"input_ids": rng.integers(3, 50, rng.integers(2, 9)).tolist(), "labels": at % 3, "text": f"row {at % 5}"}
        for at in range(ROWS)
    ]


def messages(rng):
    turns = [[{"role": "user", "content": "same"}, {"role": "assistant", "content": f"{at} {'x' * (at % 4)}"}]
             for at in range(ROWS)]  # fmt: skip
    return Dataset.from_dict({"messages": turns, "tools": [None] * ROWS})


def images(rng):
    from PIL import Image as Picture

    pixels = rng.integers(0, 255, (ROWS, 8, 8, 3)).astype("u1")
    features = Features({"image": Image(), "label": Value("int64")})
    return Dataset.from_dict({"image": list(map(Picture.fromarray, pixels)), "label": [0] * ROWS}, features=features)


def stack(rng):
    return StackDataset(x=torch.from_numpy(rng.normal(size=(ROWS, 3, 4, 4))), labels=torch.arange(ROWS) % 2)


def table(rng):
    ids = rng.integers(3, 50, (ROWS, 12))
    ids[:, [0, -1]] = 1
    text = [None if at % 7 == 0 else f"text {at % 3}" for at in range(ROWS)]
    return Dataset.from_dict({"input_ids": ids.tolist(), "text": text, "score": rng.normal(size=ROWS).tolist()})


def some(rows, places):
    """Return some rows in the form that all have."""
    if isinstance(rows, list):
        return [dict(rows[at]) for at in places]
    if isinstance(rows, Dataset):
        return rows.select(places)
    return StackDataset(**{name: values[places].clone() for name, values in rows.datasets.items()})


@pytest.mark.parametrize("make", [lists, table, messages, images, stack])
@pytest.mark.parametrize("shared", [False, True])
def test_the_same_content(make, shared, rng):
    rows, order = make(rng), rng.permutation(ROWS).tolist()
    cut = int(rng.integers(3, 9))
    forget, retain = some(rows, order[:cut]), some(rows, [*order[cut:], *([order[1]] if shared else [])])
    if not shared:
        return check_disjoint(forget, retain)
    with pytest.raises(
        BadInput, match=f"^retain_dataset holds a row of forget_dataset: row 1 there is row {ROWS - cut} "
    ):
        check_disjoint(forget, retain)


def test_a_transform_or_a_format_hides_nothing(rng):
    rows = table(rng)
    rows.set_transform(lambda batch: {"y": batch["score"]})
    with pytest.raises(BadInput, match="row 0 there is row 3 of"):
        check_disjoint(rows.select([5]), concatenate_datasets([table(rng).select(range(3)), table_of(rows, 5)]))
    check_disjoint(rows.select([5]).with_format("torch"), rows.select([6, 7]).with_format("numpy"))


def table_of(rows, place):
    return rows.with_format(None).select([place])


def test_the_same_place_inside_wrappers():
    rows, others = Made(), Made()
    check_disjoint(*random_split(rows, [10, 30]))
    check_disjoint(Subset(rows, [1, 2]), ConcatDataset([Subset(others, [1, 2]), Subset(rows, [3])]))
    with pytest.raises(BadInput, match="row 0 there is row 1 of"):
        check_disjoint(Subset(rows, [1, 2]), rows)
    with pytest.raises(BadInput, match="row 1 there is row 43 of"):
        inner = Subset(rows, [9, 8, 7, 6])
        check_disjoint(Subset(inner, [0, 3]), ConcatDataset([others, Subset(rows, [1, 2, 3, 6])]))


def test_rows_that_are_alike_and_numbered_are_different_rows():
    same = {"text": "ok", "label": 1}
    with pytest.raises(BadInput, match="give both a column 'index'"):
        check_disjoint([same], [{**same}])
    check_disjoint([{**same, "index": 4}], [{**same, "index": 5}])
    table = Dataset.from_list([{**same, "index": at} for at in range(4)])
    check_disjoint(table.select([0]), table.select([1, 2]))


def test_a_different_label_is_a_different_row(rng):
    rows = lists(rng)
    check_disjoint(rows[:1], [{**rows[0], "labels": 7}])
    check_disjoint(some(stack(rng), [0]), some(stack(rng), [0]))
