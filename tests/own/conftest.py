"""Data and models that a person brings: made up in a temporary folder outside the package, with no network."""

from __future__ import annotations

import contextlib
import random

import numpy as np
import pytest
from own_data import save_bert, write_reviews
from PIL import Image


@pytest.fixture(scope="session", autouse=True)
def datasets_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets_cache"))
        yield


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """The empty folder that a person works in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def draw():
    return random.Random()


@pytest.fixture
def reviews(outside, draw):
    """The rows of `reviews.csv`, see `write_reviews`."""
    return write_reviews(outside, draw)


@pytest.fixture
def tiny_bert(reviews, outside):
    """A folder with a small BERT."""
    return save_bert(outside / "tiny-bert", reviews, num_labels=5)


@pytest.fixture(scope="session")
def own_runs(tmp_path_factory):
    """Folder with `fifths` and `picked`: quick runs of a described task, 5% of its rows or named ones forgotten.

    Tests do not change it: they copy it.
    """
    from mubench_hf import task_from_dataset
    from mubench_hf.runs.pipeline import Pipeline

    folder, draw = tmp_path_factory.mktemp("own_runs"), random.Random()
    model = folder / save_bert(folder / "tiny-bert", write_reviews(folder, draw))
    quick = {"num_train_epochs": 1, "cpu_threads": 1, "use_cpu": True}
    for name, forget in (("fifths", "5%"), ("picked", draw.sample(range(200), 11))):
        task = task_from_dataset(
            folder / "reviews.csv", label="mood", inputs="text", hold_out="20%", forget=forget, name=name,
            model=model, settings=quick,
        )  # fmt: skip
        Pipeline(task, variant="full", out=folder / name, methods=["finetune"], seeds=[1]).run()
    return folder


@pytest.fixture
def fresh(monkeypatch):
    """A process that knows the package's own tasks alone, as one that was just started."""
    from mubench_hf import tasks

    for name in ("_brought", "_origins"):
        monkeypatch.setattr(tasks.TASKS, name, {})
    monkeypatch.setattr(tasks, "_learned", {})


@pytest.fixture
def tiny_vit(outside):
    """Make a folder with a small ViT and its image processor: `tiny_vit("my-vit", num_labels=3)`."""
    from transformers import ViTConfig, ViTForImageClassification
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    def make(name, **fields):
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        config = ViTConfig(image_size=16, patch_size=8, **sizes, **fields)
        ViTForImageClassification(config).save_pretrained(outside / name)
        ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(outside / name)
        return name

    return make


@pytest.fixture
def pets(outside):
    """An ImageFolder: `pets/<split>/<class>/<number>.png`."""
    rng = np.random.default_rng()
    for split, rows in (("train", 60), ("test", 8)):
        for name in ("cat", "dog"):
            folder = outside / "pets" / split / name
            folder.mkdir(parents=True)
            for number in range(rows):
                Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return "pets"


@pytest.fixture
def mubench(capsys):
    """Call the command line in this process; return what it printed."""
    from mubench_hf.cli import dispatch

    def call(*arguments):
        capsys.readouterr()
        with contextlib.suppress(SystemExit):
            dispatch(list(map(str, arguments)))
        return capsys.readouterr().out

    return call
