"""`mubench sweep`: the grid that its words mean, what it refuses, and that no killed worker changes a result."""

import contextlib
import json
import os
import random
import re
import shlex
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from benchmarks.sweep import TASK, holders, scores, sweep_words

from mubench_hf.cli import dispatch
from mubench_hf.commands import sweep
from mubench_hf.commands._grid import ratios_of
from mubench_hf.commands.unlearn import planned
from mubench_hf.errors import BadInput
from mubench_hf.runs.sweeps.ledger import Ledger
from mubench_hf.runs.sweeps.manifest import load_manifest, manifest_file

GRID = ["sweep", "cifar100", "--mini", "--methods", "scrub", "neggrad", "--del_ratio", "2", "4-5", "--seeds", "7", "3",
        "--set", "scrub.msteps=1,2", "scrub.alpha=0.25,0.5,0.75"]  # fmt: skip


def written(out: Path, *words: str) -> Ledger:
    dispatch([*(words or GRID), "--out", str(out), "--launcher", "none"])
    return Ledger(out)


def test_a_grid_is_each_with_each(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ledger = written(tmp_path)
    cells = ledger.manifest.cells
    assert len({cell.id for cell in cells}) == len(cells) == 1 + 2 + 6 + 6 + 6 * (6 + 1) + 1
    assert "58 cells: 1 data sets, 2 originals, 6 scores of originals" in capsys.readouterr().out
    assert ledger.counts() == {"waiting": 58}
    by_id = {cell.id: cell for cell in cells}
    cell = by_id["cifar100-mini-vit-tiny-neggrad-df4pct-s3"]
    assert shlex.join(cell.command) == (
        "mubench unlearn --task cifar100 --mini --out . --method neggrad --del_ratio 4 --seed 3 --disable_tqdm true"
    )
    assert cell.result == f"results/{cell.id}.json" and cell.checkpoint == f"mubench/{cell.id}"
    assert cell.needs == ("cifar100-mini-vit-tiny-original-df4pct-s3", "cifar100-mini-vit-tiny-retrain-df4pct-s3")
    (original,) = by_id[cell.needs[0]].needs
    assert by_id[original].command[1] == "train" and by_id[original].needs == ("cifar100-mini-data",)
    tried = [cell.command for cell in cells if "scrub" in cell.command and cell.rows.endswith("@2")]
    flags = {tuple(command[command.index("--msteps") : command.index("--disable_tqdm")]) for command in tried}
    assert flags == {("--msteps", m, "--alpha", a) for m in ("1", "2") for a in ("0.25", "0.5", "0.75")}
    # A folder that is called like a task or a method is none of them.
    for name in ("cifar100", "scrub"):
        Path(name).mkdir()
    # Given again it is the same sweep; what it is called by does not depend on where it is.
    written(tmp_path)
    assert manifest_file(tmp_path).read_text() == manifest_file(written(tmp_path / "other").out).read_text()


def test_a_cell_is_called_as_the_run_that_its_command_makes(bench, quick, tmp_path):
    """Though the original was not there when the manifest was written."""
    words = ["sweep", "cifar100", "--mini", "--methods", "neggrad", "--seeds", "42", "--del_ratio", "5", "7", "--set",
             "neggrad.learning_rate=0.001,0.002"]  # fmt: skip
    runs = [cell for cell in written(tmp_path, *words).manifest.cells if cell.stage in ("retrain", "unlearn")]
    with contextlib.chdir(bench):
        for cell in runs:
            plan, _ = planned(cell.command[2:])
            assert plan.run.name == cell.id and plan.folder == Path(cell.checkpoint)


WRONG = {
    "there is no such task": [*GRID[:1], "cifar10", *GRID[2:]],
    "method": [*GRID, "--methods", "scrubb"],
    "no ratio": [*GRID, "--del_ratio", "5-4"],
    "ratio out of range": [*GRID, "--del_ratio", "1-11"],
    "ratio": [*GRID, "--del_ratio", "1-"],
    "a seed twice": [*GRID, "--seeds", "1", "1"],
    "no values": [*GRID, "--set", "scrub.msteps="],
    "no setting": [*GRID, "--set", "scrub=3"],
    "unknown setting": [*GRID, "--set", "scrub.mstepps=3"],
    "wrong value": [*GRID, "--set", "scrub.msteps=many"],
    "out of range": [*GRID, "--set", "scrub.msteps=-1"],
    "another method": [*GRID, "--set", "salun.alpha=1"],
    "a name": [*GRID, "--set", "scrub.seed=1,2"],
    "a place": [*GRID, "--set", "scrub.output_dir=x"],
    "value twice": [*GRID, "--set", "scrub.msteps=2,2"],
    "the same run": [*GRID, "--set", "scrub.alpha=1,1.0"],
    "jobs": [*GRID, "--jobs", "0"],
    "tries": [*GRID, "--tries", "0"],
    "launcher": [*GRID, "--launcher", "pbs"],
    "engine": [*GRID, "--engine", "partition=x"],
    "shard": [*GRID, "--shard", "3/2"],
    "shard and launcher": [*GRID, "--shard", "1/2", "--launcher", "local"],
    "seconds": [*GRID, "--seconds", "unlern=3"],
    "raw": [*GRID, "--raw", "."],
    "status of nothing": ["sweep", "status", "nowhere"],
    "work on nothing": ["sweep", "work", "."],
}


def test_what_a_sweep_refuses_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for what, words in WRONG.items():
        # The last of a flag counts, as argparse reads them; `mubench` itself refuses two.
        with pytest.raises(BadInput) as error:
            sweep.main(words[1:])
        assert "\n" not in str(error.value) and len(str(error.value)) < 500, what
        assert not list(tmp_path.iterdir()), what


def test_a_folder_of_another_sweep_is_kept(tmp_path):
    written(tmp_path)
    before = manifest_file(tmp_path).read_bytes()
    with pytest.raises(BadInput, match="its del_ratio differ"):
        written(tmp_path, *GRID[:6], "--del_ratio", "2", *GRID[9:])
    assert manifest_file(tmp_path).read_bytes() == before


def test_jobs_on_the_hub_are_given_the_same_sweep(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("huggingface_hub.run_job", lambda **given: asked.append(given) or SimpleNamespace(url="u"))
    monkeypatch.chdir(tmp_path)
    engine = ["--launcher", "jobs", "--jobs", "2", "--engine", "bucket=me/b", "image=me/i"]
    dispatch([GRID[0], "--out=here", *GRID[1:], *engine])
    assert len(asked) == 2 and not list(tmp_path.iterdir())
    written(Path("here"))
    _, *words = asked[1]["command"]
    assert words[words.index("--out") :] == ["--out", "/sweep", "--shard", "2/2"]
    written(Path("there"), *words[: words.index("--out")])
    assert manifest_file(Path("here")).read_text() == manifest_file(Path("there")).read_text()
    with pytest.raises(BadInput, match="sees no file of this machine"):
        dispatch(["sweep", TASK, "--mini", *engine])


@pytest.mark.parametrize(
    ("words", "found"), [(["5"], [5]), (["1-10"], list(range(1, 11))), (["9", "2-3", "3"], [2, 3, 9])]
)
def test_ratios(words, found):
    assert ratios_of(words) == found


def test_a_plan_says_how_long_it_takes_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seconds = ["--seconds", "data=1", "original=10", "teacher=1", "retrain=10", "unlearn=2", "table=1"]
    dispatch([*GRID, "--dry-run", *seconds, "--jobs", "1"])
    said = capsys.readouterr().out
    # 1 + 2 × 10 + 6 × 1 + 6 × 10 + 42 × 2 + 1 = 172 seconds, one after the other, and .5 around each of 58 cells.
    assert (
        "Time: 3.4 min with 1 worker (" in said and "unlearned models 41.8%" in said and "between cells 14.4%" in said
    )
    assert "Disk: 50 checkpoints, about " in said and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_sweep_of_one_ratio_is_a_run(tmp_path):
    words = ["--methods", "neggrad", "scrub", "--del_ratio", "3", "--seeds", "1"]
    dispatch(["sweep", TASK, "--mini", *words, "--out", str(tmp_path / "sweep"), "--shard", "1/1"])
    dispatch(["run", TASK, "--mini", *words, "--out", str(tmp_path / "run")])
    assert scores(tmp_path / "sweep") == scores(tmp_path / "run") and len(scores(tmp_path / "run")) == 4
    assert not list(tmp_path.glob("*/.cache/*/*/*.npy")), "outputs of teachers go when nothing needs them any more"
    # What a run has finished, a sweep does not do again.
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "run" / "mubench").rglob("model.safetensors")}
    dispatch(["sweep", TASK, "--mini", *words, "--out", str(tmp_path / "run"), "--shard", "1/1"])
    assert files == {file: file.stat().st_mtime_ns for file in files}
    assert Ledger(tmp_path / "run").counts() == {"done": 7}


def kill_holders(out: Path, kills: int, stop: threading.Event, killed: list[int], rng: random.Random) -> None:
    """Kill workers while they have a cell, at random moments."""
    while not stop.is_set() and len(killed) < kills:
        time.sleep(rng.uniform(0.2, 3))
        if alive := holders(out):
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(alive), signal.SIGKILL)
                killed.append(1)


@pytest.mark.slow
def test_the_plan_on_paper_is_what_the_command_prints(tmp_path, capsys, monkeypatch):
    """Ten thousand cells on 64 GPUs: the page's figures are the arithmetic's."""
    text = (Path(__file__).parents[1] / "docs" / "sweeps.md").read_text()
    command, shown = re.search(r"<!-- on paper -->\n```sh\n(.*?)```\n\n```text\n(.*?)```", text, re.DOTALL).groups()
    monkeypatch.chdir(tmp_path)
    dispatch(shlex.split(command.replace("\\\n", " "))[1:])
    said = capsys.readouterr().out
    assert said == shown and not list(tmp_path.iterdir())
    cells = {what: int(number) for number, what in re.findall(r"(\d+) ([a-z][a-z ]+?)(?:,|$)", said.splitlines()[0])}
    seconds = dict(re.findall(r"(\w+)=(\d+)(?:\s|$)", command[command.index("--seconds") :]))
    counts = zip(seconds, ("data sets", "originals", "scores of originals", "retrained models", "unlearned models",
                           "tables and pictures"), strict=True)  # fmt: skip
    work = sum(int(seconds[stage]) * cells[what] for stage, what in counts) + 0.5 * 9936
    assert f"would take {work / 3600 / 64:.1f}" in text and f"busy for {work / 86400:.0f} days" in text


@pytest.mark.slow
def test_killed_workers_change_nothing(tmp_path, monkeypatch, offline_env):
    """Both launchers make, with killed workers, what one process makes that nobody disturbs."""
    pytest.importorskip("submitit")
    seed = int(os.environ.get("MUBENCH_TEST_SEED", random.SystemRandom().randrange(2**32)))
    print(f"moments drawn with MUBENCH_TEST_SEED={seed}")
    rng = random.Random(seed)
    for name, value in offline_env.items():
        monkeypatch.setenv(name, value)
    dispatch([*sweep_words("small", tmp_path / "serial"), "--shard", "1/1"])
    wanted = scores(tmp_path / "serial")
    assert len(wanted) == 20
    for launcher in ("local", "slurm"):
        out, stop, killed = tmp_path / launcher, threading.Event(), []
        killer = threading.Thread(target=kill_holders, args=(out, 2, stop, killed, rng))
        killer.start()
        engine = ["--engine", "cluster=local"] if launcher == "slurm" else []
        dispatch([*sweep_words("small", out), "--launcher", launcher, "--jobs", "2", *engine])
        stop.set()
        killer.join()
        assert scores(out) == wanted and len(killed) == 2
        notes = [json.loads(file.read_text()) for file in (out / "sweep" / "cells").iterdir()]
        assert {note["state"] for note in notes} == {"done"} and len(notes) == len(load_manifest(out).cells)
        assert not list((out / "sweep" / "claims").iterdir()) and (out / "tables.md").is_file()


def test_the_task_of_the_sweeps_is_found():
    assert Path(TASK.partition(":")[0]).is_file()
