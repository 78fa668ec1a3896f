"""What needs no model answers at once: torch and its companions are imported only when something is to be run."""

import json
import resource
import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "datasets", "evaluate"}
UNLEARN = ["unlearn", "--task", "cifar100", "--mini", "--method"]

COMMAND = """
import json, sys
from mubench_hf.cli import main
sys.argv[0] = "mubench"
try:
    main()
except SystemExit as end:
    code = end.code or 0
else:
    code = 0
sys.stdout.flush()
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def cpu_seconds() -> float:
    """Return what this process's ended children have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--help"], 0),
        (["list", "methods"], 0),
        (["list", "tasks"], 0),
        (["list", "models"], 0),
        (["unlearn", "--help"], 0),
        (["unlern"], 2),
        ([*UNLEARN, "scrubb"], 2),
        ([*UNLEARN, "scrub", "--model", "vit-tin"], 2),
        ([*UNLEARN, "scrub", "--del_ratio", "12"], 2),
        ([*UNLEARN, "scrub", "--evaluate", "perhaps"], 2),
        (["unlearn", "--task", "cifar10", "--method", "scrub"], 2),
        (["train", "--task", "cifar100", "--mini", "--model", "vit-tin"], 2),
        (["run", "cifar100", "--methods", "scrubb"], 2),
        (["run", "cifar100", "--del_ratio", "12"], 2),
        (["run", "cifar10"], 2),
        (["build", "cifar10"], 2),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else None,
)
def test_an_answer_comes_at_once(argv, code, offline_env, tmp_path):
    before = cpu_seconds()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *argv], cwd=tmp_path, env=offline_env, capture_output=True, text=True
    )
    used = cpu_seconds() - before
    ended, modules = json.loads(done.stderr.splitlines()[-1])
    assert ended == code, done.stderr
    assert not HEAVY & set(modules)
    assert used < 1, f"{used:.2f} s of CPU"


def test_names_are_looked_up_at_once(offline_env):
    code = (
        "import sys, mubench_hf as m; m.list_methods(); m.list_metrics(); m.get_task(m.list_tasks()[0]);"
        "m.get_model(m.list_models()[0]); print(*sys.modules)"
    )
    before = cpu_seconds()
    done = subprocess.run([sys.executable, "-c", code], env=offline_env, capture_output=True, text=True, check=True)
    assert cpu_seconds() - before < 1
    assert not HEAVY & set(done.stdout.split())


@pytest.mark.slow
@pytest.mark.slow
def test_the_check_sees_a_heavy_import(offline_env):
    """The settings of a method are those of ``TrainingArguments`` too, and to show them takes torch."""
    argv = [*UNLEARN, "scrub", "--help"]
    done = subprocess.run([sys.executable, "-c", COMMAND, *argv], env=offline_env, capture_output=True, text=True)
    ended, modules = json.loads(done.stderr.splitlines()[-1])
    assert ended == 0 and "torch" in modules and "transformers" in modules
