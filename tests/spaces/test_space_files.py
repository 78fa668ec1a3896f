"""A Space's files agree: one version of Gradio everywhere, a short app, and none of it in the package."""

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SPACES = sorted(path.parent for path in ROOT.glob("spaces/*/app.py"))


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_the_version_of_gradio_is_pinned_once(space):
    _, metadata, body = (space / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    card = yaml.safe_load(metadata)
    (pinned,) = re.findall(r"^gradio==([\d.]+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert card["sdk"] == "gradio" and card["sdk_version"] == pinned and card["title"] and body.strip()
    assert (space / card["app_file"]).is_file()
    assert f"gradio=={pinned}" in (space / "requirements.txt").read_text().splitlines()
    assert len(card.get("short_description", "")) <= 60, "the Hub refuses longer ones"


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_the_app_is_short(space):
    assert len((space / "app.py").read_text(encoding="utf-8").splitlines()) < 250


@pytest.mark.parametrize("name", ["board", "leaderboard", "proposals", "submissions"])
def test_the_logic_imports_no_gradio(name):
    package = ROOT / "mubench_hf"
    files = [*package.glob(f"{name}.py"), *package.glob(f"{name}/*.py")]
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [each for each in names if each.split(".")[0] == "gradio"], file
