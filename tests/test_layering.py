"""Imports go along the flow of the package, never against it."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mubench_hf
from mubench_hf.metrics import declared_metrics

PACKAGE = Path(mubench_hf.__file__).parent
FLOW = ("errors", "utils", "tasks", "data", "models", "kinds", "trainers", "metrics", "runs", "results", "hub",
        "leaderboard", "demo", "commands", "scripts", "cli")  # fmt: skip
NEVER = {("trainers", "metrics"), ("metrics", "tasks"), ("metrics", "data"), ("metrics", "models"),
         ("metrics", "kinds"), ("metrics", "trainers")}  # fmt: skip
METRIC_HELPERS = ("answers", "attacks", "checks", "populations")


def layer(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "mubench_hf" and len(parts) > 1 else None


BESIDE = {*METRIC_HELPERS, *declared_metrics()}
"""What a metric may import from beside it: the helpers, and other metrics."""


def imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            # `evaluate` copies what a metric imports from beside it; nothing else needs a relative import.
            beside = file.parent == PACKAGE / "metrics" and node.level == 1 and node.module in BESIDE
            assert node.level == 0 or beside, f"{file}: relative import"
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def violations(here: str, modules: set[str]) -> set[str]:
    """Return the imports of layer ``here`` that go against the flow."""
    layers = {module: layer(module) for module in modules}
    return {
        module
        for module, there in layers.items()
        if there in FLOW and (FLOW.index(there) > FLOW.index(here) or (here, there) in NEVER)
    }


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_follow_the_flow(file):
    if file == PACKAGE / "__init__.py":  # It only names what is imported later; test_face.py says when.
        return
    here = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert here in FLOW, f"{here} has no place in the flow yet: add it to FLOW"
    assert not violations(here, imported(file))


@pytest.mark.parametrize(
    ("here", "module"),
    [("data", "mubench_hf.models.loading"), ("trainers", "mubench_hf.metrics.zrf"), ("metrics", "mubench_hf.tasks.x")],
)
def test_the_check_can_fail(here, module):
    assert violations(here, {module}) == {module}


def test_metrics_stand_alone():
    """`evaluate` copies a metric's file away, so it imports nothing of the package but what stands beside it."""
    metrics = [PACKAGE / "metrics" / f"{helper}.py" for helper in METRIC_HELPERS]
    metrics += [PACKAGE / "metrics" / "_space" / "app.py"]
    metrics += [declared.file for declared in declared_metrics().values()]
    for file in metrics:
        assert not [module for module in imported(file) if layer(module)], file


def room(file: Path) -> str:
    """Return the folder or the file at the top of the package that a file is in."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_there_are_the_rooms_of_the_flow_and_no_others():
    assert {room(file) for file in FILES} - {"__init__"} == set(FLOW) and len(FLOW) == 16


def check_no_circle(imports: dict[str, set[str]]) -> None:
    """Fail if rooms import each other, be it by way of others."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        raise AssertionError(f"a circle: {' → '.join(reversed(error.args[1]))}") from error


def test_no_room_imports_itself_through_others():
    """Whatever the flow says: an import of the package's own face would hide what is imported."""
    imports: dict[str, set[str]] = {name: set() for name in FLOW}
    for file in FILES:
        if file == PACKAGE / "__init__.py":
            continue
        modules = imported(file)
        hidden = {module for module in modules if layer(module) and layer(module) not in (*FLOW, "__version__")}
        assert not hidden, f"{file} takes {hidden} from the face; import it from where it is made"
        imports[room(file)] |= {layer(module) for module in modules} & set(FLOW) - {room(file)}
    assert sum(map(len, imports.values())) > len(FLOW), "imports are found"
    check_no_circle(imports)
    with pytest.raises(AssertionError, match="a circle: .* → utils"):
        check_no_circle({**imports, "utils": {"cli"}})


WRITES = {"create_repo", "create_commit", "upload_file", "upload_folder", "upload_large_folder", "push_to_hub",
          "delete_repo", "delete_file", "create_branch", "create_tag", "update_repo_settings"}  # fmt: skip


def calls(source: str) -> set[str]:
    """Return the names of what a module calls, or hands on to be called."""
    tree = ast.parse(source)
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


MAY_NAME = {
    "hub/publish.py": {"create_repo", "create_commit"},
    # Trainer's own push, from a folder with nothing but the model and its card in it.
    "trainers/_pushing.py": {"push_to_hub"},
    # The flag of TrainingArguments.
    "commands/_push.py": {"push_to_hub"},
}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_only_hub_writes_to_a_hub(file):
    found = calls(file.read_text(encoding="utf-8")) & WRITES
    assert found == MAY_NAME.get(file.relative_to(PACKAGE).as_posix(), set())
