"""Bad input is one clear line and exit code 2, and nothing is overwritten."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mubench_hf.cli import dispatch
from mubench_hf.commands._arguments import exit_with

UNLEARN = ["unlearn", "--task", "cifar100", "--mini", "--method", "scrub"]
TINY = ["--num_train_epochs", "1", "--per_device_train_batch_size", "64", "--disable_tqdm", "true"]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def refusal(argv: list[str], capsys) -> str:
    """Return the line that a command is refused with."""
    with pytest.raises(SystemExit) as exit_:
        exit_with(dispatch, argv)
    assert exit_.value.code == 2
    # The libraries may warn before; the program itself says one line.
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mubench: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["runn"], "Did you mean 'run'"),
        (["list", "method"], "Did you mean 'methods'"),
        (["build", "cifar10", "--mini"], "Did you mean 'cifar100'"),
        (["build"], "required: task"),
        (["train", "--mini"], "required: --task"),
        (["train", "--task", "cifar100", "--mini", "--model", "vit-tin"], "Did you mean 'vit-tiny'"),
        (["train", "--task", "cifar100", "--mini"], "Run: mubench build cifar100 --mini"),
        ([*UNLEARN[:-1], "scrubb"], "Did you mean 'scrub'"),
        ([*UNLEARN, "--del_ratio", "12"], "whole number of percent from 1 to 10"),
        ([*UNLEARN, "--del_ratio", "2.5"], "whole number of percent from 1 to 10"),
        ([*UNLEARN], "Run: mubench train --task cifar100 --mini --model vit-tiny"),
        (["run", "cifar100", "--mini", "--methods", "salum"], "Did you mean 'salun'"),
        (["run", "cifar100", "--mini", "--seeds", "x"], "invalid int value: 'x'"),
        (["evaluate", "nowhere"], "neither a folder nor the name of a repository"),
        (["evaluate", "mubench/nowhere"], "There is no folder mubench/nowhere, and HF_HUB_OFFLINE is set"),
        (["evaluate", "."], "has no run.json"),
        (["table", "."], "There are no results in ."),
        (["publish", "metric", "accuracy", "--org", "../x"], "'../x/accuracy' cannot be the name of a repository"),
        (["publish", "space", "demo", "--org", "a--b"], "cannot be the name of a repository"),
        (["build", "imdb", "--mini", "--out", "/dev/null/x"], "/dev/null is a file"),
    ],
)
def test_names_and_ratios(argv, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert said in refusal(argv, capsys)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--learning_rat", "1"], "Did you mean --learning_rate"),
        (["--learning_rate", "fast"], "invalid float value: 'fast'"),
        (["--density", "0.5"], "Unknown argument '--density'"),
    ],
)
def test_flags_of_the_config(flags, said, bench, capsys):
    before = snapshot(bench)
    assert said in refusal([*UNLEARN, "--out", str(bench), *flags], capsys)
    assert snapshot(bench) == before


def test_a_folder_with_another_run_is_kept(own_bench, capsys):
    argv = [*UNLEARN, "--out", str(own_bench), "--evaluate", "false", *TINY, "--output_dir", str(own_bench / "mine")]
    dispatch(argv)
    before = snapshot(own_bench)
    assert "config.learning_rate is 0.001, not 0.0005" in refusal([*argv, "--learning_rate", "5e-4"], capsys)
    assert "run.method is scrub, not finetune" in refusal([*argv[:5], "finetune", *argv[6:]], capsys)
    assert snapshot(own_bench) == before


def test_a_folder_with_somebodys_files_is_kept(own_bench, capsys):
    (own_bench / "mine").mkdir()
    (own_bench / "mine" / "thesis.txt").write_text("years of work")
    argv = [*UNLEARN, "--out", str(own_bench), "--output_dir", str(own_bench / "mine")]
    assert "holds files that are not a run's" in refusal(argv, capsys)
    assert os.listdir(own_bench / "mine") == ["thesis.txt"]


def edit(file: Path, found: str, put: str) -> None:
    """Change a file as an earlier version might have written it: without hashes of what it says."""
    text = file.read_text()
    assert found in text
    text = re.sub(r'"content_sha256": .*|"files": \{[^}]*\},', "", text.replace(found, put))
    file.write_text(re.sub(r",\s*\}", "\n}", text))


def test_an_original_of_another_task_is_refused(own_bench, capsys):
    original = own_bench / "mubench" / "cifar100-mini-vit-tiny-original-s42"
    foreign = Path(shutil.copytree(original, own_bench / "mubench" / "foreign"))
    edit(foreign / "run.json", '"task": "cifar100"', '"task": "imdb"')
    argv = [*UNLEARN, "--out", str(own_bench), "--base", str(foreign)]
    assert "is a checkpoint of imdb-mini, not of cifar100-mini" in refusal(argv, capsys)


def test_an_unlearned_model_is_no_original(own_bench, capsys):
    unlearned = str(own_bench / "unlearned")
    dispatch([*UNLEARN, "--out", str(own_bench), "--evaluate", "false", *TINY, "--output_dir", unlearned])
    assert "was made by scrub" in refusal([*UNLEARN, "--out", str(own_bench), "--base", unlearned], capsys)


def test_an_original_with_other_classes_is_refused(own_bench, capsys):
    from transformers import AutoModelForImageClassification

    folder = own_bench / "mubench" / "cifar100-mini-vit-tiny-original-s42"
    AutoModelForImageClassification.from_pretrained(folder, num_labels=7, ignore_mismatched_sizes=True).save_pretrained(
        folder
    )
    edit(folder / "run.json", '"status": "ok"', '"status": "ok"')
    said = refusal([*UNLEARN, "--out", str(own_bench)], capsys)
    assert "num_labels=7, but cifar100-mini has 10 classes" in said


def test_a_checkpoint_of_other_rows_is_not_evaluated(own_bench, capsys):
    folder = own_bench / "mubench" / "cifar100-mini-vit-tiny-original-s42"
    edit(folder / "run.json", '"data_fingerprint": "', '"data_fingerprint": "0')
    said = refusal(["evaluate", str(folder), "--out", str(own_bench)], capsys)
    assert "was made with other rows" in said


def test_an_interrupted_original_is_not_unlearned(own_bench, capsys):
    edit(
        own_bench / "mubench" / "cifar100-mini-vit-tiny-original-s42" / "run.json",
        '"status": "ok"',
        '"status": "running"',
    )
    assert "Run the same `mubench train` again" in refusal([*UNLEARN, "--out", str(own_bench)], capsys)


def test_the_installed_program_prints_no_traceback(tmp_path, offline_env):
    done = subprocess.run(
        [sys.executable, "-m", "mubench_hf.cli", "unlearn", "--task", "cifar100", "--mini", "--method", "scrubb"],
        cwd=tmp_path, env=offline_env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2 and not done.stdout
    assert "Did you mean 'scrub'" in done.stderr and "Traceback" not in done.stderr
