"""The ``mubench`` command: what it lists, and a checkpoint's way from training to a table."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mubench_hf import __version__
from mubench_hf.cli import COMMANDS, dispatch
from mubench_hf.commands import list as overview
from mubench_hf.errors import BadInput
from mubench_hf.metrics import list_metrics
from mubench_hf.models import list_models
from mubench_hf.runs.setup import make_setup
from mubench_hf.tasks import list_tasks
from mubench_hf.trainers import list_methods


@pytest.mark.parametrize(
    ("name", "keys"),
    [("tasks", list_tasks()), ("models", list_models()), ("methods", list_methods()), ("metrics", list_metrics())],
)
def test_lists_show_every_registered_name_once(name, keys, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    rows = overview.TABLES[name]()
    assert [row[0] for row in rows[1:]] == keys
    assert all(len(row) == len(rows[0]) and all(cell.strip() for cell in row) for row in rows)
    dispatch(["list", name])
    printed = capsys.readouterr().out
    assert f"{len(keys)} {name}" in printed
    assert all(key in printed for key in keys)


def test_help_and_version(capsys):
    dispatch([])
    usage = capsys.readouterr().out
    assert all(f"\n  {command} " in usage for command in COMMANDS)
    dispatch(["--version"])
    assert capsys.readouterr().out == f"mubench {__version__}\n"


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "list"])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        dispatch([command, "--help"])
    assert exit_.value.code == 0
    assert f"usage: mubench {'' if command in ('train', 'unlearn') else command}" in capsys.readouterr().out


@pytest.mark.slow
def test_unlearn_then_evaluate_agree(own_bench, capsys):
    flags = ["--num_train_epochs", "1", "--per_device_train_batch_size", "64", "--disable_tqdm", "true"]
    dispatch(["unlearn", "--task", "cifar100", "--mini", "--method", "finetune", "--out", str(own_bench), *flags])
    (file,) = (own_bench / "results").glob("cifar100-mini-vit-tiny-finetune-df5pct-s42-x*.json")
    name = file.stem
    first = json.loads(file.read_text())
    file.unlink()
    dispatch(["evaluate", str(own_bench / "mubench" / name), "--out", str(own_bench)])
    assert json.loads(file.read_text()) == first
    assert "finetune" in capsys.readouterr().out
    assert "original_test_score" in first["reasons"]["unlearning_score"]
    dispatch(["evaluate", str(own_bench / "mubench" / "cifar100-mini-vit-tiny-original-s42"), "--out", str(own_bench)])
    dispatch(["evaluate", str(own_bench / "mubench" / name), "--out", str(own_bench)])
    assert json.loads(file.read_text())["scores"]["unlearning_score"] is not None


def test_table_shows_finished_runs_again(own_bench, capsys):
    dispatch(["evaluate", str(own_bench / "mubench" / "cifar100-mini-vit-tiny-original-s42"), "--out", str(own_bench)])
    printed = capsys.readouterr().out
    dispatch(["table", str(own_bench)])
    assert capsys.readouterr().out == printed
    dispatch(["table", str(own_bench / "results"), "--markdown"])
    shown = capsys.readouterr().out
    assert "| original |" in shown and "not CIFAR-100" in shown and f"mubench_hf {__version__}" in shown


def test_a_printed_file_says_when_and_how(own_bench, capsys):
    dispatch(["evaluate", str(own_bench / "mubench" / "cifar100-mini-vit-tiny-original-s42"), "--out", str(own_bench)])
    capsys.readouterr()
    dispatch(["table", str(own_bench), "--markdown"])
    title, _, printed, *_ = capsys.readouterr().out.splitlines()
    assert title == "# Results"
    assert printed == f"Printed by `mubench table {own_bench.name} --markdown` on {time.strftime('%Y-%m-%d')}."


class Recorded:
    """Stands for a pipeline: notes what is to be run, and runs nothing."""

    made = []

    def __init__(self, task, **given):
        self.made.append((task, given["out"]))
        self.setup = make_setup(task, variant="mini", out=given["out"])

    def run(self):
        raise BadInput("ran")


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        (["cifar100"], [("cifar100", Path("o"))]),
        (["imdb", "cifar100"], [("imdb", Path("o/imdb")), ("cifar100", Path("o/cifar100"))]),
        (["all"], [(name, Path("o", name)) for name in list_tasks()]),
    ],
)
def test_several_tasks_run_each_in_a_folder_of_its_own(tasks, expected, monkeypatch):
    monkeypatch.setattr("mubench_hf.runs.pipeline.Pipeline", Recorded)
    monkeypatch.setattr(Recorded, "made", [])
    with pytest.raises(BadInput, match="ran"):
        dispatch(["run", *tasks, "--mini", "--out", "o"])
    assert Recorded.made == expected


def test_several_data_sets_are_built_in_one_folder(tmp_path, capsys):
    dispatch(["build", "cifar100", "celeb_profile", "--mini", "--out", str(tmp_path)])
    assert sorted(folder.name for folder in (tmp_path / "mubench").iterdir()) == ["celeb_profile-mini", "cifar100-mini"]
    assert len(capsys.readouterr().out.strip().splitlines()) == 2
    with pytest.raises(BadInput, match="imbd"):
        dispatch(["build", "cifar100", "imbd", "--mini", "--out", str(tmp_path / "other")])
    assert not (tmp_path / "other").exists()


def test_a_wrong_task_among_several_stops_before_any_work(monkeypatch):
    monkeypatch.setattr("mubench_hf.runs.pipeline.Pipeline", Recorded)
    monkeypatch.setattr(Recorded, "made", [])
    with pytest.raises(BadInput, match="imbd.*Did you mean 'imdb'"):
        dispatch(["run", "cifar100", "imbd", "--mini", "--out", "o"])
    assert not Recorded.made


def test_importing_the_package_imports_no_torch(offline_env):
    code = "import mubench_hf, mubench_hf.cli, sys; mubench_hf.list_tasks(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=offline_env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
