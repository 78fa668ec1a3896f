"""`mubench shadow`: models are the same whoever makes them and however often they are killed."""

import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mubench_hf.cli import dispatch
from mubench_hf.errors import BadInput
from mubench_hf.metrics.ulira import ulira
from mubench_hf.runs.shadows import making
from mubench_hf.runs.shadows.population import load_population
from mubench_hf.runs.store import load_logits, load_results

TASK = f"{Path(__file__).with_name('sweep_task.py')}:TASK"
NAME = "few-digits-mini-vit-tiny"


def shadow(out: Path, *words: str) -> None:
    dispatch(["shadow", TASK, "--mini", "--out", str(out), *words])


def files(out: Path) -> dict[str, str]:
    """Return the hash of everything in the folder of populations."""
    there = sorted((out / "shadow").rglob("*"))
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in there if file.is_file()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Populations of four models before and after a method, made by one process in one go."""
    out = tmp_path_factory.mktemp("undisturbed")
    shadow(out, "--models", "4", "--method", "neggrad")
    return out


@pytest.fixture
def with_data(undisturbed, tmp_path):
    """A folder with the data set alone."""
    shutil.copytree(undisturbed / "mubench", tmp_path / "mubench")
    return tmp_path


@pytest.mark.slow
def test_only_what_is_read_is_kept(undisturbed):
    assert sorted(files(undisturbed)) == [f"{NAME}-half-df5pct-s0.npz", f"{NAME}-half-neggrad-df5pct-s0.npz"]
    trained, unlearned = (load_population(undisturbed / "shadow" / name) for name in sorted(files(undisturbed)))
    assert trained.note["seeds"] == unlearned.note["seeds"] and trained.models == 4
    assert trained.note["recipe"]["num_train_epochs"] == 2 and trained.note["config"] == {}
    assert unlearned.note["method"] == "neggrad" and unlearned.note["config"]["num_train_epochs"] == 1
    member = trained.arrays["forget_member"]
    assert (member == unlearned.arrays["forget_member"]).all() and (member.sum(axis=0) == 2).all()
    for population in (trained, unlearned):
        sizes = {name: value.shape for name, value in population.arrays.items() if name != "forget_member"}
        assert sizes == {"forget_log_odds": (4, 50), "retain_log_odds": (4, 150), "test_log_odds": (4, 60)}
    assert (trained.arrays["retain_log_odds"] != unlearned.arrays["retain_log_odds"]).any()
    assert not (undisturbed / "results").exists() and [each.name for each in (undisturbed / "mubench").iterdir()] == [
        "few-digits-mini"
    ]


@pytest.mark.slow
def test_models_do_not_hang_on_how_many_there_are_nor_on_the_methods(undisturbed, with_data):
    """The first of two is the first of four, and a method that is added later finds the same models."""
    shadow(with_data, "--models", "2")
    shadow(with_data, "--models", "3")
    shadow(with_data, "--models", "2", "--method", "neggrad")
    for name in files(undisturbed):
        here, there = (load_population(out / "shadow" / name) for out in (with_data, undisturbed))
        assert here.note == there.first(here.models).note
        assert all((value == there.arrays[key][: here.models]).all() for key, value in here.arrays.items())
    assert load_population(with_data / "shadow" / f"{NAME}-half-df5pct-s0.npz").models == 3


@pytest.mark.slow
def test_a_failure_keeps_what_was_made_and_the_same_command_goes_on(undisturbed, with_data, monkeypatch, capsys):
    """Whatever a model fails over, the others are made; given again, the command makes that one alone."""
    draw, count = random.randrange(4), []
    train_run = making.train_run

    def failing(plan, **kwargs):
        count.append(plan.folder)
        if len(count) == draw + 1:
            raise RuntimeError("out of memory")
        return train_run(plan, **kwargs)

    monkeypatch.setattr(making, "train_run", failing)
    with pytest.raises(SystemExit) as end:
        shadow(with_data, "--models", "4")
    assert end.value.code == 1 and "out of memory" in capsys.readouterr().out
    monkeypatch.setattr(making, "train_run", train_run)
    shadow(with_data, "--models", "4", "--method", "neggrad")
    assert files(with_data) == files(undisturbed)


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed_make_what_one_process_makes(undisturbed, with_data, offline_env):
    """SIGKILL hits a worker as it has a model; another is started in its place, and the model goes on."""
    words = [sys.executable, "-m", "mubench_hf.cli", "shadow", TASK, "--mini", "--out", str(with_data)]
    words += ["--models", "4", "--method", "neggrad", "--jobs", "2"]
    command = subprocess.Popen(words, env=offline_env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    claims = with_data / "shadow" / f"{NAME}-half-df5pct-s0.work" / "claims"
    deadline = time.monotonic() + 240
    while not (claims.is_dir() and [*claims.iterdir()]) and command.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    holders = {each.read_text().partition('"process": ')[2].partition(",")[0] for each in claims.iterdir()}
    killed = [int(holder) for holder in holders if holder.isdigit()][:1]
    time.sleep(random.random())
    for holder in killed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(holder, signal.SIGKILL)
    said = command.communicate(timeout=280)[1]
    assert command.returncode == 0 and killed, said
    assert files(with_data) == files(undisturbed)


@pytest.mark.slow
def test_retrained_models_never_saw_what_unlearned_ones_did(with_data):
    shadow(with_data, "--kind", "reseeded", "--models", "2", "--method", "original", "retrain")
    found = {name.split("-df")[0].removeprefix(f"{NAME}-"): load_population(with_data / "shadow" / name) for name in
             files(with_data)}  # fmt: skip
    assert sorted(found) == ["reseeded", "reseeded-original", "reseeded-retrain"]
    assert not found["reseeded"].arrays["forget_member"].any()
    assert found["reseeded-original"].arrays["forget_member"].all()
    seeds = {name: population.note["seeds"] for name, population in found.items()}
    assert seeds["reseeded-original"] == seeds["reseeded-retrain"]
    assert not {*seeds["reseeded"]} & {*seeds["reseeded-retrain"]}, "two retrained populations are independent"
    assert found["reseeded-retrain"].note["config"] == found["reseeded"].note["recipe"]
    odds = [population.arrays["test_log_odds"] for population in found.values()]
    assert not any(np.array_equal(one, other) for place, one in enumerate(odds) for other in odds[:place])


@pytest.mark.slow
def test_one_model_alone_and_weights_that_stay(undisturbed, with_data):
    for index in ("1", "0", "1"):
        shadow(with_data, "--models", "2", "--index", index, "--keep_weights")
    work = with_data / "shadow" / f"{NAME}-half-df5pct-s0.work"
    assert (work / "0" / "trained0" / "model.safetensors").is_file() and not [*(with_data / "shadow").glob("*.npz")]
    shadow(with_data, "--models", "2", "--keep_weights")
    assert (work / "1" / "trained0" / "model.safetensors").is_file()
    here, there = (load_population(out / "shadow" / f"{NAME}-half-df5pct-s0.npz") for out in (with_data, undisturbed))
    assert all((value == there.arrays[name][:2]).all() for name, value in here.arrays.items())


@pytest.mark.slow
def test_another_population_of_the_same_name_is_refused(undisturbed, with_data):
    file = f"{NAME}-half-df5pct-s0.npz"
    there = load_population(undisturbed / "shadow" / file)
    there.note["recipe"]["num_train_epochs"] = 7
    there.save(with_data / "shadow" / file)
    with pytest.raises(BadInput, match="another population .recipe.num_train_epochs is 7, not 2.*--seed or --out"):
        shadow(with_data, "--models", "2")
    assert sorted(files(with_data)) == [file]


ASKED = ["rmia", "lira_offline", "ulira", "klom"]


@pytest.mark.slow
def test_scores_name_the_command_that_makes_what_they_read_and_are_filled_in_after_it(undisturbed, with_data):
    """A run comes first here; afterwards `mubench run` completes its scores from its kept outputs."""
    run = ["run", TASK, "--mini", "--methods", "neggrad", "--seeds", "5", "--out", str(with_data), "--metrics", *ASKED]
    dispatch(run)
    results = {each.method: each for each in load_results(with_data)}
    assert all(results[method].scores[key] is None for method in results for key in ASKED)
    named = {}
    for method in ("neggrad", "retrain", "original"):
        for key in ASKED:
            reason = results[method].reasons[key]
            assert reason.startswith("needs a population of models. Run: mubench shadow few-digits --mini"), reason
            named[reason.partition("mubench ")[2]] = None
    assert any("--kind half --method neggrad --models 16" in command for command in named)
    for file in files(undisturbed):
        (with_data / "shadow").mkdir(exist_ok=True)
        shutil.copy(undisturbed / "shadow" / file, with_data / "shadow")
    for command in named:  # As they are, but for the numbers and names that are quick to make here.
        few = "2" if "reseeded" in command else "4"
        words = command.replace("few-digits", TASK, 1).replace("--models 16", f"--models {few}").split()
        dispatch([str(with_data) if word == "OUT" else word for word in words])
    dispatch(run)
    results = {each.method: each for each in load_results(with_data)}
    for method, result in results.items():
        assert all(result.scores[key] is not None for key in ASKED), (method, result.reasons)
    assert results["retrain"].scores["ulira"] == results["retrain"].scores["lira_offline"] == 0.5
    outputs = {method: load_logits(each.name, with_data / "results") for method, each in results.items()}
    trained, unlearned = (load_population(with_data / "shadow" / name) for name in sorted(files(undisturbed)))
    mine, retrained = ([outputs[method][f"forget_{what}"] for what in ("logits", "labels")] for method in
                       ("neggrad", "retrain"))  # fmt: skip
    populations = [each.arrays[name] for each in (unlearned, trained) for name in ("forget_log_odds", "forget_member")]
    assert results["neggrad"].scores["ulira"] == ulira(*mine, *retrained, *populations)["ulira"]
