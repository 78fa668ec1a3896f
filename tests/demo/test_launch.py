"""`mubench demo` finds the newest runs, or makes some."""

import os

import pytest

from mubench_hf import cli
from mubench_hf.demo import launch as launching
from mubench_hf.demo.launch import newest_runs
from mubench_hf.errors import BadInput


def run_at(folder, when):
    (folder / "mubench").mkdir(parents=True)
    file = folder / "results" / "x-original-df5pct-s1.json"
    file.parent.mkdir()
    file.write_text("{}")
    os.utime(file, (when, when))


def test_the_newest_run_below_a_folder_is_found(tmp_path):
    assert newest_runs(tmp_path) is None
    run_at(tmp_path / "old", 1000)
    run_at(tmp_path / "new", 2000)
    (tmp_path / "unfinished" / "results").mkdir(parents=True)
    assert newest_runs(tmp_path) == tmp_path / "new"
    assert newest_runs(tmp_path / "old") == tmp_path / "old"
    run_at(tmp_path / "many" / "imdb", 500)
    assert newest_runs(tmp_path) == tmp_path / "new"
    run_at(tmp_path / "many" / "cifar100", 3000)
    assert newest_runs(tmp_path) == tmp_path / "many"
    assert newest_runs(tmp_path / "many") == tmp_path / "many"


@pytest.mark.parametrize("there", [True, False])
def test_without_runs_one_is_made_first(tmp_path, monkeypatch, there):
    made, opened = [], []
    monkeypatch.chdir(tmp_path)
    if there:
        run_at(tmp_path / "mine", 1000)
    monkeypatch.setattr("mubench_hf.commands.run.main", made.append)
    monkeypatch.setattr(
        "mubench_hf.commands.demo.launch", lambda runs, browser, use_gpu: opened.append((str(runs), browser, use_gpu))
    )
    cli.dispatch(["demo", "--no_browser"])
    assert made == ([] if there else [["cifar100", "--mini", "--out", "mubench-run"]])
    assert opened == [("mine" if there else "mubench-run", False, False)]


def test_without_gradio_nothing_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launching, "find_spec", lambda name: None)
    monkeypatch.setattr("mubench_hf.commands.run.main", lambda argv: pytest.fail("ran"))
    with pytest.raises(BadInput, match=r"pip install 'mubench_hf\[spaces\]'"):
        cli.dispatch(["demo"])
