import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import mubench_hf
from mubench_hf.runs import environment

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package file in a fresh repository with one commit; the package is not tracked yet."""
    subprocess.run([*GIT, "init", "-q", tmp_path], check=True)
    file = tmp_path / "pkg" / "__init__.py"
    file.parent.mkdir()
    file.write_text("")
    subprocess.run([*GIT, "commit", "-qm", "empty", "--allow-empty"], cwd=tmp_path, check=True)
    monkeypatch.setattr(mubench_hf, "__file__", str(file))
    return file


def test_versions_and_processor():
    hardware, versions = environment.describe_environment()
    assert versions["numpy"] == importlib.metadata.version("numpy")
    assert versions["python"] == platform.python_version()
    assert versions.keys() == {"python", *environment.PACKAGES}
    assert 1 <= hardware["cpu_count"] <= os.cpu_count()
    assert hardware["cpu"].strip()


def test_packages_that_are_not_installed_are_none(monkeypatch):
    monkeypatch.setattr(environment, "PACKAGES", ("surely-not-installed-anywhere",))
    assert environment.describe_environment()[1]["surely-not-installed-anywhere"] is None


def test_commit_of_a_checkout(package):
    subprocess.run([*GIT, "add", "-A"], cwd=package.parent, check=True)
    subprocess.run([*GIT, "commit", "-qm", "add"], cwd=package.parent, check=True)
    log = subprocess.run(["git", "log", "-1", "--format=%H"], cwd=package.parent, capture_output=True, text=True)
    assert environment.git_commit() == log.stdout.strip()
    assert len(environment.git_commit()) == 40


def test_an_installed_copy_inside_another_repository_has_no_commit(package):
    assert environment.git_commit() is None


def test_no_commit_without_git(package, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment.git_commit() is None


def test_results_import_neither_torch_nor_any_trainer():
    modules = ("runs.result", "runs.store", "results.aggregate", "results.tables", "results.plots")
    code = "; ".join(f"import mubench_hf.{name}" for name in modules)
    code += "; import sys, mubench_hf.runs.environment as environment; environment.describe_environment()"
    code += "; print([n for n in sys.modules if n.startswith(('torch', 'mubench_hf.trainers.', 'matplotlib.pyplot'))])"
    root = str(Path(environment.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": root}
    )
    assert done.stdout.strip() == "[]"
