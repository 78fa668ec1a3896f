"""Any model works for a task: a folder as `save_pretrained` writes it, under its own name and nobody else's."""

from __future__ import annotations

import json
import shutil

import pytest
from conftest import QUICK

from mubench_hf.cli import dispatch
from mubench_hf.errors import BadInput
from mubench_hf.models.foreign import resolve_model, weights_digest
from mubench_hf.results.aggregate import aggregate
from mubench_hf.runs.record import load_record
from mubench_hf.runs.setup import make_setup
from mubench_hf.runs.store import load_results
from mubench_hf.tasks import get_task


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_local_model_runs_a_registered_task_under_its_name(tiny_vit, outside, mubench):
    model = tiny_vit("my-vit", num_labels=10)
    flags = ["run", "cifar100", "--mini", "--methods", "finetune", "--seeds", "1", "--out", "out"]
    assert "my-vit · 5% deleted · seed 1" in mubench(*flags, "--model", model)
    runs = {run.method: run for run in load_results("out/results")}
    assert {run.model for run in runs.values()} == {"my-vit"} and runs.keys() == {"original", "retrain", "finetune"}
    assert {run.external["model"]["sha256"] for run in runs.values()} == {weights_digest(model)}
    assert runs["original"].base_model == "my-vit" and runs["retrain"].config["init_from"] == "my-vit"
    assert runs["finetune"].base_model == f"mubench/{runs['original'].run.checkpoint_name}"
    recipe = next((outside / "out" / "mubench").glob("*original*/recipe.json"))
    assert str(outside) not in recipe.read_text() and QUICK["recipe"].items() <= json.loads(recipe.read_text()).items()

    # Other weights in a folder of the same name are another model.
    shutil.rmtree(outside / "my-vit")
    tiny_vit("my-vit", num_labels=10)
    other = make_setup("cifar100", variant="mini", model="my-vit", out="out")
    assert other.original(1).name != runs["original"].run.checkpoint_name
    base = recipe.parent
    common = ["--task", "cifar100", "--mini", "--out", "out", "--seed", "1", "--base", str(base)]
    with pytest.raises(BadInput, match="Retraining starts from the weights that the original started from, my-vit"):
        dispatch(["unlearn", *common, "--method", "retrain"])
    with pytest.raises(BadInput, match="Retraining starts from the weights that the original started from, my-vit"):
        dispatch(["unlearn", *common, "--method", "retrain", "--model", "my-vit"])


@pytest.mark.usefixtures("quick")
def test_a_foreign_original_keeps_its_name_and_is_averaged_with_no_other(tiny_vit, outside, own_bench):
    my_resnet = tiny_vit("my-resnet", num_labels=10)
    common = ["unlearn", "--task", "cifar100", "--mini", "--out", str(own_bench), "--method", "neggrad"]
    quick = ["--disable_tqdm", "true", "--num_train_epochs", "1", "--use_cpu", "true"]
    dispatch([*common, "--base", my_resnet, "--seed", "42", *quick])
    (own,) = (own_bench / "mubench").glob("*-original-*")
    dispatch([*common, "--base", str(own), "--seed", "42", *quick])
    found = {run.model: run for run in load_results(own_bench / "results") if run.method == "neggrad"}
    assert found.keys() == {"my-resnet", "vit-tiny"}
    assert (found["my-resnet"].base_model, found["my-resnet"].settings["original"]) == ("my-resnet", "my-resnet")
    assert found["my-resnet"].external["model"] == {"name": "my-resnet", "sha256": weights_digest("my-resnet")}
    record = load_record(own_bench / "mubench" / found["my-resnet"].name)
    assert record.base_revision == found["my-resnet"].base_revision != found["vit-tiny"].base_revision
    assert len(aggregate(found.values())) == 2
    assert "mubench/my-resnet" not in json.dumps([vars(found["my-resnet"]), record.config], default=str)


def test_registered_models_are_found_by_their_hub_id():
    task = get_task("cifar100")
    assert resolve_model("google/vit-base-patch16-224-in21k", task).name == "vit-base"
    own = resolve_model("somebody/their-vit", task)
    assert (own.name, own.hub_id, own.architecture.title) == ("their-vit", *["somebody/their-vit"] * 2)


def test_models_that_cannot_be_used_are_refused(tiny_vit, tiny_bert, outside):
    task = get_task("cifar100")
    with pytest.raises(BadInput, match=r"Unknown model 'vit-tinny'. Did you mean 'vit-tiny'.*a folder"):
        resolve_model("vit-tinny", task)
    (outside / "empty").mkdir()
    with pytest.raises(BadInput, match=r"empty has no config.json"):
        resolve_model("empty", task)
    (outside / "empty" / "config.json").write_text("{}")
    with pytest.raises(BadInput, match="empty holds no weights"):
        make_setup(task, variant="mini", model="empty", out="out")
    dispatch(["build", "cifar100", "--mini", "--out", "out"])
    train = ["train", "--task", "cifar100", "--mini", "--out", "out", "--model"]
    (outside / tiny_vit("bare", num_labels=10) / "preprocessor_config.json").unlink()
    with pytest.raises(BadInput, match="There is no processor beside the model 'bare'"):
        dispatch([*train, "bare"])
    with pytest.raises(BadInput, match="tiny-bert cannot be loaded by AutoModelForImageClassification"):
        shutil.copy(outside / tiny_vit("whole") / "preprocessor_config.json", outside / tiny_bert)
        dispatch([*train, tiny_bert])
