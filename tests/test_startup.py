"""What needs no model answers at once: torch and its companions are imported only when something is to be run.

Imports are counted, not seconds: those say it on any machine, however busy.
"""

import json
import subprocess
import sys

import pytest

HEAVY = {
    "torch",
    "transformers",
    "datasets",
    "evaluate",
    "accelerate",
    "peft",
    "scipy",
    "sklearn",
    "pandas",
    "pyarrow",
    "matplotlib",
}
"""Packages that take long to import."""

UNLEARN = ["unlearn", "--task", "cifar100", "--mini", "--method"]

COMMANDS = """
import contextlib, io, json, sys
from mubench_hf.cli import main
told = []
for argv in json.loads(sys.argv[1]):
    sys.argv = ["mubench", *argv]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        else:
            code = 0
    told.append([code, sorted(sys.modules), said.getvalue()])
print(json.dumps(told))
"""
"""Runs one command after the other, and tells how each ended and what was imported by then."""

ANSWERED = [
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
    (["table", "nowhere"], 2),
    (["evaluate"], 2),
    (["evaluate", "nowhere/at/all"], 2),
    (["audit"], 2),
    (["audit", "nowhere/at/all"], 2),
    (["audit", "org/name", "--parts", "relern"], 2),
    (["evaluate", "--metrics", "accurcy", "--", "org/name"], 2),
    (["publish", "modell", "x"], 2),
    (["publish", "model", "nowhere"], 2),
    (["publish", "metric", "accurcy"], 2),
    (["publish", "space", "deno"], 2),
    (["publish", "dataset", "cifar10", "--mini"], 2),
    (["submit"], 2),
    (["submit", "nowhere"], 2),
    (["submit", "--verify", "nowhere"], 2),
    (["demo", "--no_brower"], 2),
]
"""Commands that are answered without work, and how they end."""


def told(commands, env, folder):
    """Return how each command ended, the heavy packages that were imported by then, and what it said."""
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [(ended, HEAVY & set(modules), said) for ended, modules, said in json.loads(done.stdout)]


def test_answers_come_at_once(offline_env, tmp_path):
    answers = told([argv for argv, _ in ANSWERED], offline_env, tmp_path)
    for (argv, code), (ended, heavy, said) in zip(ANSWERED, answers, strict=True):
        assert ended == code, (argv, said)
        assert not heavy, (argv, said)
    assert not list(tmp_path.iterdir())


def test_a_table_of_finished_results_is_shown_at_once(every_method, offline_env):
    """No score is missing, so no metric is imported to compute it."""
    ((ended, heavy, said),) = told([["table", str(every_method)]], offline_env, every_method)
    assert ended == 0 and "seed 5" in said
    assert not heavy


def test_names_are_looked_up_at_once(offline_env):
    code = (
        "import sys, mubench_hf as m; m.list_methods(); m.list_metrics(); m.get_task(m.list_tasks()[0]);"
        "m.get_model(m.list_models()[0]); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=offline_env, capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


@pytest.mark.slow
def test_the_check_sees_a_heavy_import(offline_env, tmp_path):
    """The settings of a method are those of ``TrainingArguments`` too, and to show them takes torch."""
    ((ended, heavy, _),) = told([[*UNLEARN, "scrub", "--help"]], offline_env, tmp_path)
    assert ended == 0 and {"torch", "transformers"} <= heavy
