"""What a model says of one row is what was measured of it among all the others."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from transformers import default_data_collator

from mubench_hf.data.prepare import load_task_data
from mubench_hf.kinds.measures import get_measure
from mubench_hf.models import get_model
from mubench_hf.models.loading import fresh_model, load_model, load_processor
from mubench_hf.tasks import get_task

SPLITS = ("forget", "retain", "test")


@pytest.fixture(params=["seq2seq_world", "bart_world", "causal_world"])
def world(request):
    return request.getfixturevalue(request.param)


def test_texts_and_losses_are_those_measured(world):
    # In double precision, so that rounding decides between no two tokens.
    model, data = world.original().double(), world.data()
    measure = get_measure(world.kind.key)
    outputs = measure.measure(model, data, 3)
    for split in SPLITS:
        for place in range(len(data.splits[split])):
            row = data.splits[split][place]
            found = measure.answer_row(model, row, data, place=place, scored=True)
            assert found.text == outputs[f"{split}_predictions"][place] and found.logits is found.image is None
            expected = -log_softmax(outputs[f"{split}_logits"][place].astype(float))[0]
            assert found.loss == pytest.approx(expected, rel=1e-5)
            assert measure.answer_row(model, row, data, place=place, scored=False).loss is None


@pytest.fixture
def drawn():
    """Rows of prompts and images, a model of them, and a judge whose logits tell images apart."""
    rng, spec = np.random.default_rng(), get_model("stable-diffusion-tiny")

    class Rows(list):
        @property
        def labels(self):
            return np.asarray([row["labels"] for row in self])

    def rows(size):
        return Rows(
            {
                "pixel_values": torch.from_numpy(rng.uniform(-1, 1, (3, 8, 8)).astype("f4")),
                "input_ids": torch.from_numpy(rng.integers(4, 20, 4)),
                "labels": int(rng.integers(3)),
            }
            for _ in range(size)
        )

    weights = rng.normal(size=(3 * 8 * 8, 3))
    data = SimpleNamespace(
        splits={split: rows(size) for split, size in zip(SPLITS, (3, 5, 4), strict=True)},
        label_names=("a", "b", "c"),
        collator=default_data_collator,
        judge=lambda images: (images.reshape(len(images), -1) @ weights, images.reshape(len(images), -1)),
    )
    return fresh_model(spec, (), int(rng.integers(1000))), data


def test_images_and_losses_are_those_measured(drawn, monkeypatch):
    monkeypatch.setattr("mubench_hf.models.text_to_image.SAMPLING_STEPS", 3)
    model, data = drawn
    measure = get_measure("diffusion")
    outputs = measure.measure(model, data, 0)
    for split in SPLITS:
        for place, row in enumerate(data.splits[split]):
            found = measure.answer_row(model, row, data, place=place, scored=True)
            np.testing.assert_allclose(found.logits, outputs[f"{split}_generated_logits"][place], rtol=1e-3, atol=1e-3)
            assert found.loss == pytest.approx(
                -log_softmax(outputs[f"{split}_logits"][place].astype(float))[0], rel=1e-4
            )
            assert found.image.shape == (3, 8, 8) and found.text is None
    first, second = (measure.answer_row(model, row, data, place=place, scored=False) for place in (0, 1))
    assert first.loss is None and np.abs(first.image - second.image).max() > 0.01, (
        "each place starts from its own noise"
    )


def test_logits_and_losses_of_classes_are_those_measured(bench):
    task, spec = get_task("cifar100"), get_model("vit-tiny")
    data = load_task_data(task, variant="mini", ratio=3, processor=partial(load_processor, spec), out=bench)
    model = load_model(bench / "mubench" / "cifar100-mini-vit-tiny-original-s42", spec.architecture.auto_class)
    measure = get_measure(task.kind)
    outputs = measure.measure(model, data, 0)
    for split in SPLITS:
        order = np.argsort(data.splits[split].index)
        for place in np.random.default_rng().integers(len(order), size=4):
            row = data.splits[split][order[place]]
            found = measure.answer_row(model, row, data, place=int(place), scored=True)
            expected, label = outputs[f"{split}_logits"][place], outputs[f"{split}_labels"][place]
            np.testing.assert_allclose(found.logits, expected, atol=1e-5)
            assert found.loss == pytest.approx(-log_softmax(expected.astype(float))[label], abs=1e-5)
