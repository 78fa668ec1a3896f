"""What every metric must be: contracts over the registry, which no name of a metric stands in."""

import ast
import doctest
import importlib.util
import inspect
import json
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import evaluate
import pytest
from hub import WRITER
from huggingface_hub import RepoCard

from mubench_hf.hub import metric_bundle
from mubench_hf.hub.publish import Publisher
from mubench_hf.metrics import declared_metrics, get_metric, metric_card_file, metric_file, metrics_by_score
from mubench_hf.metrics.parameters import PARAMETERS, legal_parameters, parameter_table

ROOT = Path(__file__).parents[2]
NAMES = list(declared_metrics())
HELPERS = {"answers", "attacks", "checks", "populations"}
each_metric = pytest.mark.parametrize("name", NAMES)


def example(name: str) -> dict:
    """Return the inputs of a card's example."""
    steps = doctest.DocTestParser().get_examples(metric_card_file(name).read_text(encoding="utf-8"))
    calls = [node for step in steps for node in ast.walk(ast.parse(step.source)) if isinstance(node, ast.Call)]
    (call,) = (node for node in calls if getattr(node.func, "attr", None) == "compute")
    return {argument.arg: ast.literal_eval(argument.value) for argument in call.keywords}


def test_files_that_declare_a_metric_are_found_and_helpers_are_not():
    files = {file.stem for file in metric_file(NAMES[0]).parent.glob("*.py") if "DIRECTION = " in file.read_text()}
    assert sorted(NAMES) == NAMES and {*NAMES} == files - {"_metric"} and not {*HELPERS, "parameters"} & {*NAMES}


@pytest.mark.parametrize("find", [get_metric, metric_file])
@pytest.mark.parametrize("name", ["acuracy", "mia", "", "checks", "accuracy/accuracy"])
def test_unknown_name_lists_all(find, name):
    with pytest.raises(ValueError, match=re.escape(repr(name))) as error:
        find(name)
    assert all(known in str(error.value) for known in NAMES)


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'mia_loss_auc'"):
        get_metric("mia_los_auc")


def test_facts_and_typos_need_no_heavy_package():
    code = (
        "import sys\n"
        "from mubench_hf.commands.list import metric_rows\n"
        "from mubench_hf.metrics import get_metric, metrics_by_score\n"
        "assert len(metric_rows()) > 10 and metrics_by_score()\n"
        "try: get_metric('zfr')\n"
        "except ValueError: print({'torch', 'evaluate', 'datasets', 'numpy'} & {*sys.modules})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@each_metric
def test_metric_declares_itself(name):
    metric = get_metric(name)
    metric.check(metrics_by_score())
    assert re.fullmatch(r"arXiv \d{4}\.\d{5}", metric.source) and metric.doc == metric.load().__doc__
    text = metric.compute.__doc__
    assert all(part in text for part in ("Args:", "Returns:", "Raises:", metric.source))
    for parameter in inspect.signature(metric.compute).parameters.values():
        assert f"        {parameter.name}: " in text, parameter
    if metric.row_scores:
        assert inspect.signature(metric.row_scores).parameters == inspect.signature(metric.compute).parameters


@pytest.mark.parametrize("name", sorted(declared_metrics()))
def test_parameters_are_read_from_the_source_as_python_reads_them(name):
    metric = get_metric(name)
    read = [(each.name, each.kind, each.default is each.empty) for each in metric.declared.parameters.values()]
    real = inspect.signature(metric.compute).parameters.values()
    assert read == [(each.name, each.kind, each.default is each.empty) for each in real]


def test_columns_of_runs_have_a_title_and_a_place_of_their_own():
    of_runs = [metric for metric in map(get_metric, NAMES) if not metric.of_split]
    assert all(metric.place < float("inf") and metric.header != metric.key for metric in of_runs)
    assert len({metric.place for metric in of_runs}) == len({metric.header for metric in of_runs}) == len(of_runs)


def test_every_legal_parameter_is_of_use():
    """A row of the table that no metric asks for is either a mistake or needs a metric."""
    known = metrics_by_score()
    asked = {legal_parameters(known)[name].name for metric in known.values() for name in metric.parameters}
    of_splits = {each.name for each in PARAMETERS if each.of == "one split"}
    assert of_splits <= asked and {"seed", "chance", "method", "{split}_correctness", "retrain_{metric}"} <= asked


def test_the_documented_table_is_the_one_in_the_code():
    assert parameter_table() in (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"), (
        "run: python -m mubench_hf.commands.list docs/metrics.md"
    )


@each_metric
def test_module_stands_alone_with_one_package_an_import(name):
    space = metric_file(name).parent / "_space" / "requirements.txt"
    requirements = {line.split(">=")[0] for line in space.read_text().split()}
    imported = set()
    for node in ast.walk(ast.parse(metric_file(name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert len(node.names) == 1, ast.unparse(node)
            imported.add(node.names[0].name.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.level:  # `evaluate` copies what stands beside the metric.
            assert node.level == 1 and node.module in (*HELPERS, *NAMES), ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    renamed = {"sklearn": "scikit-learn", "rouge_score": "rouge-score"}
    assert {renamed.get(package, package) for package in imported - sys.stdlib_module_names} <= requirements


@each_metric
def test_card_describes_the_space_and_the_metric(name):
    metric, card = get_metric(name), RepoCard(metric_bundle(name).files["README.md"].decode())
    assert card.data.to_dict() == {
        "title": name,
        "tags": ["evaluate", "metric", "machine-unlearning"],
        "sdk": "gradio",
        "sdk_version": "6.0.0",
        "app_file": "app.py",
        "pinned": False,
    }
    for heading in ("Inputs", "Output", "Example", "Source", "Limitations"):
        assert f"\n## {heading}\n" in card.text
    low, high = metric.range
    assert (
        card.text.lstrip().startswith(f"# {name}\n")
        and metric.source in card.text
        and f"[{low:g}, {high:g}]" in card.text
    )
    (face,) = (
        each for each in vars(metric.load()).values() if isinstance(each, type) and issubclass(each, evaluate.Metric)
    )
    assert all(f"`{column}`" in card.text for column in face(cache_dir=None)._info().features)


@each_metric
def test_example_of_the_card_runs_and_gives_what_it_shows(name):
    code = re.search(r"```python\n(.*?)```", metric_card_file(name).read_text(encoding="utf-8"), flags=re.DOTALL)[1]
    assert f'evaluate.load("mubench/{name}")' in code
    test = doctest.DocTestParser().get_doctest(
        code.replace(f"mubench/{name}", str(metric_file(name))), {}, name, None, None
    )
    assert test.examples[-1].want
    report = []
    assert doctest.DocTestRunner().run(test, out=report.append).failed == 0, "".join(report)


@each_metric
def test_app_computes_the_example_of_the_card(name, monkeypatch, tmp_path):
    """From the files of the Space, without Gradio itself: its parts are replaced by ones that keep what they get."""

    def keep(*args, **kwargs):
        return types.SimpleNamespace(args=args, **kwargs)

    fake = types.SimpleNamespace(Interface=keep, Code=keep, JSON=keep, Error=RuntimeError)
    monkeypatch.setitem(sys.modules, "gradio", fake)
    for path, content in metric_bundle(name).files.items():
        (tmp_path / path).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    spec = importlib.util.spec_from_file_location(f"app_of_{name}", tmp_path / "app.py")
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    assert json.loads(app.demo.inputs.args[0]) == example(name)
    value = app.demo.fn(app.demo.inputs.args[0])[name]
    low, high = get_metric(name).range
    assert isinstance(value, float) and low <= value <= high
    assert app.demo.title == name and app.demo.description == get_metric(name).doc
    assert f"# {name}" in app.demo.article and "sdk_version" not in app.demo.article
    with pytest.raises(RuntimeError):
        app.demo.fn('{"predictions": ')


LOAD = """
import evaluate, json, sys
examples = json.loads(sys.stdin.read())
results = {where: evaluate.load(where).compute(**inputs) for where, inputs in examples.items()}
print(json.dumps([results, any(name.startswith("mubench_hf") for name in sys.modules)]))
"""


@pytest.mark.slow
def test_evaluate_loads_files_folders_and_spaces_without_the_package(hub, hub_env, load, tmp_path, monkeypatch):
    """It copies what a metric imports from beside it. Only a Space needs the Hub; the cache is empty."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    where = {str(metric_file(name)): name for name in NAMES}
    parts = {name: {path for path in metric_bundle(name).files if path.endswith(".py")} - {"app.py"} for name in NAMES}
    files_of_metrics = {f"{name}.py" for name in NAMES}
    kinds = lambda name: (len(parts[name]), len(parts[name] & files_of_metrics))  # noqa: E731
    # The last one with the checks alone, with another helper, and with another metric.
    spaces = [[name for name in NAMES if kinds(name) == kind][-1] for kind in ((2, 1), (3, 1), (3, 2))]
    for name in spaces:
        folder = tmp_path / name
        folder.mkdir()
        for file in parts[name]:
            shutil.copy(metric_file(name).with_name(file), folder)
        where |= {str(folder): name, f"mubench/{name}": name}
    Publisher(endpoint=hub.url, token=WRITER).publish([metric_bundle(name) for name in spaces])
    for name in spaces:
        files = hub.repos["space", f"mubench/{name}"].at("main")[1]
        assert {*files} - {".gitattributes"} == {*parts[name], "README.md", "app.py", "requirements.txt"}

    hub.requests.clear()
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        input=json.dumps({place: example(name) for place, name in where.items()}),
        env={key: value for key, value in hub_env.items() if key not in ("HF_TOKEN", "PYTHONPATH")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    results, imports_package = json.loads(done.stdout.splitlines()[-1])
    assert not imports_package
    assert all(path.startswith(tuple(f"/spaces/mubench/{name}/" for name in spaces)) for _, path in hub.requests)
    expected = {name: load(name).compute(**example(name)) for name in NAMES}
    assert results == {place: expected[name] for place, name in where.items()}
    assert all(value is not None for result in results.values() for value in result.values())
