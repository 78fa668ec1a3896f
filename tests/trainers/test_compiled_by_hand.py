"""A model that the user compiled is trained like any other."""

import pytest
import torch

from mubench_hf.errors import BadInput


def slow(name):
    return pytest.param(name, marks=pytest.mark.slow)


@pytest.mark.parametrize("method", ["finetune", *(slow(name) for name in ("salun", "scrub", "retrain"))])
def test_a_compiled_model_is_trained_like_any(method, world, make, weights_of, same_weights, tmp_path):
    model, ran = world.original(), []

    def backend(graph, inputs):
        return lambda *args: ran.append(1) or graph(*args)

    torch._dynamo.reset()
    trainers = (
        make(method, world, max_steps=2),
        make(method, world, model=torch.compile(model, backend=backend), max_steps=2),
    )
    for _ in range(2):
        ran.clear()
        for trainer in trainers:
            trainer.train()
        assert len(ran) >= 2 and same_weights(*(weights_of(trainer.model) for trainer in trainers))
    assert trainers[1].model is model
    trainers[1].evaluate(world.forget)
    trainers[1].save_model(tmp_path / "saved")
    assert same_weights(weights_of(type(model).from_pretrained(tmp_path / "saved")), weights_of(model))


def test_parts_that_are_compiled_are_refused(world, make):
    model = world.original()
    model.vit = torch.compile(model.vit, backend="eager")
    with pytest.raises(BadInput, match=r"^A part of the model is compiled \(vit\)"):
        make("finetune", world, model=model)
