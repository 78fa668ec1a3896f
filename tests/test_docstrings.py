"""Every public name says what it is; what it raises, and a loss's shape, range and source, included."""

import ast
import re
from pathlib import Path

import pytest

import mubench_hf
from mubench_hf.metrics import get_metric, list_metrics
from mubench_hf.trainers import get_method, list_methods

PACKAGE = Path(mubench_hf.__file__).parent
FILES = sorted(file for file in PACKAGE.rglob("*.py") if file.name != "app.py" and file.stat().st_size)


def public(tree: ast.AST, owner: str = "") -> list[tuple[str, ast.AST]]:
    """Return the public functions, classes and methods of a module, with their names."""
    found = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            found.append((f"{owner}{node.name}", node))
            if isinstance(node, ast.ClassDef):
                found += public(node, f"{node.name}.")
    return found


def complaints(source: str) -> list[str]:
    """Return what is missing in a module's docstrings."""
    tree = ast.parse(source)
    missing = [] if ast.get_docstring(tree) else ["module: no docstring"]
    for name, node in public(tree):
        text = ast.get_docstring(node) or ""
        if not text:
            missing.append(f"{name}: no docstring")
        if isinstance(node, ast.FunctionDef):
            raises = [child for child in ast.walk(node) if isinstance(child, ast.Raise) and child.exc is not None]
            if raises and "Raises:" not in text and not name.endswith("__getattr__"):
                missing.append(f"{name}: raises, but does not say what")
    return missing


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_public_names_are_documented(file):
    assert not complaints(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "source",
    ["def f(): pass", '"""M."""\ndef f(): pass', '"""M."""\ndef f():\n    """F."""\n    raise ValueError("x")'],
)
def test_the_check_can_fail(source):
    assert complaints(source)


def losses() -> list[tuple[str, str]]:
    found = []
    for file in sorted((PACKAGE / "trainers").glob("*.py")):
        for name, node in public(ast.parse(file.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.FunctionDef)
                and (name.endswith("_loss") or name.startswith("row_"))
                and "." not in name
            ):
                found.append((name, ast.get_docstring(node)))
    return found


@pytest.mark.parametrize(("name", "text"), losses(), ids=lambda value: value if value.isidentifier() else "")
def test_losses_give_shape_and_range(name, text):
    assert "[rows]" in text or "each row" in text or "per row" in text
    assert re.search(r"at (least|most) 0|unbounded", text), f"{name}: which values can it take?"


@pytest.mark.parametrize("name", list_methods())
def test_methods_give_their_words_and_source(name):
    method = get_method(name)
    for words in (method.title, method.measurement, method.corruption, method.retention, method.source):
        assert words.strip()
    assert re.search(r"arXiv \d{4}\.\d{5}|reference", method.source)


@pytest.mark.parametrize("name", list_metrics())
def test_metrics_give_shape_range_and_source(name):
    text = get_metric(name).compute.__doc__
    assert "Raises" in text and "Returns" in text
    assert re.search(r"\[0, 1\]|0 to 1|between 0 and 1|in [(\[]?0|in [(\[]-?\w+, \w+[)\]]", text), "range"
    assert re.search(r"\[n|\(n|\[layers|shape|single numbers", text), "shapes"
    assert re.search(r"arXiv[ :]\d{4}\.\d{5}", text + get_metric(name).source), "source"
