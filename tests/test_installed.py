"""What an installed package adds by entry points is listed, marked; what cannot be imported breaks nothing."""

import random
import re

import pytest

from mubench_hf.cli import dispatch
from mubench_hf.commands import list as overview
from mubench_hf.errors import BadInput
from mubench_hf.models import MODELS, get_model, list_models

MODULE = """
from dataclasses import replace
from mubench_hf import ModelSpec, Scale, get_model, get_task
from mubench_hf.trainers.finetune import FinetuneTrainer

TASK = replace(get_task("cifar100"), name="{name}-task", title="Garden")

class Trainer(FinetuneTrainer):
    key, title, source = "{name}-method", "Weeding", "a shed"
    aliases = ()

MODEL = ModelSpec(get_model("vit-tiny").architecture, "{name}", Scale("me/garden", {parameters}, "mit"))
"""


@pytest.fixture
def garden(tmp_path, monkeypatch) -> str:
    """Name of an installed package with a task, a method and a model; beside it stands one that cannot be imported."""
    name = f"garden{random.randrange(10**6)}"
    (tmp_path / f"{name}.py").write_text(MODULE.format(name=name, parameters=random.randrange(10**7, 10**8)))
    (tmp_path / f"{name}_broken.py").write_text("import there_is_no_such_module\n")
    things = {"task": "TASK", "method": "Trainer", "model": "MODEL"}
    for folder, lines in {
        name: {what: f"{name}-{what} = {name}:{where}" for what, where in things.items()}
        | {"model": f"vit-{name} = {name}:MODEL"},
        f"{name}_broken": {what: f"{name}-broken-{what} = {name}_broken:{where}" for what, where in things.items()},
    }.items():
        made = tmp_path / f"{folder}-1.0.dist-info"
        made.mkdir()
        (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {folder}\nVersion: 1.0\n")
        points = "".join(f"[mubench_hf.{what}s]\n{line}\n" for what, line in lines.items())
        (made / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.parametrize(
    ("what", "key", "title"),
    [("task", "{}-task", "Garden"), ("method", "{}-method", "Weeding"), ("model", "vit-{}", "ViT")],
)
def test_installed_things_are_listed(what, key, title, garden, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    header, *rows = overview.TABLES[f"{what}s"]()
    by_name = {row[0]: row for row in rows}
    assert by_name[key.format(garden)][1] == f"{title} (external)"
    broken = by_name[f"{garden}-broken-{what}"]
    assert broken[1].startswith("(external) ") and "No module named 'there_is_no_such_module'" in broken[1]
    assert all(len(row) == len(header) for row in rows)
    own = [row for row in rows if garden not in row[0]]
    assert len(own) == len(rows) - 2 and not any("external" in cell for row in own for cell in row)
    dispatch(["list", f"{what}s"])
    printed = capsys.readouterr().out
    assert re.search(rf"{key.format(garden)} .*{title} \(external\)", printed)
    assert re.search(rf"{garden}-broken-{what} .*there_is_no_such_module", printed)
    assert all(row[0] in printed for row in own)


def test_the_readme_shows_the_packages_own_alone(garden):
    for name in ("tasks", "methods", "models"):
        assert garden not in overview.markdown(name)


def test_an_installed_model_is_one_like_any_other(garden):
    model = get_model(f"vit-{garden}")
    assert model.hub_id == "me/garden" and list_models().count(f"vit-{garden}") == 1
    assert MODELS.origin(model).name == f"{garden}:MODEL" and MODELS.origin(get_model("vit-tiny")) is None
    with pytest.raises(BadInput, match="cannot be imported: ModuleNotFoundError"):
        get_model(f"{garden}-broken-model")


def test_a_model_from_a_file_or_by_its_hub_id(tmp_path):
    (tmp_path / "mine.py").write_text(MODULE.format(name="mine", parameters=12_000_000))
    model = get_model(f"{tmp_path}/mine.py:MODEL")
    assert model.name == "vit-mine" and get_model("vit-mine") is model and get_model(model) is model
    assert get_model("google/vit-base-patch16-224-in21k") is get_model("vit-base")
    with pytest.raises(BadInput, match="Did you mean 'vit-base'"):
        get_model("google/vit-base-patch16-22")
