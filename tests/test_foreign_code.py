"""No call that reads what others made can run their code: told from the syntax tree, wherever the call stands."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    file for folder in ("mubench_hf", "spaces", "dataset_scripts") for file in sorted((ROOT / folder).rglob("*.py"))
]

SAFE_SPREADS = {"source.pinned", "pinned"}
"""What holds ``trust_remote_code=False`` where it is spread into a call."""

FETCHING = {"hf_hub_download", "snapshot_download"}
NEVER = {"pickle", "cPickle", "joblib", "dill", "cloudpickle", "marshal", "shelve", "dynamic_module_utils"}
"""Modules that run what they read."""


def offences(text: str) -> list[str]:
    """Return what in a program could run what others wrote, or read from a repository that may change meanwhile."""
    tree, found = ast.parse(text), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found += [f"imports {name}" for name in names if set(name.split(".")) & NEVER]
        elif isinstance(node, ast.Call):
            found += [f"line {node.lineno}: {ast.unparse(node)[:90]}: {why}" for why in wrong(node)]
    return found


def wrong(call: ast.Call) -> list[str]:
    function = ast.unparse(call.func)
    name, given = function.rpartition(".")[2], {each.arg: ast.unparse(each.value) for each in call.keywords}
    spread = {ast.unparse(each.value) for each in call.keywords if each.arg is None}
    first, passed = ast.unparse(call.args[0]) if call.args else "", {ast.unparse(each) for each in call.args}
    part = function.startswith(("_class(", "made."))  # Of diffusers: classes named here, of a folder.
    rules = {
        "from_pretrained": given.get("trust_remote_code") == "False" or spread & SAFE_SPREADS or part,
        "from_config": given.get("trust_remote_code") == "False" or first == "config" or part,
        "load_dataset": "revision" in given or first in ("'parquet'", "str(folder.absolute())"),
        "load_metric": False,
        "pipeline": False,
        "read_pickle": False,
        "unsafe_load": False,
        **dict.fromkeys(FETCHING, "revision" in given),
    }
    found = [] if rules.get(name, True) else ["code or another commit than that of the other files may be read"]
    if name == "snapshot_download" or "snapshot_download" in passed:
        found += [] if "allow_patterns" in given else ["any file may be fetched"]
    if passed & FETCHING and "revision" not in given:
        found.append("no commit")
    dotted = {
        "np.load": given.get("allow_pickle") == "False",
        "numpy.load": given.get("allow_pickle") == "False",
        "torch.load": given.get("weights_only") == "True",
        "yaml.load": False,
        "evaluate.load": first.startswith("str("),
    }
    found += [] if dotted.get(function, True) else ["a pickle, or a file of others, may be run"]
    if given.get("trust_remote_code", "False") != "False" or given.get("allow_pickle", "False") != "False":
        found.append("it is allowed here")
    found += ["it runs text"] if function in ("eval", "exec", "os.system") else []
    return found


def test_nothing_read_is_run():
    found = {file.relative_to(ROOT).as_posix(): offences(file.read_text(encoding="utf-8")) for file in FILES}
    assert {file: each for file, each in found.items() if each} == {}


def test_no_literal_asks_for_code():
    """The arguments may also be put together elsewhere, before they are spread into a call."""
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                pairs = {
                    getattr(key, "value", None): ast.unparse(value)
                    for key, value in zip(node.keys, node.values, strict=True)
                }
                assert pairs.get("trust_remote_code", "False") == "False", file
                assert pairs.get("weights_only", "True") == "True", file


@pytest.mark.parametrize(
    "text",
    [
        "AutoModel.from_pretrained(name)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "AutoModel.from_pretrained(name, **kwargs)",
        "AutoTokenizer.from_pretrained(folder, revision=commit)",
        "load_dataset(name)",
        "load_dataset(name, 'plain_text', trust_remote_code=True, revision=commit)",
        "hf_hub_download(repo, name)",
        "ask(hf_hub_download, repo, name)",
        "snapshot_download(repo, revision=commit)",
        "np.load(file)",
        "np.load(file, allow_pickle=True)",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "evaluate.load('someone/metric')",
        "pipeline('text-generation', model=name)",
        "import joblib",
        "from transformers.dynamic_module_utils import get_class_from_dynamic_module",
        "yaml.load(text)",
    ],
)
def test_a_call_that_might_is_found(text):
    assert offences(text)
