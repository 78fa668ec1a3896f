"""What every metric folder must be, and the three functions that find them."""

import ast
import doctest
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
import types

import pytest
import yaml

from mubench_hf.metrics import get_metric, list_metrics, metric_folder

# What the evaluator can fill in by name; any other parameter needs a default.
CONTEXT = {"logits", "labels", "incompetent_forget_logits", "original_test_score", "chance", "seed"}
CONTEXT |= {f"{group}_{column}" for group in ("forget", "retain", "test") for column in ("logits", "labels", "score")}
# What a kind of task measures of one split besides.
CONTEXT |= {"predictions", "references", "predicted_tokens", "label_tokens"}
CONTEXT |= {"generated_logits", "generated_labels", "generated_features", "real_features"}
CONTEXT |= {"mia_confidence_svc"} | {
    f"retrain_{name}" for name in ("forget_score", "retain_score", "test_score", "mia_confidence_svc")
}

each_metric = pytest.mark.parametrize("name", list_metrics())


def source(name: str) -> str:
    return (metric_folder(name) / f"{name}.py").read_text(encoding="utf-8")


def example(name: str) -> str:
    """The inputs that a metric's app starts with."""
    for node in ast.parse((metric_folder(name) / "app.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "EXAMPLE":
            return ast.literal_eval(node.value)
    raise AssertionError(f"app.py of {name} has no EXAMPLE")


def test_lists_the_folders_in_order():
    names = list_metrics()
    assert names == sorted(names)
    assert {
        "accuracy",
        "average_gap",
        "knowledge_gap",
        "mia_confidence_svc",
        "mia_loss_auc",
        "unlearning_score",
        "zrf",
    } <= {*names}


@pytest.mark.parametrize("find", [get_metric, metric_folder])
@pytest.mark.parametrize("name", ["acuracy", "mia", "", "..", "accuracy/accuracy"])
def test_unknown_name_lists_all(find, name):
    with pytest.raises(ValueError, match=re.escape(f"Unknown metric {name!r}")) as error:
        find(name)
    assert all(known in str(error.value) for known in list_metrics())


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'mia_loss_auc'"):
        get_metric("mia_los_auc")


def test_importing_the_registry_stays_light():
    code = (
        "import sys, mubench_hf.metrics as m; m.list_metrics(); print({'torch', 'evaluate', 'numpy'} & {*sys.modules})"
    )
    root = metric_folder("accuracy").parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@each_metric
def test_module_declares_itself(name):
    module = get_metric(name)
    assert module.DIRECTION in {"higher", "lower", "match_retrained"}
    assert re.fullmatch(r"arXiv \d{4}\.\d{5}", module.SOURCE)
    low, high = module.RANGE
    assert low < high
    assert module.__doc__ and "\n" not in module.__doc__
    function = getattr(module, name)
    assert all(part in function.__doc__ for part in ("Args:", "Returns:", "Raises:", module.SOURCE))
    for parameter in inspect.signature(function).parameters.values():
        assert parameter.name in CONTEXT or parameter.default is not parameter.empty, parameter
        assert f"        {parameter.name}: " in function.__doc__, parameter


@each_metric
def test_module_stands_alone_with_one_package_an_import(name):
    requirements = {line.split(">=")[0] for line in (metric_folder(name) / "requirements.txt").read_text().split()}
    imported = set()
    for node in ast.walk(ast.parse(source(name))):
        if isinstance(node, ast.Import):
            assert len(node.names) == 1, ast.unparse(node)
            imported.add(node.names[0].name.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, ast.unparse(node)
            imported.add(node.module.split(".")[0])
    assert imported <= {"collections", "datasets", "evaluate", "numpy", "rouge_score", "scipy", "sklearn"}
    imported -= {"collections"}
    assert {
        {"sklearn": "scikit-learn", "rouge_score": "rouge-score"}.get(package, package) for package in imported
    } == requirements


def test_copies_of_a_helper_agree():
    """Each module must stand alone, so input checks are repeated; they must not drift apart."""
    texts = {}
    for name in list_metrics():
        for node in ast.parse(source(name)).body:
            if isinstance(node, ast.FunctionDef) and re.match("_check_|_by_group$", node.name):
                texts.setdefault(node.name, {}).setdefault(ast.unparse(node), []).append(name)
    assert {"_check_logits", "_check_labels", "_check_share", "_by_group"} <= texts.keys()
    assert {helper: list(copies.values()) for helper, copies in texts.items() if len(copies) > 1} == {}


@each_metric
def test_card_describes_the_space_and_the_metric(name):
    _, front, card = (metric_folder(name) / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    module = get_metric(name)
    assert yaml.safe_load(front) == {
        "title": name,
        "tags": ["evaluate", "metric", "machine-unlearning"],
        "sdk": "gradio",
        "sdk_version": "6.0.0",
        "app_file": "app.py",
        "pinned": False,
    }
    for heading in ("Inputs", "Output", "Example", "Source", "Limitations"):
        assert f"\n## {heading}\n" in card
    assert module.SOURCE in card
    low, high = module.RANGE
    assert f"[{low:g}, {high:g}]" in card
    features = get_metric_class(module)(cache_dir=None)._info().features
    assert all(f"`{column}`" in card for column in features)


def get_metric_class(module) -> type:
    (metric,) = (
        value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__
    )
    return metric


@each_metric
def test_example_of_the_card_runs_and_gives_what_it_shows(name):
    card = (metric_folder(name) / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", card, flags=re.DOTALL)[1]
    assert f'evaluate.load("mubench/{name}")' in code
    code = code.replace(f"mubench/{name}", str(metric_folder(name)))
    test = doctest.DocTestParser().get_doctest(code, {}, name, None, None)
    assert test.examples[-1].want
    report = []
    assert doctest.DocTestRunner().run(test, out=report.append).failed == 0, "".join(report)


@each_metric
def test_app_computes_its_example(name, monkeypatch):
    """Without Gradio itself: the parts the app uses are replaced by ones that keep what they were given."""

    def keep(*args, **kwargs):
        return types.SimpleNamespace(args=args, **kwargs)

    fake = types.SimpleNamespace(Interface=keep, Code=keep, JSON=keep, Error=RuntimeError)
    monkeypatch.setitem(sys.modules, "gradio", fake)
    spec = importlib.util.spec_from_file_location(f"app_of_{name}", metric_folder(name) / "app.py")
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    value = app.demo.fn(app.demo.inputs.args[0])[name]
    low, high = get_metric(name).RANGE
    assert isinstance(value, float) and low <= value <= high
    assert app.demo.title == name and app.demo.description == get_metric(name).__doc__
    assert f"# {name}" in app.demo.article and "sdk_version" not in app.demo.article
    with pytest.raises(RuntimeError):
        app.demo.fn('{"predictions": ')


def test_evaluate_loads_all_offline_without_the_package(load, tmp_path):
    """In a process that knows only the folders, with empty caches and no Hub, the results are the same."""
    examples = {str(metric_folder(name)): json.loads(example(name)) for name in list_metrics()}
    code = (
        "import evaluate, json, sys\n"
        "examples = json.loads(sys.stdin.read())\n"
        "results = {folder: evaluate.load(folder).compute(**inputs) for folder, inputs in examples.items()}\n"
        "print(json.dumps([results, any(name.startswith('mubench_hf') for name in sys.modules)]))\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH" and not key.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(examples),
        env={**environment, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    results, package_imported = json.loads(done.stdout.splitlines()[-1])
    assert not package_imported
    assert results == {folder: load(os.path.basename(folder)).compute(**inputs) for folder, inputs in examples.items()}
    assert all(value is not None for result in results.values() for value in result.values())
