"""The command line, `accelerate launch` and Python make the same weights, bit for bit; two processes work too."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from processes import run_python, run_together

from mubench_hf.runs.pipeline import PAPER_METHODS

pytestmark = pytest.mark.slow  # each start of a program of one's own imports torch

FLAGS = ["--task", "cifar100", "--mini", "--out", ".", "--seed", "11", "--original_seed", "42",
         "--num_train_epochs", "2", "--per_device_train_batch_size", "64",
         "--disable_tqdm", "true"]  # fmt: skip
UNSCORED = ["--evaluate", "false"]
BIN = Path(sys.executable).parent
MUBENCH = "from mubench_hf.cli import main; main()"
SCRIPT = "import mubench_hf.scripts.unlearn as script; script.exit_with(script.main)"


def start(command: list[str], folder: Path, env: dict) -> str:
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def only(folder: Path, pattern: str) -> Path:
    """Return the one path of a folder that has such a name."""
    (path,) = folder.glob(pattern)
    return path


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def in_python(method: str, bench: Path, out: Path) -> None:
    """Unlearn as a user's own program would, from what the benchmark wrote."""
    from datasets import load_dataset
    from transformers import AutoModelForImageClassification, AutoProcessor

    from mubench_hf import get_method, get_task
    from mubench_hf.data.prepare import prepare_rows

    task, trainer_class = get_task("cifar100"), get_method(method)
    original = str(bench / "mubench" / "cifar100-mini-vit-tiny-original-s42")
    splits = load_dataset(str(bench / "mubench" / "cifar100-mini"), "df_5pct")
    processor = AutoProcessor.from_pretrained(original, backend="pil")
    settings = {**task.mini.settings, **task.mini.presets[method]}
    settings |= {"num_train_epochs": 2, "per_device_train_batch_size": 64}
    trainer = trainer_class(
        AutoModelForImageClassification.from_pretrained(original),
        trainer_class.config_class(output_dir=str(out / "states"), seed=11, disable_tqdm=True, **settings),
        forget_dataset=prepare_rows(splits["forget"], task, processor),
        retain_dataset=prepare_rows(splits["retain"], task, processor),
    )
    trainer.train()
    trainer.model.save_pretrained(out)


@pytest.mark.parametrize("method", PAPER_METHODS)
def test_three_ways_make_the_same_weights(method, own_bench, tmp_path, offline_env):
    done = run_python(MUBENCH, "unlearn", "--method", method, *FLAGS, *UNSCORED, env=offline_env, cwd=own_bench)
    assert done.returncode == 0, done.stderr
    launch = [str(BIN / "accelerate"), "launch", "--num_processes", "1", "-m", "mubench_hf.scripts.unlearn"]
    start([*launch, "--method", method, *FLAGS, *UNSCORED, "--output_dir", "launched"], own_bench, offline_env)
    in_python(method, own_bench, tmp_path)
    by_name = weights(only(own_bench / "mubench", f"cifar100-mini-vit-tiny-{method}-df5pct-s11-x*"))
    assert by_name == weights(own_bench / "launched") == weights(tmp_path)
    assert by_name != weights(own_bench / "mubench" / "cifar100-mini-vit-tiny-original-s42")


SHARED = ["--method", "scrub", *FLAGS, "--use_cpu"]
TORCHRUN = [str(BIN / "torchrun"), "--nproc_per_node", "2", "--master_port", "0", "--rdzv_backend", "c10d",
            "--rdzv_endpoint", "localhost:0", "-m", "mubench_hf.scripts.unlearn"]  # fmt: skip


def check_shared(out: Path) -> None:
    record = json.loads((only(out / "mubench", "cifar100-mini-vit-tiny-scrub-*") / "run.json").read_text())
    assert record["world_size"] == 2 and record["status"] == "ok"
    result = json.loads(only(out / "results", "cifar100-mini-vit-tiny-scrub-*.json").read_text())
    assert result["world_size"] == 2 and 0 < result["scores"]["test_accuracy"] < 1


def test_torchrun_starts_two_processes(own_bench, offline_env):
    start([*TORCHRUN, *SHARED], own_bench, offline_env)
    check_shared(own_bench)


@pytest.mark.parametrize("wrong", [["--use_cpu", "false"], ["--use_cpu", "--learning_rate", "-1"]])
def test_what_two_processes_refuse_is_said_once(wrong, own_bench, offline_env):
    before = sorted(own_bench.rglob("*"))
    done = run_together(SCRIPT, *SHARED[:-1], *wrong, env=offline_env, cwd=own_bench)
    assert [each.returncode for each in done] == [2, 2] and not any(each.stdout for each in done)
    (line,) = "".join(each.stderr for each in done).splitlines()
    assert ("WORLD_SIZE is 2" if "false" in wrong else "learning_rate is -1") in line
    assert sorted(own_bench.rglob("*")) == before
