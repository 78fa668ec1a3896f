"""A tiny classifier and made-up rows: a run of any method takes a fraction of a second.

Inputs differ in every run: the seed is printed with a failure, `MUBENCH_TEST_SEED=<seed>` repeats it.
"""

import gc
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import StackDataset
from transformers import TrainerCallback, ViTConfig, ViTForImageClassification

from mubench_hf.models.outputs import row_outputs
from mubench_hf.trainers import get_method

CLASSES = 5
ROWS, FORGET_ROWS = 50, 13


@pytest.fixture(scope="module", autouse=True)
def quick_collection():
    """`Trainer` collects garbage before it trains; what is imported by now need not be searched each time."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def rng():
    seed = int(os.environ.get("MUBENCH_TEST_SEED", np.random.SeedSequence().entropy))
    print(f"inputs drawn with MUBENCH_TEST_SEED={seed}")
    return np.random.default_rng(seed)


def stack(pixels, labels, index=None):
    """Return rows as a torch data set; `index` is where they stand upstream."""
    rows = StackDataset(pixel_values=torch.from_numpy(pixels), labels=torch.from_numpy(labels))
    rows.index, rows.labels = index, labels
    return rows


def draw_world(rng, dropout=0.0):
    """Draw rows, how they are split, and a maker of the original."""
    pixels = rng.normal(size=(ROWS, 3, 16, 16)).astype(np.float32)
    labels = rng.integers(CLASSES, size=ROWS)
    is_forget = np.zeros(ROWS, bool)
    is_forget[rng.choice(ROWS, FORGET_ROWS, replace=False)] = True
    index = np.arange(ROWS)
    config = ViTConfig(
        image_size=16,
        patch_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=CLASSES,
        hidden_dropout_prob=dropout,
        # Wide enough that rows get logits of their own.
        initializer_range=0.2,
    )
    seed = int(rng.integers(2**31))

    def original():
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return ViTForImageClassification(config)

    return SimpleNamespace(
        pixels=pixels,
        labels=labels,
        is_forget=is_forget,
        forget=stack(pixels[is_forget], labels[is_forget], index[is_forget]),
        retain=stack(pixels[~is_forget], labels[~is_forget], index[~is_forget]),
        original=original,
    )


@pytest.fixture
def world(rng):
    return draw_world(rng)


@pytest.fixture
def dropout_world(rng):
    """A world whose weights depend on the random state of training."""
    return draw_world(rng, dropout=0.1)


@pytest.fixture
def fixed_world():
    """A world that is the same in every run, for numbers that a rare draw could spoil."""
    return draw_world(np.random.default_rng(0))


@pytest.fixture
def make(tmp_path):
    """Make a trainer: `make("scrub", world, msteps=1)`; settings are the config's, `kwargs` the trainer's."""

    def make(method, world, *, model=None, kwargs=None, **settings):
        trainer = get_method(method) if isinstance(method, str) else method
        defaults = {
            "output_dir": str(tmp_path / "run"),
            "use_cpu": True,
            "cpu_threads": 1,
            "disable_tqdm": True,
            "save_strategy": "no",
            "logging_strategy": "no",
            "per_device_train_batch_size": 8,
            "num_train_epochs": 2,
            "learning_rate": 1e-3,
            "seed": 11,
        }
        args = trainer.config_class(**{**defaults, **settings})
        rows = {"forget_dataset": world.forget, "retain_dataset": world.retain}
        return trainer(world.original() if model is None else model, args, **{**rows, **(kwargs or {})})

    return make


def weights(model):
    """Return a copy of all weights and buffers."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@pytest.fixture
def weights_of():
    return weights


@pytest.fixture
def same_weights():
    """Say whether two sets of weights are equal to the bit."""

    def same(one, other):
        assert one.keys() == other.keys()
        return all(torch.equal(tensor, other[name]) for name, tensor in one.items())

    return same


class Spy(TrainerCallback):
    """Records each training micro-batch of a trainer, and can act when an update begins."""

    def __init__(self, trainer, before=None):
        self.batches, self.trainer, self.before = [], trainer, before
        self.through = trainer.forward
        trainer.forward = self.forward
        trainer.add_callback(self)

    def on_step_begin(self, args, state, control, **kwargs):
        if self.before:
            self.before(state.global_step)

    def forward(self, model, inputs, num_items_in_batch):
        batch, outputs = self.through(model, inputs, num_items_in_batch)
        if self.trainer.is_in_train:
            # update, epoch, positions, flags, what the model was given, labels
            self.batches.append(
                SimpleNamespace(
                    update=self.trainer.state.global_step,
                    epoch=self.trainer.sampler.epoch,
                    rows=batch.rows.numpy().copy(),
                    is_forget=batch.is_forget.numpy().copy(),
                    pixels=batch.inputs["pixel_values"].numpy().copy(),
                    labels=batch.labels.numpy().copy(),
                )
            )
        return batch, outputs

    def epochs(self):
        """Return the batches of each epoch."""
        numbers = sorted({batch.epoch for batch in self.batches})
        return [[batch for batch in self.batches if batch.epoch == number] for number in numbers]


@pytest.fixture
def spy():
    return Spy


@pytest.fixture
def updates(make, spy):
    """Run a method and return, of each update, its logged loss, the rows it took, and the student before it.

    `loss` is what `Trainer` logs, `rows` are positions, `student` holds the logits of all rows, `[rows, classes]`.
    """

    def updates(method, world, **settings):
        logged = {"learning_rate": 3e-3, "logging_strategy": "steps", "logging_steps": 1}
        trainer = make(method, world, **{**logged, **settings})
        students = []
        seen = spy(trainer, before=lambda update: students.append(logits_of(trainer, trainer.model)))
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        assert len(losses) == len(students) == trainer.state.max_steps
        rows = [
            np.concatenate([batch.rows for batch in seen.batches if batch.update == update])
            for update in range(len(losses))
        ]
        parts = zip(losses, rows, students, strict=True)
        return trainer, [SimpleNamespace(loss=loss, rows=rows, student=student) for loss, rows, student in parts]

    return updates


def logits_of(trainer, model):
    """Return a model's logits of all rows of a trainer, in float64."""
    return row_outputs(model, trainer.rows, trainer.collator.without_flags).logits.astype(float)


@pytest.fixture(name="logits_of")
def logits_of_fixture():
    return logits_of


SHARES = ({}, {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2})


@pytest.fixture(params=SHARES, ids=["whole", "halves"])
def shares(request):
    """An update as one batch, or as two that are accumulated."""
    return request.param
