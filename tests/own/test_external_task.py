"""A task from somebody's file, in a process that has not read the file: tables are shown, the rest says what lacks."""

from __future__ import annotations

import dataclasses
import hashlib
import re

import pytest
from made_up import checkpoint, table

from mubench_hf.cli import dispatch
from mubench_hf.demo import DemoRuns
from mubench_hf.errors import BadInput
from mubench_hf.hub import model_bundle
from mubench_hf.leaderboard import read_folder
from mubench_hf.runs.store import load_results
from mubench_hf.tasks import get_task

FILE = """from dataclasses import replace

from mubench_hf.tasks.{like} import TASK as LIKE

TASK = replace(LIKE, name="shapes", title="Some shapes")
"""

pytestmark = pytest.mark.usefixtures("fresh")


@pytest.fixture
def shapes(outside, monkeypatch):
    """Make `shapes.py`, a task like one of the package's, and a finished run of it; the process forgets the task."""

    def make(like="cifar100"):
        text = FILE.format(like=like)
        (outside / "shapes.py").write_text(text)
        external = {"task": {"name": "shapes.py:TASK", "sha256": hashlib.sha256(text.encode()).hexdigest()}}
        with monkeypatch.context() as patch:
            patch.setattr("mubench_hf.tasks.TASKS._brought", {})
            get_task("shapes.py:TASK")
            table(outside / "table" / "results", task="shapes", external=external)
            return checkpoint(outside / "out", task="shapes", external=external)

    return make


UNKNOWN = (
    r"The task shapes came from shapes\.py:TASK \(SHA-256 [0-9a-f]{8}\) and is not known here\. Its code is in "
    r"shapes\.py:TASK alone\. Make it known: --task path/to/shapes\.py:TASK, or in Python get_task\("
    r"'path/to/shapes\.py:TASK'\)\."
)


def test_everything_but_the_table_says_what_lacks_until_the_file_is_read(shapes, outside, mubench):
    folder, _, _ = shapes()
    assert len(load_results("table")) == 12
    shown = mubench("table", "table")
    assert re.search(r"shapes-mini \(not shapes\) · vit-tiny · 5% deleted", shown) and "accuracy on test" in shown
    for argv in (["evaluate", str(folder), "--out", "out"], ["publish", "model", str(folder)]):
        with pytest.raises(BadInput, match=UNKNOWN):
            dispatch(argv)
    with pytest.raises(BadInput, match=UNKNOWN):
        DemoRuns.local("table")
    with pytest.raises(BadInput, match=r"Its task came from outside \(shapes\.py:TASK\)"):
        dispatch(["submit", "table"])
    with pytest.raises(BadInput, match="Unknown task 'shapes'.*path/to/file.py"):
        dispatch(["publish", "dataset", "shapes", "--out", "out"])

    get_task("shapes.py:TASK")
    assert "Some shapes-mini (not Some shapes) · vit-tiny" in mubench("table", "table")
    card = model_bundle(folder).files["README.md"].decode()
    assert "Some shapes" in card and "The task is external, no part of `mubench_hf`: `shapes.py:TASK`" in card
    assert DemoRuns.local("table").tasks() == ["shapes-mini"]
    assert not read_folder("table").entries, "known or not, the leaderboard has no table of it"


def test_another_file_of_that_name_is_another_task(shapes, outside, mubench):
    folder, _, _ = shapes()
    file = outside / "shapes.py"
    file.write_text(file.read_text() + "# changed\n")
    get_task("shapes.py:TASK")
    with pytest.raises(BadInput, match=r"not known here\. Another task of that name is\. Its code"):
        dispatch(["publish", "model", str(folder)])
    assert "shapes-mini (not shapes) · vit-tiny" in mubench("table", "table")


def test_a_table_with_several_metrics_shows_one_and_then_the_others(shapes, mubench):
    shapes("samsum")
    shown = mubench("table", "table")
    first, *others = sorted(get_task("samsum").metrics)
    assert f"{first} on test" in shown and "Other scores" in shown
    get_task("shapes.py:TASK")
    assert f"{get_task('samsum').metric} on test" in mubench("table", "table")


def test_a_data_set_of_an_external_task_is_published_by_its_file(outside, mubench):
    (outside / "shapes.py").write_text(FILE.format(like="imdb"))
    dispatch(["build", "shapes.py:TASK", "--mini", "--out", "out"])
    assert "datasets/mubench/shapes-mini (" in mubench("publish", "dataset", "shapes.py:TASK", "--mini", "--out", "out")


@pytest.mark.parametrize("said", ["shapes.py", {"name": "shapes.py:TASK"}, 7])
def test_a_record_that_does_not_say_what_its_task_is(said, outside):
    folder, record, _ = checkpoint(outside / "out")
    dataclasses.replace(record, external={"task": said}).save(folder)
    with pytest.raises(BadInput, match="task is from outside and said to be .*; needed are its name and sha256"):
        dispatch(["evaluate", str(folder), "--out", "out"])
