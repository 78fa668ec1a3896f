"""An image, sound or video that cannot be decoded is named by split, column and index, and nothing is written."""

from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from datasets import Audio, Dataset, DatasetDict, Image, Value, Video
from datasets.table import InMemoryTable

from mubench_hf.data import build
from mubench_hf.data.media import first_unreadable
from mubench_hf.errors import BadInput
from mubench_hf.tasks import get_task, list_tasks

WITH_MEDIA = [name for name in list_tasks() if get_task(name).modality != "text"]
mini_rows = cache(lambda name: get_task(name).mini.load(None))


def media(data):
    """Return the columns that hold encoded images, sounds or videos."""
    return [name for name, kind in data["train"].features.items() if isinstance(kind, Image | Audio | Video)]


def stored(rows, column):
    """Return the encoded bytes of a column's rows."""
    return rows.with_format("arrow")[:][column].to_pylist()


def spoiled(rows, column, place):
    """Return rows with one medium cut off after a third of its bytes."""
    table = rows.with_format("arrow")[:]
    values = table[column].to_pylist()
    values[place] = {"bytes": values[place]["bytes"][: len(values[place]["bytes"]) // 3], "path": "its/name"}
    changed = pa.array(values, table.schema.field(column).type)
    return Dataset(
        InMemoryTable(table.set_column(table.column_names.index(column), table.schema.field(column), changed))
    )


def test_tasks_of_every_medium_are_tested():
    found = {column for name in WITH_MEDIA for column in media(mini_rows(name))}
    assert {"image", "audio", "video"} <= found and len(WITH_MEDIA) >= 5


@pytest.mark.parametrize(("split", "place"), [("train", 37), ("test", 5)])
@pytest.mark.parametrize("name", WITH_MEDIA)
def test_a_row_that_cannot_be_decoded_is_named(name, split, place, tmp_path):
    task, data = get_task(name), mini_rows(name)
    assert media(data)
    for column in media(data):
        changed = DatasetDict({**data, split: spoiled(data[split], column, place)})
        broken = replace(task, mini=replace(task.mini, load=lambda raw, changed=changed: changed))
        expected = rf"Split '{split}': column '{column}' cannot be decoded at index {place} \(name\): .+\. Check"
        with pytest.raises(BadInput, match=expected):
            build(broken, variant="mini", out=tmp_path, progress=False)
        assert not list((tmp_path / "mubench").iterdir()), "nothing half-written is left"


@pytest.mark.parametrize("name", WITH_MEDIA)
def test_readable_rows_pass(name):
    rows = mini_rows(name)["test"].select(range(20))
    for column in media(mini_rows(name)):
        assert first_unreadable(rows.features[column], stored(rows, column)) is None


def test_the_first_of_several_is_named():
    rows = mini_rows("cifar100")["test"].select(range(9))
    values = stored(rows, "image")
    for place in (7, 4):
        values[place] = {"bytes": b"no image", "path": None}
    place, reason = first_unreadable(Image(), values)
    assert place == 4 and "cannot identify" in reason


def test_an_image_that_would_fill_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 50)
    rows = mini_rows("cifar100")["test"].select(range(1))
    assert "decompression bomb" in first_unreadable(Image(), stored(rows, "image"))[1]


def test_sound_of_another_rate_is_named():
    rows = mini_rows("speech_commands")["test"].select(range(2))
    reason = first_unreadable(Audio(sampling_rate=8000), stored(rows, "audio"))
    assert reason == (0, "it has 16000 samples per second, not 8000")


def test_other_columns_are_not_looked_at():
    assert first_unreadable(Value("string"), [{"bytes": b"x"}] * np.int64(3)) is None
