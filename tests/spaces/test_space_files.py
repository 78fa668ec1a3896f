"""What a Space is made of besides its app: pinned versions, and apps short enough to be read."""

import ast
import re
from pathlib import Path

import pytest
from huggingface_hub import RepoCard

import mubench_hf

ROOT = Path(__file__).parents[2]
SPACES = sorted(path.name for path in (ROOT / "spaces").iterdir() if path.is_dir())


@pytest.mark.parametrize("name", SPACES)
def test_a_space_pins_what_it_was_tested_with(name):
    folder = ROOT / "spaces" / name
    card = RepoCard.load(folder / "README.md").data
    pinned = re.search(r"^gradio==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)[1]
    assert (card.sdk, card.sdk_version, card.app_file) == ("gradio", pinned, "app.py")
    needed = re.fullmatch(r"mubench_hf\[([a-z,]+)\]==(.+)\n", (folder / "requirements.txt").read_text())
    assert len(card.get("short_description") or "") <= 60, "the Hub refuses longer ones"
    assert "spaces" in needed[1].split(",") and needed[2] == mubench_hf.__version__
    assert len((folder / "app.py").read_text(encoding="utf-8").splitlines()) < 250


def test_both_spaces_are_there():
    assert SPACES == ["demo", "leaderboard"]


@pytest.mark.parametrize("name", ["demo", "hub", "leaderboard", "results"])
def test_what_the_pages_show_imports_no_gradio(name):
    files = sorted((ROOT / "mubench_hf" / name).glob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [each for each in names if each.split(".")[0] == "gradio"], file
