"""A method is one file and one test: added to a copy of the tree, they leave every test of methods green."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ADDED = ROOT / "tests" / "added"
PARTS = ("mubench_hf", "tests/trainers", "tests/kinds", "tests/conftest.py", "tests/formulas.py", "tests/methods.py",
         "tests/hub.py", "tests/hub_store.py", "tests/test_docstrings.py", "tests/test_layering.py",
         "model_cards", "pyproject.toml")  # fmt: skip


@pytest.mark.slow
def test_a_method_and_its_test_are_two_files(tmp_path):
    for name in PARTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    shutil.copy(ADDED / "npo.py", tmp_path / "mubench_hf" / "trainers" / "npo.py")
    shutil.copy(ADDED / "tests_of_npo.py", tmp_path / "tests" / "trainers" / "test_npo.py")
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    # Whatever runs over methods, and whatever looks at all of them or at their files.
    about = "(npo or registry or private_hooks) and not added_method"
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "tests", "-k", about]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    for contract in ("test_ends_in_the_same_weights[npo]", "test_evaluation_loss[npo]", "test_rows_of_each_epoch[npo]",
                     "test_one_batch_or_two_accumulated[npo]", "test_a_method_says_what_it_is[npo]",
                     "test_npo.py::test_loss_of_every_update"):  # fmt: skip
        assert contract in done.stdout, "the contracts find the new method by themselves"
