"""SalUn's mask and what it holds still."""

import numpy as np
import pytest
import torch
from formulas import cross_entropy
from transformers import TrainerCallback

from mubench_hf.errors import BadInput
from mubench_hf.trainers.salun import SalUnConfig, saliency_masks


def by_sorting(gradients, density):
    """The same rule by a full stable sort: largest first, ties in tensor order."""
    sizes = np.abs(np.concatenate([gradient.numpy().ravel() for gradient in gradients.values()]))
    chosen = np.zeros(len(sizes), bool)
    chosen[np.argsort(-sizes, kind="stable")[: round(density * len(sizes))]] = True
    parts = np.split(chosen, np.cumsum([gradient.numel() for gradient in gradients.values()])[:-1])
    return {name: part.reshape(gradients[name].shape) for name, part in zip(gradients, parts, strict=True)}


@pytest.fixture
def gradients(rng):
    """Draw gradients of three tensors; a share of them is zero and many tie."""

    def draw(zeros=0.0, levels=None):
        found = {}
        for name, shape in {"a": (7, 5), "b": (11,), "c": (2, 3, 4)}.items():
            values = rng.normal(size=shape)
            values = np.round(values * levels) / levels if levels else values
            found[name] = torch.from_numpy(np.where(rng.random(shape) < zeros, 0, values).astype("f4"))
        return found

    return draw


@pytest.mark.parametrize("density", [0.01, 0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize(("zeros", "levels"), [(0, None), (0.9, None), (1, None), (0, 2), (0.5, 1)])
def test_mask_is_the_sorted_one_and_exact(gradients, density, zeros, levels):
    drawn = gradients(zeros, levels)
    found = saliency_masks(drawn, density)
    expected = by_sorting(drawn, density)
    assert found.keys() == expected.keys()
    for name, mask in found.items():
        assert mask.dtype == torch.bool and mask.shape == drawn[name].shape
    assert sum(int(mask.sum()) for mask in found.values()) == round(density * 70)
    chosen, left = (
        torch.cat([drawn[name][mask if inside else ~mask].abs() for name, mask in found.items()])
        for inside in (True, False)
    )
    if len(left):
        assert chosen.min() >= left.max()
    for name, mask in found.items():
        assert (mask.numpy() == expected[name]).all()


def test_sign_does_not_matter(gradients):
    drawn = gradients()
    flipped = {name: -gradient for name, gradient in drawn.items()}
    for name, mask in saliency_masks(drawn, 0.5).items():
        assert (saliency_masks(flipped, 0.5)[name] == mask).all()


@pytest.mark.parametrize("density", [0, -0.5, 1.01, float("nan")])
def test_impossible_density_is_refused(gradients, density, world, make):
    with pytest.raises(BadInput, match="density is .*above 0 and at most 1"):
        saliency_masks(gradients(), density)
    with pytest.raises(BadInput, match="density is"):
        make("salun", world, density=density).train()


@pytest.mark.parametrize("batch_size", [1, 5, 8, 64])
def test_gradients_are_the_sum_over_all_rows_in_eval_mode(dropout_world, make, same_weights, weights_of, batch_size):
    world = dropout_world
    trainer = make("salun", world, per_device_train_batch_size=batch_size)
    trainer.model.train()
    found = trainer.forget_gradients()
    model = world.original().eval()
    logits = model(pixel_values=torch.from_numpy(world.pixels[world.is_forget])).logits
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(world.labels[world.is_forget]), reduction="sum")
    names, parameters = zip(*model.named_parameters(), strict=True)
    expected = dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-4)
    assert trainer.model.training, "the mode is as before"
    assert all(weight.grad is None or not weight.grad.any() for weight in trainer.model.parameters())
    assert same_weights(weights_of(trainer.model), weights_of(world.original()))


@pytest.mark.parametrize("optim", ["adamw_torch", "sgd"])
@pytest.mark.parametrize("density", [0.5, 0.1])
def test_masked_weights_stay_bit_equal(dropout_world, make, optim, density):
    world = dropout_world
    momentum = {"optim_args": "momentum=0.9"} if optim == "sgd" else {}
    trainer = make("salun", world, density=density, weight_decay=0.1, optim=optim, learning_rate=0.01, **momentum)
    trainer.train()
    original = dict(world.original().named_parameters())
    total = moved = 0
    for name, weight in trainer.model.named_parameters():
        mask = trainer.masks[name]
        assert torch.equal(weight[~mask], original[name][~mask]), name
        moved += int((weight != original[name]).sum())
        total += mask.numel()
    assert sum(int(mask.sum()) for mask in trainer.masks.values()) == round(density * total)
    assert moved > 0.9 * density * total, "free weights do move"


def test_trained_on_from_where_it_ended(world, make, weights_of):
    """A second `train()` starts from the weights it finds, with a mask of theirs."""
    trainer = make("salun", world, weight_decay=0.1, learning_rate=0.01)
    trainer.train()
    between = weights_of(trainer.model)
    trainer.train()
    moved = 0
    for name, weight in trainer.model.named_parameters():
        mask = trainer.masks[name]
        assert torch.equal(weight[~mask], between[name][~mask]), name
        moved += int((weight != between[name]).sum())
    assert moved > 0.4 * sum(mask.numel() for mask in trainer.masks.values())


class Signs(torch.optim.Optimizer):
    """An optimizer of a user's own, with a step that has nothing to do with others'."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                weight.mul_(0.99).sub_(group["lr"] * torch.sign(torch.ones_like(weight)))


def own_optimizers(model):
    """Ways to bring an optimizer: made, made with a scheduler, or as a class."""
    adam = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    momentum = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9, weight_decay=0.1)
    return {
        "made": {"optimizers": (adam, None)},
        "with a scheduler": {"optimizers": (momentum, torch.optim.lr_scheduler.ConstantLR(momentum))},
        "a class": {"optimizer_cls_and_kwargs": (torch.optim.AdamW, {"lr": 1e-2, "weight_decay": 0.1})},
        "their own": {"optimizers": (Signs(model.parameters(), 1e-3), None)},
    }


@pytest.mark.parametrize("brought", ["made", "with a scheduler", "a class", "their own"])
def test_masked_weights_stay_under_any_optimizer(brought, world, make, weights_of):
    model = world.original()
    before = weights_of(model)
    trainer = make("salun", world, model=model, kwargs=own_optimizers(model)[brought], max_steps=2, max_grad_norm=0)
    for _ in range(2):
        trainer.train()
        for name, weight in model.named_parameters():
            mask = trainer.masks[name]
            assert torch.equal(weight[~mask], before[name][~mask]), name
        before = weights_of(model)
    assert any((weight != world.original().state_dict()[name]).any() for name, weight in before.items())


@pytest.mark.parametrize(
    ("settings", "copies"),
    [
        ({}, False),
        ({"optim": "sgd", "optim_args": "momentum=0.9,nesterov=True"}, False),
        ({"weight_decay": 0.1}, True),
        ({"adam_epsilon": 0.0}, True),
        ({"optim": "rmsprop"}, True),
    ],
    ids=["adamw", "sgd with momentum", "weight decay", "no epsilon", "another optimizer"],
)
def test_originals_are_kept_only_where_a_step_might_move_a_masked_weight(world, make, settings, copies):
    """Negative zeros, too, stay what they are; momentum from an earlier run moves what is masked now."""
    model = world.original()
    with torch.no_grad():
        for weight in model.parameters():
            weight.view(-1)[::3] = -0.0
    trainer = make("salun", world, model=model, learning_rate=0.01, **settings)
    for second in (False, True):
        before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        trainer.train()
        for name, weight in model.named_parameters():
            held = ~trainer.masks[name]
            assert torch.equal(weight[held].view(torch.int32), before[name][held].view(torch.int32)), name
        assert bool(trainer._originals) == (copies or second)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_numbers_of_any_precision(gradients, dtype):
    drawn = {name: gradient.to(dtype) for name, gradient in gradients(0.3).items()}
    expected = by_sorting({name: gradient.double() for name, gradient in drawn.items()}, 0.4)
    for name, mask in saliency_masks(drawn, 0.4).items():
        assert (mask.numpy() == expected[name]).all()


def test_tensors_of_several_parts(rng, monkeypatch):
    monkeypatch.setattr("mubench_hf.trainers._saliency.CPU_PART", 7)
    values = rng.normal(size=(9, 11)).round(1).astype("f4")
    drawn = {"a": torch.from_numpy(values), "none": torch.zeros(0, 3), "b": torch.from_numpy(-values[::-1].copy())}
    expected = by_sorting(drawn, 0.37)
    for name, mask in saliency_masks(drawn, 0.37).items():
        assert (mask.numpy() == expected[name]).all()


def test_the_mask_is_the_originals(world, make):
    trainer = make("salun", world, learning_rate=0.01)
    expected = by_sorting({name: grad.abs() for name, grad in trainer.forget_gradients().items()}, 0.5)
    trainer.train()
    for name, mask in trainer.masks.items():
        assert (mask.numpy() == expected[name]).all()


def test_density_one_is_rand_label(world, make, same_weights, weights_of):
    settings = {"weight_decay": 0.1, "num_train_epochs": 2}
    masked, free = make("salun", world, density=1.0, **settings), make("rand_label", world, **settings)
    masked.train()
    free.train()
    assert same_weights(weights_of(masked.model), weights_of(free.model))


def test_clipping_sees_free_weights_alone(world, make):
    """The logged gradient norm is that of the masked gradient, from autograd at the original's weights."""
    norms, rows = [], []

    class Look(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model, **kwargs):
            norms.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]).norm().item())

    trainer = make("salun", world, density=0.2, max_steps=1, logging_strategy="steps", logging_steps=1,
                   max_grad_norm=1e-3)  # fmt: skip
    trainer.add_callback(Look())
    through = trainer.forward

    def forward(*args):
        batch, outputs = through(*args)
        rows[:] = batch.rows.tolist()
        return batch, outputs

    trainer.forward = forward
    trainer.train()
    drawn = (world.labels + np.random.default_rng([11, 0]).integers(1, 5, size=len(world.labels))) % 5
    labels = torch.from_numpy(np.where(world.is_forget, drawn, world.labels)[rows])
    model = world.original()
    logits = model(pixel_values=torch.from_numpy(world.pixels[rows])).logits
    torch.nn.functional.cross_entropy(logits, labels).backward()
    free = {name: weight.grad[trainer.masks[name]] for name, weight in model.named_parameters()}
    expected = torch.cat(list(free.values())).norm().item()
    whole = torch.cat([weight.grad.flatten() for weight in model.parameters()]).norm().item()
    assert trainer.state.log_history[0]["grad_norm"] == pytest.approx(expected, rel=1e-3)
    assert expected < 0.99 * whole
    assert norms == [pytest.approx(1e-3, rel=1e-2)], "the step has the length that clipping allows"


def test_frozen_weights_are_no_part_of_the_share(world, make):
    model = world.original()
    model.vit.embeddings.requires_grad_(False)
    trainer = make("salun", world, model=model)
    trainer.train()
    trainable = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert list(trainer.masks) == trainable and len(trainable) < len(list(model.parameters()))
    total = sum(mask.numel() for mask in trainer.masks.values())
    assert sum(int(mask.sum()) for mask in trainer.masks.values()) == round(0.5 * total)


@pytest.mark.parametrize("redraw", [False, True])
def test_loss_of_every_update(world, updates, shares, redraw):
    """Cross-entropy of the union, D_f with labels drawn here, anew each epoch where that is asked for."""
    trainer, found = updates("salun", world, redraw_labels=redraw, **shares)
    per_epoch = trainer.sampler.update_count(0)
    assert len(found) == 2 * per_epoch
    for number, update in enumerate(found):
        rng = np.random.default_rng([11, number // per_epoch if redraw else 0])
        drawn = (world.labels + rng.integers(1, 5, size=len(world.labels))) % 5
        expected = cross_entropy(update.student, np.where(world.is_forget, drawn, world.labels))[update.rows]
        assert update.loss == pytest.approx(expected.mean(), rel=1e-4, abs=1e-5)


def test_each_epoch_is_the_union(world, make, spy):
    trainer = make("salun", world)
    seen = spy(trainer)
    trainer.train()
    for batches in seen.epochs():
        assert sorted(np.concatenate([batch.rows for batch in batches])) == list(range(len(world.labels)))
        assert all(((batch.labels == world.labels[batch.rows]) == ~batch.is_forget).all() for batch in batches)


def test_default_density_is_the_papers():
    assert SalUnConfig(output_dir="unused", use_cpu=True).density == 0.5
