"""Trainers without a task: any model, any map-style rows, the user's own collator."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from methods import methods_for
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from mubench_hf.errors import BadInput


class NetConfig(PretrainedConfig):
    model_type = "net_of_the_user"


class Net(PreTrainedModel):
    """A model of the user's own: two named inputs, no **kwargs."""

    config_class = NetConfig

    def __init__(self, config):
        super().__init__(config)
        self.scale, self.out = nn.Linear(1, 4), nn.Linear(4, config.num_labels)
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            module.weight.data.normal_()
            module.bias.data.zero_()

    def forward(self, x, weight=None, labels=None):
        assert weight is None or weight.shape == x.shape[:1]
        logits = self.out(self.scale(x).tanh())
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


class Anything(Net):
    """A model whose forward takes whatever a batch holds."""

    def forward(self, **batch):
        assert {"x", "note"} <= set(batch)
        return super().forward(batch["x"], labels=batch.get("labels"))


class Points(torch.utils.data.Dataset):
    """Rows of the user's own, with columns that no model takes."""

    def __init__(self, rng, rows):
        self.x = rng.normal(size=(rows, 1)).astype("f4")
        self.y = (self.x[:, 0] > 0).astype(int)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, position):
        assert isinstance(position, int)
        return {
            "x": torch.from_numpy(self.x[position]),
            "labels": int(self.y[position]),
            "note": f"row {position}",
            "nested": {"a": position},
        }


class Collator:
    """Keeps what it was given."""

    def __init__(self, keeps_notes=False):
        self.columns, self.keeps_notes = set(), keeps_notes

    def __call__(self, rows):
        self.columns |= {frozenset(row) for row in rows}
        batch = {"x": torch.stack([row["x"] for row in rows]), "labels": torch.tensor([row["labels"] for row in rows])}
        if self.keeps_notes:
            batch["note"] = [row["note"] for row in rows]
        return batch


class World:
    def __init__(self, rng, model):
        self.forget, self.retain = Points(rng, 9), Points(rng, 30)
        self.seed, self.model = int(rng.integers(2**31)), model

    def original(self):
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return self.model(NetConfig(num_labels=3))


@pytest.mark.parametrize("method", methods_for("classification"))
def test_users_model_rows_and_collator(method, rng, make):
    collator, world = Collator(), World(rng, Net)
    trainer = make(method, world, kwargs={"data_collator": collator}, learning_rate=0.01)
    trainer.train()
    assert trainer.status == "ok"
    # The flags are no business of the user's collator; every other column may be.
    assert collator.columns == {frozenset({"x", "labels", "note", "nested"})}
    before, masks = dict(world.original().named_parameters()), getattr(trainer, "masks", None)
    for name, weight in trainer.model.named_parameters():
        # The saliency mask may leave nothing of a small tensor to move.
        assert (weight != before[name]).any() == (masks is None or bool(masks[name].any()))


@pytest.mark.parametrize("method", methods_for("classification"))
def test_default_collator(method, rng, make):
    trainer = make(method, World(rng, Net))
    trainer.train()
    assert trainer.status == "ok"


@pytest.mark.parametrize("method", methods_for("classification"))
def test_a_model_that_takes_anything_gets_every_column(method, rng, make):
    collator = Collator(keeps_notes=True)
    trainer = make(method, World(rng, Anything), kwargs={"data_collator": collator})
    trainer.train()
    assert trainer.status == "ok"
    assert collator.columns == {frozenset({"x", "labels", "note", "nested"})}


def table(world, where, **columns):
    rows = {"image": world.pixels[where].tolist(), "label": world.labels[where].tolist(), **columns}
    return Dataset.from_dict(rows)


def transform(rows):
    """What users of `datasets` write: the columns of a batch become the model's inputs."""
    return {
        "pixel_values": [torch.tensor(image, dtype=torch.float32) for image in rows["image"]],
        "labels": rows["label"],
    }


@pytest.mark.parametrize("method", methods_for("classification"))
def test_tables_with_a_transform(method, world, make, spy):
    sets = {}
    for name, where in (("forget", world.is_forget), ("retain", ~world.is_forget)):
        index = np.flatnonzero(where).tolist()
        rows = table(world, where, index=index, caption=[f"row {number}" for number in index])
        sets[f"{name}_dataset"] = rows.with_transform(transform)
    trainer = make(method, world, kwargs=sets, max_steps=3)
    seen = spy(trainer)
    trainer.train()
    assert trainer.status == "ok" and len(seen.batches) == 3
    for batch in seen.batches:
        assert (batch.pixels == world.pixels[batch.rows]).all(), "rows stand in the order of their index"
        kept, forgotten = batch.labels == world.labels[batch.rows], batch.is_forget
        assert kept[~forgotten].all(), "D_r keeps its labels"
        assert kept[forgotten].all() or not kept[forgotten].any(), "D_f keeps them, or has none of them"


def test_tables_with_a_format(world, make, spy):
    sets = {
        f"{name}_dataset": table(world, where).rename_column("image", "pixel_values").with_format("torch")
        for name, where in (("forget", world.is_forget), ("retain", ~world.is_forget))
    }
    trainer = make("rand_label", world, kwargs=sets, num_train_epochs=1)
    seen = spy(trainer)
    trainer.train()
    # No index: D_f stands before D_r.
    order = np.concatenate([np.flatnonzero(world.is_forget), np.flatnonzero(~world.is_forget)])
    for batch in seen.batches:
        np.testing.assert_allclose(batch.pixels, world.pixels[order[batch.rows]], rtol=1e-6)
        assert ((batch.labels == world.labels[order[batch.rows]]) == ~batch.is_forget).all()
        assert (batch.is_forget == (batch.rows < world.is_forget.sum())).all()


def test_wrong_labels_in_a_table_are_found(world, make):
    world.labels[np.flatnonzero(~world.is_forget)[4]] = 7
    sets = {
        f"{name}_dataset": table(world, where)
        for name, where in (("forget", world.is_forget), ("retain", ~world.is_forget))
    }
    with pytest.raises(BadInput, match=r"retain_dataset has label 7 \(row 4, 1 such rows\)"):
        make("finetune", world, kwargs=sets)


def test_a_transform_may_make_other_labels(world, make, spy):
    def coarse(rows):
        return {**transform(rows), "labels": [label // 10 for label in rows["label"]]}

    world.labels *= 10
    sets = {
        f"{name}_dataset": table(world, where).with_transform(coarse)
        for name, where in (("forget", world.is_forget), ("retain", ~world.is_forget))
    }
    trainer = make("finetune", world, kwargs=sets, num_train_epochs=1)
    seen = spy(trainer)
    trainer.train()
    labels = np.concatenate([batch.labels for batch in seen.batches])
    assert sorted(labels) == sorted(world.labels[~world.is_forget] // 10)


def test_loader_workers_see_the_same_rows(world, make, weights_of, same_weights):
    ends = []
    for workers in (0, 1):
        trainer = make("rand_label", world, dataloader_num_workers=workers, num_train_epochs=1)
        trainer.train()
        ends.append(weights_of(trainer.model))
    assert same_weights(*ends)
