"""Inputs that cannot be used are refused with what was found, what is allowed and what to do."""

import re

import pytest
import torch
from methods import methods_for
from torch.utils.data import Dataset, StackDataset, Subset

from mubench_hf.errors import BadInput
from mubench_hf.trainers import get_method


def empty(rows):
    return Subset(rows, [])


@pytest.mark.parametrize("method", methods_for("classification"))
@pytest.mark.parametrize("name", ["forget_dataset", "retain_dataset"])
def test_empty_set(method, name, world, make):
    needs = f"{name} is empty; {get_method(method).__name__} needs at least one row in it. Load both sets"
    with pytest.raises(BadInput, match=re.escape(needs)):
        make(method, world, kwargs={name: empty(world.forget)})


@pytest.mark.parametrize("method", methods_for("classification"))
def test_missing_set(method, world, make):
    with pytest.raises(BadInput, match="^retain_dataset is missing"):
        make(method, world, kwargs={"retain_dataset": None})
    if get_method(method).needs_forget:
        with pytest.raises(BadInput, match="^forget_dataset is missing"):
            make(method, world, kwargs={"forget_dataset": None})
    else:
        assert not make(method, world, kwargs={"forget_dataset": None}).rows.is_forget.any()


@pytest.mark.parametrize("method", methods_for("classification"))
def test_a_method_needs_a_deletion_set_if_a_pass_walks_through_it(method, world, make):
    trainer = make(method, world)
    walked = {each.rows for epoch in range(3) for each in trainer.passes(epoch)}
    assert trainer.needs_forget == (walked != {"retain"})


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


@pytest.mark.parametrize("method", methods_for("classification"))
@pytest.mark.parametrize("epochs", [0, -1])
def test_no_epochs(method, epochs, world, make):
    with pytest.raises(BadInput, match=f"^num_train_epochs is {epochs}; "):
        make(method, world, num_train_epochs=epochs).train()


class Made(Dataset):
    """Rows that are made when they are read."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, position):
        return dict(self.rows[position])


def test_rows_whose_labels_are_not_stored_are_checked_in_batches(world, make):
    sets = {f"{name}_dataset": Made(getattr(world, name)) for name in ("forget", "retain")}
    trainer = make("finetune", world, max_steps=1, kwargs=sets)
    trainer.train()
    assert trainer.status == "ok" and trainer.rows.labels is None
    world.retain.labels[:] = 7
    with pytest.raises(BadInput, match="^A batch has label 7, but the model has 5 classes, so labels 0..4 are allowed"):
        make("finetune", world, max_steps=1, kwargs=sets).train()


def test_a_method_for_other_kinds_is_refused(world, make):
    class ForText(get_method("finetune")):
        kinds = ("causal_lm", "seq2seq")

    with pytest.raises(BadInput) as error:
        make(ForText, world)
    assert str(error.value) == (
        "ForText is for causal_lm, seq2seq, but ViTForImageClassification is of kind classification. Use it with a "
        "model that it is for, or use another method."
    )


@pytest.mark.parametrize("kinds", [("classification",), ("causal_lm", "classification"), None])
def test_a_method_for_this_kind_is_not(world, make, kinds):
    ForThese = type("ForTheseTrainer", (get_method("finetune"),), {"kinds": kinds})
    assert make(ForThese, world, max_steps=1).train().global_step == 1
