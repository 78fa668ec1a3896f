"""A copy of this tree that a test may add files to, as a contributor would, and whose tests it runs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ADDED = ROOT / "tests" / "added"
PARTS = ("mubench_hf", "tests", "model_cards", "dataset_scripts", "spaces", "docs", "CONTRIBUTING.md", "LICENSE",
         "README.md", "RESULTS.md", "pyproject.toml", "constraints.txt")  # fmt: skip


class Tree:
    """A copy of what the package and its tests are made of, in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in PARTS:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, folder / name)

    def add(self, name: str, place: str) -> None:
        """Add a file of ``tests/added`` at its place in the tree."""
        assert not (self.folder / place).exists(), "only new files are added"
        shutil.copy(ADDED / name, self.folder / place)

    def python(self, *arguments: str) -> str:
        """Run Python on the copy and return what it prints; it may not fail."""
        env = {**os.environ, "PYTHONPATH": str(self.folder), "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return done.stdout

    def test(self, about: str, *places: str) -> str:
        """Run the copy's tests whose names match, and return their names and outcomes."""
        return self.python("-m", "pytest", "-v", "-p", "no:cacheprovider", *(places or ["tests"]), "-k", about)
