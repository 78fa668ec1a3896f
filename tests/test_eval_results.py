"""A checkpoint's scores name leaderboards that its data set has, and `huggingface_hub` reads them back."""

import dataclasses

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from made_up import made_up

from mubench_hf.data.benchmark import render_eval
from mubench_hf.hub.eval_results import render_eval_results
from mubench_hf.tasks import get_task, list_tasks


@pytest.mark.parametrize("variant", ["mini", "full"])
@pytest.mark.parametrize("task", list_tasks())
def test_scores_are_those_of_the_data_sets_leaderboards(task, variant):
    _, result = made_up(task=task, variant=variant)
    entries = parse_eval_result_entries(yaml.safe_load(render_eval_results(result, repo_id="lab/mine")))
    spec = get_task(task)
    boards = yaml.safe_load(render_eval(spec, variant=variant))
    known = {board["id"]: (board["config"], board["split"]) for board in boards["tasks"]}
    assert len(known) == len(boards["tasks"]) == 30 and boards["evaluation_framework"] == "mubench_hf"
    assert spec.title in boards["name"] and ("mini" in boards["name"]) == (variant == "mini")
    assert {(known[entry.task_id], entry.value) for entry in entries} == {
        (("df_5pct", split), result.scores[f"{split}_{spec.metric}"]) for split in ("test", "forget", "retain")
    }
    assert {entry.dataset_id for entry in entries} == {f"lab/{spec.dataset_name(variant)}"}
    assert all(entry.source_url == "https://huggingface.co/lab/mine/blob/main/run_result.json" for entry in entries)
    assert all("scrub, seed 42" in entry.notes for entry in entries)


def test_scores_that_are_missing_are_left_out():
    _, result = made_up()
    scores = {**result.scores, "forget_accuracy": None}
    less = dataclasses.replace(result, scores=scores, reasons={**result.reasons, "forget_accuracy": "lost"})
    entries = parse_eval_result_entries(yaml.safe_load(render_eval_results(less, repo_id="lab/mine")))
    assert [entry.task_id for entry in entries] == ["df_5pct_test", "df_5pct_retain"]
    none = dict.fromkeys(result.scores)
    nothing = dataclasses.replace(result, scores=none, reasons=dict.fromkeys(none, "lost"))
    assert render_eval_results(nothing, repo_id="lab/mine") is None
