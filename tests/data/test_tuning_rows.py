"""The rows that settings are chosen on are none that are reported."""

from dataclasses import replace

import numpy as np
import pytest

from mubench_hf.data.build import deletion_list
from mubench_hf.data.tuning import tuning_rows, tuning_task
from mubench_hf.errors import BadInput
from mubench_hf.tasks import TASKS, GivenRows, get_task


@pytest.fixture
def reported(rng):
    """A task of 450 rows whose label and only input say which row it is, and its rows."""
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=list("abc"))})

    def rows(name, count):
        content = {"text": [f"{name} {row}" for row in range(count)], "label": rng.integers(3, size=count).tolist()}
        return Dataset.from_dict(content, features=features)

    data = DatasetDict(train=rows("train", 450), test=rows("test", 90), validation=rows("validation", 20))
    imdb = get_task("imdb")
    mini = replace(imdb.mini, load=lambda raw: data, forget=None, deletion_sha256=None)
    return replace(imdb, name="told-apart", inputs=("text",), label="label", full=mini, mini=mini), data


@pytest.mark.parametrize("variant", ["full", "mini"])
def test_no_reported_row_is_among_them(reported, variant):
    task, data = reported
    forgotten, _ = deletion_list(task, variant, data["train"])
    found = tuning_task(task).source(variant).load(None)
    texts = {split: set(found[split]["text"]) for split in found}
    assert set(found) == {"train", "test"} and not texts["train"] & texts["test"]
    retained = {f"train {row}" for row in range(450)} - {f"train {row}" for row in forgotten}
    assert texts["train"] | texts["test"] == retained, "all of D_r at the largest ratio, and nothing else"
    assert len(texts["test"]) == round(0.2 * len(retained)) == len(found["test"])
    for split in found:
        assert [f"train {row}" for row in found[split]["index"]] == list(found[split]["text"]), "upstream numbers"


def test_rows_to_forget_are_drawn_from_them_by_the_same_rule(reported):
    task, data = reported
    tuned = tuning_task(task)
    found = tuned.mini.load(None)
    reported_rows, said = deletion_list(task, "mini", data["train"])
    positions, drawn = deletion_list(tuned, "mini", found["train"])
    assert drawn["rule"] == said["rule"] == "by_class" and drawn["stream"] is None
    upstream = np.asarray(found["train"]["index"])[positions]
    assert not set(upstream) & set(reported_rows) and len(set(upstream)) == len(positions) > 0


def test_they_are_the_same_each_time(reported):
    task, _ = reported
    one, other = (tuning_rows(None, task=task, variant="mini") for _ in range(2))
    assert [one[split]["index"][:] for split in one] == [other[split]["index"][:] for split in other]


def test_a_tuning_task_is_another_task_and_not_the_packages():
    task = get_task("cifar100")
    tuned = tuning_task(task)
    assert tuned.name == "cifar100-tuning" and not TASKS.owns(tuned.name)
    assert tuned.mini.presets == task.mini.presets and tuned.mini.recipe == task.mini.recipe
    assert tuned.full.deletion_sha256 is None and not tuned.full.published_scores
    assert task.full.deletion_sha256, "the task itself is as it was"


def test_named_rows_and_too_few_are_refused(reported):
    task, data = reported
    named = replace(task, mini=replace(task.mini, forget=GivenRows("the rows in mine.txt", (1, 2))))
    with pytest.raises(BadInput, match="told-apart are the rows in mine.txt. .*Tune a task without them"):
        tuning_task(named)
    few = type(data)(train=data["train"].select(range(130)), test=data["test"])
    with pytest.raises(BadInput, match="has 130 train rows.*left to choose settings on; needed: 100"):
        tuning_task(replace(task, mini=replace(task.mini, load=lambda raw: few))).mini.load(None)
