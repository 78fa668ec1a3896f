"""A run's name covers all that moves its numbers: nothing is overwritten, and nothing averaged, across settings."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from made_up import made_up

from mubench_hf.cli import dispatch
from mubench_hf.errors import BadInput
from mubench_hf.results.aggregate import aggregate
from mubench_hf.results.tables import markdown_table
from mubench_hf.runs.completed import completed
from mubench_hf.runs.record import reference_names, tag_of
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.store import load_result, reference_results, save_result

FILES = Path(__file__).parent / "files"


def named(result: RunResult, **settings) -> RunResult:
    """Return the result of the same run with other settings."""
    return replace(result, settings=settings, config={**result.config, **settings})


def test_a_second_learning_rate_gets_a_name_of_its_own(own_bench):
    unlearn = ["unlearn", "--task", "cifar100", "--mini", "--method", "neggrad", "--out", str(own_bench), "--max_steps",
               "1", "--disable_tqdm", "true"]  # fmt: skip
    dispatch([*unlearn, "--learning_rate", "1e-3"])
    results = own_bench / "results"
    before = {file: file.read_bytes() for file in results.iterdir()}
    dispatch([*unlearn, "--learning_rate", "3e-4", "--output_dir", str(own_bench / "sweep" / "a")])
    assert len(before) == 2 and all(file.read_bytes() == content for file, content in before.items())
    rates = {load_result(file).settings["learning_rate"] for file in results.glob("*.json")}
    assert rates == {1e-3, 3e-4} and len(list(results.glob("*.npz"))) == 2


def test_a_preset_run_has_no_tag_and_any_change_another():
    run = made_up()[0].run
    assert tag_of({}, {}) == "" and run.name.endswith("-s42")
    parts = [({"a": 1}, {}), ({"a": 2}, {}), ({}, {"a": 1}), ({}, {"method": {"name": "f.py:M", "sha256": "0"}}),
             ({}, {"method": {"name": "f.py:M", "sha256": "1"}})]  # fmt: skip
    tags = [tag_of(*each) for each in parts]
    assert len({*tags}) == len(tags) and all(len(tag) == 8 for tag in tags)
    assert tag_of({"a": 1, "b": 2}, {}) == tag_of({"b": 2, "a": 1}, {})
    assert replace(run, tag=tags[0]).name == f"{run.name}-x{tags[0]}"


def test_a_result_of_another_run_is_never_overwritten(tmp_path):
    result = made_up()[1]
    file = save_result(result, tmp_path)
    save_result(replace(result, scores={**result.scores, "zrf": 0.5}), tmp_path)
    before = file.read_bytes()
    for other in ({"config": {"learning_rate": 1.0}}, {"base_revision": "e" * 64}, {"data_fingerprint": "c" * 64}):
        with pytest.raises(BadInput, match=f"another run .its {next(iter(other))} differ"):
            save_result(replace(result, **other), tmp_path)
    assert file.read_bytes() == before


def test_a_result_under_another_name_is_never_compared_with(tmp_path):
    record, result = made_up()
    original = replace(record, run=replace(record.run, method="original", del_ratio=None))
    for method in ("original", "retrain", "finetune"):
        save_result(replace(result, method=method), tmp_path)
    assert reference_results(record, record.run, tmp_path).keys() >= {"retrain"}
    retrain = tmp_path / f"{replace(record.run, method='retrain').name}.json"
    for other in tmp_path.glob("*.json"):
        if other != retrain:
            retrain.write_bytes(other.read_bytes())
            for mine in (record, original):
                with pytest.raises(BadInput, match=f"{retrain.name} is the result of another run, {other.stem}"):
                    reference_results(mine, record.run, tmp_path)
            with pytest.raises(BadInput, match=f"{retrain.name} is the result of another run, {other.stem}"):
                save_result(replace(result, method="retrain"), tmp_path)


def test_mixed_settings_are_two_rows():
    preset = [replace(made_up()[1], seed=seed) for seed in (1, 2, 3)]
    faster = [named(result, learning_rate=0.1) for result in preset[:2]]
    (groups,) = aggregate([*preset, *faster])
    assert [(group.label, group.seeds) for group in groups] == [
        ("scrub", (1, 2, 3)), ("scrub (learning_rate=0.1)", (1, 2))
    ]  # fmt: skip
    for group, runs in zip(groups, (preset, faster), strict=True):
        assert group.score("zrf").mean == pytest.approx(sum(run.scores["zrf"] for run in runs) / len(runs))
    table = markdown_table(groups)
    assert "| scrub |" in table and r"| scrub (learning\_rate=0.1) |" in table


def test_results_that_state_no_settings_are_told_apart_by_their_configs():
    results = [replace(made_up()[1], seed=seed, config={"learning_rate": rate}) for seed, rate in ((1, 0.1), (2, 0.2))]
    (groups,) = aggregate(results)
    assert {group.label for group in groups} == {"scrub (learning_rate=0.1)", "scrub (learning_rate=0.2)"}


def test_one_original_for_all_seeds_is_one_row_and_another_choice_another():
    own = [replace(made_up()[1], seed=seed) for seed in (1, 2)]
    name = own[0].run.table_name
    own = [replace(run, base_model=f"mubench/{name}-original-s{run.seed}") for run in own]
    shared = replace(own[1], base_model=own[0].base_model, settings={"original": f"{name}-original-s1"})
    (groups,) = aggregate([own[0], shared])
    assert [group.seeds for group in groups] == [(1, 2)]
    (groups,) = aggregate([*own, shared])
    assert [group.seeds for group in groups] == [(1, 2), (2,)]


def test_a_method_from_outside_is_shown_as_such():
    mine = {"method": {"name": "npo.py:NpoTrainer", "sha256": "a" * 64}}
    changed = {"method": {"name": "npo.py:NpoTrainer", "sha256": "b" * 64}}
    results = [replace(made_up()[1], method="npo", external=external) for external in (mine, changed)]
    assert len({result.name for result in results}) == 2, "an edited file makes other runs"
    (groups,) = aggregate(results)
    assert [group.label for group in groups] == [
        f"npo (external, method=npo.py:NpoTrainer {digest})" for digest in ("a" * 8, "b" * 8)
    ], "two versions of one file are told apart"


def test_references_are_of_the_same_seed_and_original(tmp_path):
    record, result = made_up()
    prefix = record.run.table_name
    for seed in (42, 7):
        for method in ("original", "retrain"):
            base = None if method == "original" else f"mubench/{prefix}-original-s{seed}"
            save_result(replace(made_up(method)[1], seed=seed, base_model=base), tmp_path)
    found = reference_results(record, record.run, tmp_path)
    assert {name: (run.method, run.seed) for name, run in found.items()} == {
        "original": ("original", 42), "retrain": ("retrain", 42)
    }  # fmt: skip
    other = replace(record, base_model=f"mubench/{prefix}-original-s7")
    found = reference_results(other, other.run, tmp_path)
    assert found["original"].seed == 7
    assert "retrain" not in found, "none of seed 42 started from the original of seed 7"
    foreign = reference_names(record.run, "my-resnet", {})
    assert (
        "original" not in foreign
        and foreign["retrain"] != reference_names(record.run, record.base_model, {})["retrain"]
    )


def test_results_of_earlier_versions_load(tmp_path):
    file = FILES / "result_of_schema_1.json"
    stated = json.loads(file.read_text())
    result = load_result(file)
    assert (result.variant, result.scores, result.config) == ("mini", stated["scores"], stated["config"])
    assert (result.settings, result.external) == ({}, {}) and result.name == "cifar100-mini-vit-tiny-neggrad-df5pct-s5"
    assert load_result(save_result(result, tmp_path)) == result


def test_results_written_by_this_version_load(tmp_path):
    for method in ("original", "scrub"):
        result = replace(made_up(method)[1], settings={"learning_rate": 0.5}, external={"task": {"name": "t"}})
        assert load_result(save_result(result, tmp_path)) == result


def test_lacking_scores_come_from_kept_outputs_and_stated_ones_stay(every_method, tmp_path):
    results = Path(shutil.copytree(every_method / "results", tmp_path / "results"))
    for file in results.glob("*.json"):
        whole = load_result(file)
        assert completed(whole, results) is whole, "nothing is lacking"
        if whole.scores["zrf"] is None:
            continue
        without = {key: value for key, value in whole.scores.items() if key != "zrf"} | {"test_accuracy": 0.125}
        lacking = replace(whole, scores=without)
        found = completed(lacking, results)
        assert found.scores == {**whole.scores, "test_accuracy": 0.125}
        (results / f"{whole.name}.npz").unlink()
        assert completed(lacking, results) is lacking, "without outputs it stays lacking"
