"""Inputs that differ in every run: the seed is printed with a failure, `MUBENCH_TEST_SEED=<seed>` repeats it."""

import gc
import os

import numpy as np
import pytest
import torch
from PIL import Image

from mubench_hf.models import get_model, list_models
from mubench_hf.models.loading import fresh_model, load_processor


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


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


TINY = [
    name
    for name in list_models()
    if get_model(name).hub_id is None and get_model(name).architecture.modality == "image"
]


@pytest.fixture(params=TINY)
def tiny(request):
    """The tiny model of each image architecture."""
    return get_model(request.param)


@pytest.fixture
def images(rng):
    def draw(rows, size=16):
        return [Image.fromarray(rng.integers(256, size=(size, size, 3), dtype=np.uint8)) for _ in range(rows)]

    return draw


@pytest.fixture
def tiny_rows(tiny, images, rng):
    """Prepared rows of the size that a tiny model's processor makes."""

    def draw(rows, classes):
        pixels = load_processor(tiny)(images(rows), return_tensors="pt")["pixel_values"]
        return pixels, torch.from_numpy(rng.integers(classes, size=rows))

    return draw


@pytest.fixture
def vit():
    """A tiny ViT with three classes."""
    return fresh_model(get_model("vit-tiny"), ["a", "b", "c"], seed=1)
