"""`auto_find_batch_size`: every try begins alike, and what is prepared is made smaller too."""

import json
from pathlib import Path

import pytest
import torch
from transformers import ViTForImageClassification

from mubench_hf.errors import BadInput


class Memory:
    """Lets a trainer run out of memory with more than so many rows, from an update on."""

    def __init__(self, trainer, rows, update=0):
        self.sizes, through = [], trainer.forward

        def forward(model, inputs, *args):
            self.sizes.append(len(inputs["labels"]))
            if self.sizes[-1] > rows and trainer.state.global_step >= update:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
            return through(model, inputs, *args)

        trainer.forward = forward


def slow(name):
    return pytest.param(name, marks=pytest.mark.slow)


OWN = {"trainer's": lambda model: {}, "own": lambda model: {"optimizers": (torch.optim.Adam(model.parameters()), None)}}


@pytest.mark.parametrize("optimizer", ["own", slow("trainer's")])
@pytest.mark.parametrize("method", ["salun", slow("finetune"), slow("scrub")])
def test_a_late_try_is_as_good_as_the_first(method, optimizer, dropout_world, make, weights_of, same_weights):
    """It ends as a run that began with as many rows, wherever memory ran out before."""
    settings = {"forget_batch_size": 8} if method == "scrub" else {}
    ends = []
    for limit in (None, 4):
        model = dropout_world.original()
        given = {"per_device_train_batch_size": 8, "auto_find_batch_size": True, **settings}
        if limit is None:
            given = {"per_device_train_batch_size": 4, **{name: 4 for name in settings}}
        trainer = make(method, dropout_world, model=model, kwargs=OWN[optimizer](model), max_steps=9, **given)
        if limit:
            memory = Memory(trainer, limit, update=2)
        trainer.train()
        ends.append(weights_of(model))
    assert max(memory.sizes) > 4 and trainer.state.train_batch_size == 4
    assert same_weights(*ends)


class Small(ViTForImageClassification):
    """A model that fits into memory with four rows at most, trained or not."""

    tried = 0

    def forward(self, pixel_values=None, labels=None, **kwargs):
        type(self).tried = max(self.tried, len(pixel_values))
        if len(pixel_values) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return super().forward(pixel_values=pixel_values, **kwargs)


@pytest.mark.parametrize("method", [slow("salun"), slow("scrub"), "bad_teaching"])
def test_what_is_prepared_is_made_smaller_too(method, world, make, weights_of, same_weights):
    """Gradients and tables of teachers are of all rows, however many at a time."""
    ends = []
    for settings in ({"auto_find_batch_size": True}, {"per_device_train_batch_size": 4}):
        model = Small(world.original().config) if "auto_find_batch_size" in settings else world.original()
        model.load_state_dict(world.original().state_dict())
        trainer = make(method, world, model=model, max_steps=2, **settings)
        trainer.train()
        ends.append(weights_of(model))
    assert Small.tried > 4
    for name, weight in ends[0].items():
        torch.testing.assert_close(weight, ends[1][name], rtol=0, atol=1e-4)


def test_nothing_fits(world, make):
    trainer = make("finetune", world, auto_find_batch_size=True)
    Memory(trainer, 0)
    with pytest.raises(BadInput, match="not even one row at a time fits into memory"):
        trainer.train()


def test_without_the_argument_nothing_is_tried_again(world, make):
    trainer = make("finetune", world)
    memory = Memory(trainer, 4)
    with pytest.raises(torch.OutOfMemoryError):
        trainer.train()
    assert len(memory.sizes) == 1


@pytest.mark.slow
def test_states_of_a_failed_try_are_no_states(world, make):
    settings = {"auto_find_batch_size": True, "save_strategy": "steps", "save_steps": 1, "save_total_limit": None}
    trainer = make("finetune", world, max_steps=4, **settings)
    Memory(trainer, 4, update=3)
    trainer.train()
    for state in Path(trainer.args.output_dir).glob("checkpoint-*"):
        assert json.loads((state / "trainer_state.json").read_text())["train_batch_size"] == 4
    again = make("finetune", world, max_steps=4, **settings)
    Memory(again, 2)
    with pytest.raises(BadInput, match="a run cannot go on with fewer"):
        again.train(resume_from_checkpoint=str(Path(trainer.args.output_dir, "checkpoint-2")))
