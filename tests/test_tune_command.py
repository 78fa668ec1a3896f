"""`mubench tune`: the same trials whoever makes them and however often they are cut off, and a list of all of them."""

import random
import re
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from mubench_hf.cli import dispatch
from mubench_hf.commands import tune
from mubench_hf.commands._tune_text import found_text, trials_text
from mubench_hf.errors import BadInput
from mubench_hf.runs.pipeline import PAPER_METHODS
from mubench_hf.runs.sweeps.launchers import LocalWorkers
from mubench_hf.runs.trials import Search, Trial, best, found_trials
from mubench_hf.tasks import get_task
from mubench_hf.trainers import ScrubConfig, get_method
from mubench_hf.trainers._search import search_space

TASK = f"{Path(__file__).parent / 'tuned_task.py'}:TASK"


@pytest.fixture
def space():
    return search_space(ScrubConfig, {"learning_rate": 1e-3, "msteps": 3, "alpha": 0.1})


def searched(out, space, name="mine", seed=0, **settings):
    return Search(out, name, {"task": "digits"}, space, seed=seed, **settings)


def gap_of(settings):
    """A made-up score, least at a learning rate of 2e-3, and none where `msteps` is 5."""
    if settings["msteps"] == 5:
        return {"1": 0.5}, "diverged with seed 2: it | flew away"
    return {"1": abs(settings["learning_rate"] - 2e-3), "2": settings["alpha"] / 10}, ""


def told(search, count, make=gap_of):
    made = []
    search.run(count, make, made.append)
    return made


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_search_that_was_cut_off_makes_the_same_trials(space, tmp_path, sampler):
    seed, count = random.randrange(10**6), 6
    whole = told(searched(tmp_path / "whole", space, seed=seed, sampler=sampler), count)
    assert [trial.number for trial in whole] == list(range(count)) and all(trial.finished for trial in whole)
    assert whole[0].settings == {"learning_rate": 1e-3, "msteps": 3, "alpha": 0.1}, "the preset is the first"
    assert len({tuple(trial.settings.values()) for trial in whole}) == count

    def dies(settings):
        raise KeyboardInterrupt

    made = []
    for last in (1, 3, 3, count):
        with pytest.raises(KeyboardInterrupt):
            told(searched(tmp_path / "parts", space, seed=seed, sampler=sampler), count, dies)
        made += told(searched(tmp_path / "parts", space, seed=seed, sampler=sampler), last)
    assert made == whole
    assert told(searched(tmp_path / "parts", space, seed=seed, sampler=sampler), count) == []
    other = told(searched(tmp_path / "other", space, seed=seed + 1, sampler=sampler), count)
    assert other[0] == whole[0] and all(
        one.settings != two.settings for one, two in zip(other[1:], whole[1:], strict=True)
    )


def test_trials_that_two_share_are_those_that_one_makes(space, tmp_path):
    alone = told(searched(tmp_path / "alone", space), 5)
    made, together = ([], []), threading.Barrier(2, timeout=30)

    def slow(settings):
        if not any(made):
            together.wait()  # Both are at work, at trials of their own.
        return gap_of(settings)

    def work(number):
        searched(tmp_path / "shared", space).run(5, slow, made[number].append)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert all(made) and sorted(made[0] + made[1], key=lambda trial: trial.number) == alone


def test_settings_that_were_tried_are_not_tried_again(tmp_path):
    space = search_space(ScrubConfig, {}, {"msteps": (1, 2), "learning_rate": (1e-3, 1e-2)})
    space = {"msteps": space["msteps"]}
    tried = []
    trials = told(searched(tmp_path, space), 9, lambda settings: (tried.append(settings), ({"1": 0.1}, ""))[1])
    assert len(trials) == 9 and len(tried) == 2


def test_another_search_in_the_folder_is_refused(space, tmp_path):
    told(searched(tmp_path, space), 2)
    with pytest.raises(BadInput, match="another search for mine .*seed is 0, not 1"):
        searched(tmp_path, space, seed=1).check()
    with pytest.raises(BadInput, match="another search"):
        told(searched(tmp_path, {"msteps": space["msteps"]}), 3)
    file = tmp_path / "tune" / "mine.jsonl"
    file.write_text(file.read_text().replace('"op_code"', '"code"'))
    with pytest.raises(BadInput, match="no search that optuna wrote"):
        searched(tmp_path, space).check()


def test_half_a_line_of_a_killed_process_is_taken_away(space, tmp_path):
    first = told(searched(tmp_path, space), 2)
    file = tmp_path / "tune" / "mine.jsonl"
    file.write_bytes(file.read_bytes() + b'{"op_code": 6, "worker')
    assert [trial.number for trial in told(searched(tmp_path, space), 3)] == [2]
    assert searched(tmp_path, space).trials()[:2] == first


def test_the_list_has_every_trial_and_the_best_in_the_form_in_which_it_is_used(space, tmp_path):
    trials = told(searched(tmp_path, space, seed=3), 20)
    failed = [trial for trial in trials if trial.gap is None]
    assert failed and all(trial.reason.startswith("diverged") for trial in failed), "msteps of 5 among twenty"
    for trial in trials:
        gaps, _ = gap_of(trial.settings)
        assert trial.gap is None or trial.gap == pytest.approx(sum(gaps.values()) / 2)
    chosen = best(trials)
    assert chosen.gap == min(trial.gap for trial in trials if trial.gap is not None)
    text = trials_text(found_trials(tmp_path))
    lines = [line for line in text.splitlines() if line[:3] in [f"| {number}"[:3] for number in range(20)]]
    assert len(lines) == 20 and text.count("**") == 2 and f"| **{chosen.gap:.4f}** |" in text
    assert sum("it / flew away" in line for line in lines) == len(failed)
    said = found_text("scrub", trials, space)
    assert f"20 trials, {20 - len(failed)} with a gap" in said and "\n  preset: 0.0055" in said
    assert f"--set scrub.learning_rate={chosen.settings['learning_rate']}" in said
    assert "No trial has a gap" in found_text("scrub", [Trial(0, {"msteps": 5}, reason="diverged")], space)


GIVEN = ["cifar100", "--mini", "--method", "scrub"]
WRONG = {
    "no method": ["cifar100", "--mini"],
    "no such task": ["cifar10", "--mini", "--method", "scrub"],
    "no such method": [*GIVEN[:-1], "scrubb"],
    "nothing to tune": [*GIVEN[:-1], "retrain"],
    "trials": [*GIVEN, "--trials", "0"],
    "more trials": [*GIVEN, "--trials", "1e9"],
    "jobs": [*GIVEN, "--jobs", "many"],
    "ratio": [*GIVEN, "--del_ratio", "11"],
    "a seed twice": [*GIVEN, "--seeds", "1", "1"],
    "sampler": [*GIVEN, "--sampler", "grid"],
    "jobs that learn": [*GIVEN, "--sampler", "tpe", "--jobs", "2"],
    "raw": [*GIVEN, "--raw", "."],
    "no range": [*GIVEN, "--search", "scrub.alpha"],
    "no numbers": [*GIVEN, "--search", "scrub.alpha=a:b"],
    "no method in the range": [*GIVEN, "--search", "alpha=0:1"],
    "another method": [*GIVEN, "--search", "salun.density=0.1:1"],
    "unknown setting": [*GIVEN, "--search", "scrub.alhpa=0:1"],
    "out of range": [*GIVEN, "--search", "scrub.alpha=-1:1"],
    "twice": [*GIVEN, "--search", "scrub.alpha=0:1", "scrub.alpha=0:2"],
}


def test_what_is_refused_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for what, words in WRONG.items():
        with pytest.raises(BadInput) as error:
            tune.main(words)
        assert "\n" not in str(error.value) and len(str(error.value)) < 600, what
        assert not list(tmp_path.iterdir()), what


def test_without_optuna_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(BadInput, match=r"optuna, which is missing. Run: pip install 'mubench_hf\[tune\]'"):
        tune.main(GIVEN)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_reported_runs_is_not_used(tmp_path):
    (tmp_path / "mubench" / "cifar100-mini").mkdir(parents=True)
    with pytest.raises(BadInput, match="holds runs of cifar100-mini itself"):
        dispatch(["tune", *GIVEN, "--out", str(tmp_path)])


def test_the_published_trials_are_as_many_for_each_method_and_begin_with_todays_preset():
    """After a change of a preset, or of what a method declares, docs/tuning.md says how to make them again."""
    text = (Path(__file__).parents[1] / "docs" / "trials.md").read_text(encoding="utf-8")
    sections = {}
    for section in text.split("\n## ")[1:]:
        name, *lines = section.splitlines()
        sections[name] = [line.strip("| ").split(" | ") for line in lines if re.match(r"\| \d", line)]
    preset = get_task("cifar100").mini.presets
    assert set(sections) == {f"cifar100-tuning-mini-vit-tiny-{method}-df5pct" for method in PAPER_METHODS}
    assert len({len(trials) for trials in sections.values()}) == 1, "no method has more trials than another"
    for method in PAPER_METHODS:
        trials = sections[f"cifar100-tuning-mini-vit-tiny-{method}-df5pct"]
        space = search_space(get_method(method).config_class, preset[method])
        assert trials[0][1] == " ".join(f"{name}={each.usual:g}" for name, each in space.items())
        gaps = [float(gap.strip("*")) for _, _, gap, _ in trials if gap != "–"]
        assert [float(gap.strip("*")) for _, _, gap, _ in trials if "**" in gap] == [min(gaps)]


@pytest.mark.slow
def test_with_a_worker_killed_the_trials_are_the_same(tmp_path, offline_env, monkeypatch, brought_is_forgotten, capsys):
    monkeypatch.chdir(tmp_path)
    for name, value in {**offline_env, "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    command = ["tune", TASK, "--mini", "--method", "neggrad", "--seeds", "1", "--trials", "5", "--out"]
    dispatch([*command, "alone"])
    said = capsys.readouterr().out

    workers, starts = [], LocalWorkers.start

    def start(self, number):
        starts(self, number)
        workers.append(self._running[number])

    def kill():
        search = Search(Path("shared"), "few-digits-tuning-mini-vit-tiny-neggrad-df5pct", {}, {})
        deadline = time.monotonic() + 300
        while not any(trial.finished for trial in search.trials()) and time.monotonic() < deadline:
            time.sleep(0.05)
        workers[0].kill()

    monkeypatch.setattr(LocalWorkers, "start", start)
    killer = threading.Thread(target=kill)
    killer.start()
    dispatch([*command, "shared", "--jobs", "2"])
    killer.join()
    assert workers[0].poll() == -signal.SIGKILL
    assert capsys.readouterr().out.replace("shared", "alone") == said
    texts = [Path(out, "tune", "trials.md").read_text() for out in ("alone", "shared")]
    assert texts[0] == texts[1] and "5 trials over the seeds 1" in texts[0]
    for out in ("alone", "shared"):
        assert len(list(Path(out, "results").glob("*neggrad*.json"))) == 5
        assert not list(Path(out, "mubench").glob("*neggrad*")), "checkpoints of trials are not kept"
