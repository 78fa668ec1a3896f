"""Inputs that cannot be used are refused with what was found, what is allowed and what to do."""

import re

import numpy as np
import pytest
import torch
from torch.utils.data import StackDataset, Subset

from mubench_hf.errors import BadInput
from mubench_hf.trainers import UnlearningTrainer, get_method, list_methods

NEED_BOTH = [method for method in list_methods() if get_method(method).needs_forget]


def empty(rows):
    return Subset(rows, [])


@pytest.mark.parametrize("method", list_methods())
@pytest.mark.parametrize("name", ["forget_dataset", "retain_dataset"])
def test_empty_set(method, name, world, make):
    needs = f"{name} is empty; {get_method(method).__name__} needs at least one row in it. Load both sets"
    with pytest.raises(BadInput, match=re.escape(needs)):
        make(method, world, kwargs={name: empty(world.forget)})


@pytest.mark.parametrize("method", list_methods())
def test_missing_set(method, world, make):
    with pytest.raises(BadInput, match="^retain_dataset is missing"):
        make(method, world, kwargs={"retain_dataset": None})
    if method in NEED_BOTH:
        with pytest.raises(BadInput, match="^forget_dataset is missing"):
            make(method, world, kwargs={"forget_dataset": None})


def test_methods_that_need_no_deletion_set_are_those_that_never_read_it(world, make):
    assert set(list_methods()) - set(NEED_BOTH) == {"finetune", "retrain"}
    for method in ("finetune", "retrain"):
        trainer = make(method, world, max_steps=1, kwargs={"forget_dataset": None})
        trainer.train()
        assert len(trainer.rows) == len(world.retain) and trainer.status == "ok"


def test_shared_rows(world, make):
    world.retain.index[:2] = world.forget.index[:2]
    with pytest.raises(BadInput) as error:
        make("scrub", world)
    shared = ", ".join(map(str, sorted(world.forget.index[:2])))
    assert str(error.value).startswith(f"forget and retain share 2 rows (index {shared});")


def test_the_same_rows_twice(world, make):
    """Without an index, too, as far as it can be seen."""
    rows = StackDataset(pixel_values=torch.from_numpy(world.pixels), labels=torch.from_numpy(world.labels))
    with pytest.raises(BadInput, match="^forget and retain are the same data set"):
        make("rand_label", world, kwargs={"forget_dataset": rows, "retain_dataset": rows})


@pytest.mark.parametrize(("name", "wrong"), [("forget", 5), ("forget", -1), ("retain", 99), ("retain", -100)])
def test_label_out_of_range(name, wrong, world, make):
    labels = getattr(world, name).labels
    labels[[3, 6]] = wrong
    with pytest.raises(BadInput) as error:
        make("finetune", world)
    assert str(error.value) == (
        f"{name}_dataset has label {wrong} (row 3, 2 such rows), but the model has num_labels=5, so labels 0..4 are "
        "allowed. Load a model with the task's classes."
    )


@pytest.mark.parametrize("found", ["scrubb", "SCRUB", "bad-teaching", "retrian"])
def test_unknown_method(found):
    near = {"scrubb": "scrub", "SCRUB": "scrub", "bad-teaching": "bad_teaching", "retrian": "retrain"}[found]
    with pytest.raises(BadInput, match=f"^Unknown method '{found}'. Did you mean '{near}'"):
        get_method(found)


@pytest.mark.parametrize("found", ["xyzzy", "_base", "../scrub", "__init__", ""])
def test_what_is_not_a_method(found):
    with pytest.raises(BadInput) as error:
        get_method(found)
    for method in list_methods():
        assert method in str(error.value)


def test_methods():
    assert list_methods() == sorted(list_methods())
    assert {"bad_teaching", "finetune", "neggrad", "rand_label", "retrain", "salun", "scrub"} <= set(list_methods())
    trainers = [get_method(method) for method in list_methods()]
    assert len(set(trainers)) == len(trainers) and all(issubclass(trainer, UnlearningTrainer) for trainer in trainers)


@pytest.mark.parametrize("method", list_methods())
def test_a_method_tells_apart_by_its_words(method):
    trainer = get_method(method)
    for word in ("title", "measurement", "corruption", "retention", "source"):
        assert isinstance(getattr(trainer, word), str) and getattr(trainer, word)
    own = (trainer.measurement, trainer.corruption, trainer.retention)
    others = [get_method(other) for other in list_methods() if other != method]
    assert own not in [(other.measurement, other.corruption, other.retention) for other in others]
    assert trainer.title not in [other.title for other in others]


def test_too_many_shares(world, make):
    trainer = make("neggrad", world, gradient_accumulation_steps=14)
    with pytest.raises(BadInput, match="13 forget rows cannot be shared among 1 processes x 14"):
        trainer.train()


@pytest.mark.parametrize("fraction", [0, 1.5])
def test_impossible_share_of_retain(world, make, fraction):
    with pytest.raises(BadInput, match="retain_fraction is"):
        make("bad_teaching", world, retain_fraction=fraction).train()


@pytest.mark.parametrize("method", list_methods())
@pytest.mark.parametrize("epochs", [0, -1])
def test_no_epochs(method, epochs, world, make):
    with pytest.raises(BadInput, match=f"^num_train_epochs is {epochs}; "):
        make(method, world, num_train_epochs=epochs).train()


def test_rows_without_labels_are_not_checked(world, make):
    """A data set that does not say its labels at once is taken as it is."""
    rows = {
        f"{name}_dataset": Subset(getattr(world, name), np.arange(len(getattr(world, name))).tolist())
        for name in ("forget", "retain")
    }
    trainer = make("finetune", world, max_steps=1, kwargs=rows)
    trainer.train()
    assert trainer.status == "ok" and trainer.rows.labels is None
