"""Models of their published size, with random weights, take a training step on inputs of their real size."""

import io
import wave

import numpy as np
import pytest
import torch
from PIL import Image

from mubench_hf.models import get_model, list_models
from mubench_hf.models.loading import random_model
from mubench_hf.tasks import cifar100, speech_commands, ucf101
from mubench_hf.tasks._clips import write_avi

pytestmark = pytest.mark.slow

MOST = 400_000_000
"""Parameters of the largest model that is made in memory; those above are checked on the meta device alone."""

PUBLISHED = [spec for spec in map(get_model, list_models()) if spec.published and spec.architecture.kind != "diffusion"]
SMALLEST = {}
for spec in sorted(PUBLISHED, key=lambda spec: spec.published.parameters):
    SMALLEST.setdefault(spec.architecture.name, spec)


def from_rows(task, rows, spec):
    """Rows as a data set stores them, through the processor of the published input size."""
    processor = spec.architecture.real_processor()
    return torch.utils.data.default_collate([task.prepare(row, processor) for row in rows])


def photographs(spec, rng):
    pixels = rng.integers(256, size=(2, 300, 400, 3), dtype=np.uint8)
    return from_rows(cifar100, [{"image": Image.fromarray(each), "label": label} for label, each in enumerate(pixels)],
                     spec)  # fmt: skip


def sounds(spec, rng):
    rows = []
    for label in range(2):
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(rng.integers(-(2**15), 2**15, size=16_000, dtype=np.int16).tobytes())
        rows.append({"audio": {"bytes": buffer.getvalue(), "path": None}, "label": label})
    return from_rows(speech_commands, rows, spec)


def videos(spec, rng):
    frames, colours = rng.integers(256, size=(40, 240, 320), dtype=np.uint8), [(n, 255 - n, 3) for n in range(256)]
    video = {"bytes": write_avi(frames, colours, rate=25), "path": None}
    return from_rows(ucf101, [{"video": video, "label": 1}], spec)


def tokens(spec, rng, rows, length):
    return torch.from_numpy(rng.integers(3, spec.config().get_text_config().vocab_size, size=(rows, length)))


def texts(spec, rng):
    return {"input_ids": tokens(spec, rng, 2, 128), "labels": torch.tensor([0, 1])}


def image_pairs(spec, rng):
    pixels = torch.from_numpy(rng.normal(size=(1, 2, 3, 384, 384)).astype("f4"))
    return {"pixel_values": pixels, "input_ids": tokens(spec, rng, 1, 40), "labels": torch.tensor([1])}


def summaries(spec, rng):
    return {"input_ids": tokens(spec, rng, 1, 1024), "labels": tokens(spec, rng, 1, 128)}


def prompts(spec, rng):
    ids = tokens(spec, rng, 1, 128)
    return {"input_ids": ids, "labels": ids}


INPUTS = {
    ("classification", "image"): photographs,
    ("classification", "audio"): sounds,
    ("classification", "video"): videos,
    ("classification", "text"): texts,
    ("classification", "image pair and text"): image_pairs,
    ("seq2seq", "text"): summaries,
    ("causal_lm", "text"): prompts,
}
SIZES = {"pixel_values": (224, 384), "input_values": (16_000,), "input_features": (3000,), "input_ids": (40, 128, 1024)}


def real_inputs(spec, rng):
    inputs = INPUTS[spec.architecture.kind, spec.architecture.modality](spec, rng)
    for name, tensor in inputs.items():
        assert name == "labels" or tensor.shape[-1] in SIZES[name]
    if "pixel_values" in inputs and spec.architecture.modality == "video":
        assert inputs["pixel_values"].shape == (1, 16, 3, 224, 224)
    return inputs


@pytest.mark.parametrize("name", [spec.name for spec in SMALLEST.values() if spec.published.parameters <= MOST])
def test_one_step(name, rng):
    spec = get_model(name)
    torch.manual_seed(int(rng.integers(2**31)))
    model, inputs = random_model(spec).train(), real_inputs(spec, rng)
    before = [weight.detach().clone() for weight in model.parameters()]
    assert sum(weight.numel() for weight in before) == spec.published.parameters
    loss = model(**inputs).loss
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert loss.isfinite() and all(weight.isfinite().all() for weight in model.parameters())
    moved = [not weight.equal(old) for weight, old in zip(model.parameters(), before, strict=True)]
    # Layer drop may leave out some layers, and masks are not drawn for every row.
    assert np.mean(moved) > 0.6


@pytest.mark.parametrize("name", [spec.name for spec in PUBLISHED if spec != SMALLEST[spec.architecture.name]
                                  or spec.published.parameters > MOST])  # fmt: skip
def test_shapes_alone(name, rng):
    spec = get_model(name)
    inputs = real_inputs(spec, rng)
    with torch.device("meta"):
        model = random_model(spec).eval()
        output = model(**{key: tensor.to("meta") for key, tensor in inputs.items()})
    assert output.loss.shape == ()
    classes = 2 if spec.architecture.kind == "classification" else spec.config().vocab_size
    assert output.logits.shape == (*inputs["labels"].shape, classes)
