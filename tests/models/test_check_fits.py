"""A model that cannot read a task's rows, or does something else with them, is refused before anything is made."""

from dataclasses import replace

import pytest

from mubench_hf.cli import dispatch
from mubench_hf.errors import BadInput
from mubench_hf.models import check_fits, get_model, list_models
from mubench_hf.runs.pipeline import Pipeline
from mubench_hf.runs.setup import make_setup
from mubench_hf.tasks import VARIANTS, get_task, list_tasks

IMAGE = [name for name in list_models() if get_model(name).architecture.modality == "image"]


@pytest.mark.parametrize("task", list_tasks())
def test_a_tasks_own_models_fit(task):
    for variant in VARIANTS:
        check_fits(get_task(task), get_model(get_task(task).source(variant).default_model))
    for name in get_task(task).full.published_scores:
        check_fits(get_task(task), get_model(name))


@pytest.mark.parametrize("name", list_models())
def test_exactly_those_of_the_tasks_modality_and_kind_fit(name):
    task, spec = get_task("cifar100"), get_model(name)
    if name in IMAGE:
        check_fits(task, spec)
        with pytest.raises(BadInput, match="is for image classification, but cifar100 needs image diffusion"):
            check_fits(replace(task, kind="diffusion"), spec)
        return
    with pytest.raises(BadInput) as error:
        check_fits(task, spec)
    found = f"{spec.architecture.modality} {spec.architecture.kind}"
    start, allowed = str(error.value).split(" Allowed: ")
    assert start == f"Model {name!r} is for {found}, but cifar100 needs image classification."
    assert allowed == f"{', '.join(IMAGE)}."


def test_the_same_rows_for_another_purpose():
    """Both read text; only one classifies it."""
    task = replace(get_task("cifar100"), name="reviews", modality="text")
    check_fits(task, get_model("bert-tiny"))
    with pytest.raises(
        BadInput, match="^Model 't5-v1.1-tiny' is for text seq2seq, but reviews needs text classif.*bert-"
    ):
        check_fits(task, get_model("t5-v1.1-tiny"))


def test_no_model_at_all():
    with pytest.raises(BadInput, match="Allowed: no registered model."):
        check_fits(replace(get_task("cifar100"), modality="smell"), get_model("vit-tiny"))


def test_a_benchmark_is_refused(tmp_path):
    with pytest.raises(BadInput, match="'videomae-tiny' is for video classification, but cifar100 needs image"):
        Pipeline("cifar100", variant="mini", out=tmp_path, model="videomae-tiny")
    for command in (["run", "cifar100"], ["train", "--task", "cifar100"]):
        with pytest.raises(BadInput, match="'bert-tiny' is for text classification"):
            dispatch([*command, "--mini", "--out", str(tmp_path), "--model", "bert-tiny"])
    assert not list(tmp_path.iterdir()), "nothing is built first"


def test_a_table_is_refused(tmp_path):
    """Before anybody asks for a data set or an original, of which there are none here."""
    with pytest.raises(BadInput, match="'bert-tiny' is for text classification, but cifar100 needs image classif"):
        make_setup("cifar100", variant="mini", model="bert-tiny", out=tmp_path)
    assert not list(tmp_path.iterdir())
