"""Runs of described tasks, 5% or named rows forgotten, once they are finished: published, looked at, not submitted."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from types import SimpleNamespace

import pytest
import yaml
from conftest import ROOT
from unsealed import unsealed

from mubench_hf.cli import dispatch
from mubench_hf.data import load_split
from mubench_hf.demo import DemoRuns, Field
from mubench_hf.errors import BadInput
from mubench_hf.hub import dataset_bundle, model_bundle
from mubench_hf.hub.verify import verify_checkpoint
from mubench_hf.leaderboard import read_folder
from mubench_hf.runs.store import load_results
from mubench_hf.tasks import TASKS, get_task

BOTH = pytest.mark.parametrize(
    ("name", "ratio", "config"), [("fifths", 5, "df_5pct"), ("picked", None, "df")], ids=["5%", "named rows"]
)
pytestmark = pytest.mark.usefixtures("fresh")


def checkpoint(out, method):
    """Return the folder of the run of a method."""
    (folder,) = out.glob(f"mubench/*-{method}-*")
    return folder


def metadata(card):
    return yaml.safe_load(card.split("---\n")[1])


@BOTH
def test_a_data_set_and_its_checkpoints_are_published(name, ratio, config, own_runs, mubench, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = own_runs / name
    shown = mubench("publish", "dataset", name, "--out", out)
    assert f"datasets/mubench/{name} (" in shown and "Nothing was sent" in shown
    assert f"datasets/mubench/{name} (" in mubench("publish", "dataset", "all", "--out", out)
    boards = yaml.safe_load(dataset_bundle(get_task(name), variant="full", out=out).files["eval.yaml"])["tasks"]
    configs = [each["config"] for each in boards]
    assert config in configs and (ratio or set(configs) == {"df"})

    for method in ("original", "retrain", "finetune"):
        folder = checkpoint(out, method)
        shown = mubench("publish", "model", folder)
        assert f"mubench/{folder.name} (" in shown and "None" not in shown
        files = model_bundle(folder).files
        card = files["README.md"].decode()
        assert f"`{config}`" in card and "data:reviews.csv" in card
        if method != "original":
            assert f"({'named rows' if ratio is None else '5 % of the train rows'}) was to be forgotten" in card
        (entry,) = metadata(card)["model-index"]
        assert {each["dataset"]["config"] for each in entry["results"]} == {config}
        standings = yaml.safe_load(files[".eval_results/mubench.yaml"])
        assert {each["dataset"]["task_id"] for each in standings} == {
            f"{config}_{split}" for split in ("test", "forget", "retain")
        }
        assert json.loads(files["run_result.json"])["del_ratio"] == ratio


def test_named_rows_are_published_at_no_ratio(own_runs, mubench):
    out = own_runs / "picked"
    with pytest.raises(BadInput, match="picked forgets 11 named rows, no percentage"):
        mubench("publish", "model", checkpoint(out, "original"), "--del_ratio", 5)
    with pytest.raises(BadInput, match="picked has no mini source"):
        mubench("publish", "dataset", "picked", "--mini", "--out", out)


def test_an_original_without_a_result_says_how_to_evaluate_it(own_runs, tmp_path):
    out = shutil.copytree(own_runs / "picked", tmp_path / "picked")
    shutil.rmtree(out / "results")
    with pytest.raises(BadInput, match=r"run: mubench evaluate .*original-s1\S* --out \S+$"):
        model_bundle(checkpoint(out, "original"))


@BOTH
def test_a_published_checkpoint_is_checked_beside_its_data_set(
    name, ratio, config, own_runs, hub_here, tmp_path, monkeypatch
):
    out = own_runs / name
    for method in ("original", "retrain", "finetune"):
        bundle = model_bundle(checkpoint(out, method))
        files = {path: file if isinstance(file, bytes) else file.read_bytes() for path, file in bundle.files.items()}
        hub_here.add("model", bundle.repo_id, files)
    repo = f"mubench/{checkpoint(out, 'finetune').name}"
    found = verify_checkpoint(repo, out=out)
    assert found.checks and not found.differing
    shown = DemoRuns.hub()
    assert shown.tasks() == [name] and shown.ratios(name) == [ratio]

    monkeypatch.setattr(TASKS, "_brought", {})
    with pytest.raises(BadInput, match="mubench has published no original"):
        DemoRuns.hub()
    with pytest.raises(BadInput, match=f"The task {name} came from data:reviews.csv .* Give the output folder"):
        dispatch(["evaluate", repo, "--out", str(tmp_path)])


@BOTH
def test_the_leaderboard_takes_none_and_the_table_shows_them(name, ratio, config, own_runs, mubench):
    out = own_runs / name
    contents = read_folder(out)
    assert not contents.entries and len(contents.left_out) == len(load_results(out)) == 3
    assert {left.reason.split(". ")[0] for left in contents.left_out} == {
        "Its task came from outside (data:reviews.csv)"
    }
    with pytest.raises(BadInput, match=r"cannot be submitted.*\.json: Its task came from outside \(data:reviews"):
        mubench("submit", out)
    words = "named rows deleted" if ratio is None else "5% deleted"
    assert f"{name} · tiny-bert · {words} · seed 1" in mubench("table", out)


def test_a_result_of_a_registered_task_without_a_ratio_is_left_out(tmp_path):
    from made_up import made_up

    from mubench_hf.runs.store import save_result

    file = save_result(made_up("scrub")[1], tmp_path)
    assert len(read_folder(tmp_path).entries) == 1
    content = json.loads(unsealed(file.read_text())) | {"del_ratio": None}
    file.unlink()
    (tmp_path / "cifar100-mini-vit-tiny-scrub-s42.json").write_text(json.dumps(content))
    (left,) = read_folder(tmp_path).left_out
    assert left.reason.startswith("Its rows to forget were named, so they are no percentage")


@BOTH
def test_the_demo_shows_them(name, ratio, config, own_runs):
    runs = DemoRuns.local(own_runs / name)
    assert runs.tasks() == [name] and runs.ratios(name) == [ratio]
    bench = runs.bench(name, ratio)
    words = "named rows deleted" if ratio is None else "5% deleted"
    assert bench.title == f"{name} · tiny-bert · {words} · seed 1"
    assert bench.count("forget") == len(
        load_split(bench.task, variant="full", ratio=ratio, out=own_runs / name)["forget"]
    )
    sample = bench.sample("forget", 3)
    for method in runs.methods(name, ratio):
        answer = bench.answer(method, sample)
        assert answer.probabilities.keys() == {"glad", "sad"} and answer.truth == sample.truth
    allowed = "named rows" if ratio is None else "5 %"
    with pytest.raises(BadInput, match=f"no runs of {name} at 3 %. Allowed: {allowed}"):
        runs.bench(name, 3)


@BOTH
def test_the_page_of_the_demo_says_no_none(name, ratio, config, own_runs, monkeypatch):
    monkeypatch.setenv("MUBENCH_RUNS", str(own_runs / name))
    app = runpy.run_path(str(ROOT / "spaces" / "demo" / "app.py"))
    page = app["Page"]()
    assert page.ratio.visible == (ratio is not None)
    shares, _, _, title, *_ = app["choose"](name, ratio, [])
    assert (shares["value"], shares["visible"]) == (ratio, ratio is not None)
    assert ("named rows deleted" in title) == (ratio is None)
    row, said = app["look"](name, ratio, ["original", "finetune"], "Deleted (D_f)", 2)
    assert "deleted (D_f), row" in row and 'data-method="finetune"' in said
    assert not re.search("None *%", json.dumps(page.blocks.get_config_file(), default=str) + title + row + said)


@pytest.mark.parametrize("texts", [4, 5])
def test_a_row_of_ones_own_is_asked_for_where_there_are_boxes_for_it(texts, own_runs, monkeypatch):
    monkeypatch.setenv("MUBENCH_RUNS", str(own_runs / "fifths"))
    app = runpy.run_path(str(ROOT / "spaces" / "demo" / "app.py"))
    fields = tuple(Field(f"text {number}", "text", f"Text {number}") for number in range(texts))
    label = Field("mood", "choice", "Mood", ("glad", "sad"))
    slots = app["slots"](SimpleNamespace(inputs=(*fields, label)))
    assert slots == ([None, None, *fields, label] if texts == 4 else [None] * 7)
