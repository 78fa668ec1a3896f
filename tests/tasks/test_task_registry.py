"""Tasks are found by their file's name and are constants."""

from dataclasses import FrozenInstanceError

import pytest

from mubench_hf.errors import BadInput
from mubench_hf.tasks import get_task, list_tasks


def test_every_task_is_under_its_file_name():
    assert "cifar100" in list_tasks() and list_tasks() == sorted(list_tasks())
    for name in list_tasks():
        task = get_task(name)
        assert task.name == name
        assert (task.dataset_name("full"), task.dataset_name("mini")) == (name, f"{name}-mini")
        assert task.source("mini") is task.mini and task.source("full") is task.full


@pytest.mark.parametrize("name", ["cifar10O", "CIFAR100", "_spec", "cifar100/../_spec", ""])
def test_unknown_task_is_refused(name):
    with pytest.raises(BadInput, match="Unknown task .* Allowed: .*cifar100"):
        get_task(name)


def test_near_miss_is_suggested():
    with pytest.raises(BadInput, match="Did you mean 'cifar100'?"):
        get_task("cifar-100")


def test_tasks_cannot_be_changed():
    task = get_task("cifar100")
    with pytest.raises(FrozenInstanceError):
        task.name = "other"
    with pytest.raises(TypeError):
        task.full.recipe["learning_rate"] = 1.0
