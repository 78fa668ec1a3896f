"""The mini data set built once, small made-up tasks, and a cache of `datasets` that goes away."""

import io
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PILImage

from mubench_hf.data import build
from mubench_hf.tasks import get_task


@pytest.fixture(scope="session", autouse=True)
def datasets_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("datasets_cache")
        patch.setattr("datasets.config.HF_DATASETS_CACHE", cache)
        yield cache


@pytest.fixture
def rng():
    seed = int(os.environ.get("MUBENCH_TEST_SEED", np.random.SeedSequence().entropy))
    print(f"inputs drawn with MUBENCH_TEST_SEED={seed}")
    return np.random.default_rng(seed)


@pytest.fixture(scope="session")
def task():
    return get_task("cifar100")


@pytest.fixture(scope="session")
def mini_out(task, tmp_path_factory):
    """Folder that the mini set was built into."""
    out = tmp_path_factory.mktemp("out")
    assert build(task, variant="mini", out=out) == out / "mubench" / "cifar100-mini"
    return out


@pytest.fixture(scope="session")
def mini_data(task):
    return task.mini.load(None)


def encoded(number: int) -> bytes:
    """Return a JPEG of one colour that tells rows apart."""
    buffer = io.BytesIO()
    PILImage.new("RGB", (4, 4), (number % 256, number // 256, 7)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def made_up(task):
    """Make a task whose full source are small rows: `made_up(validation=20)` adds a split of 20 rows."""
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Image

    features = Features({"image": Image(), "label": ClassLabel(names=["a", "b", "c"])})

    def make(*, train=400, change=None, source=None, **sizes):
        data, start = DatasetDict(), 0
        for split, size in {"train": train, "test": 30, **sizes}.items():
            rows = {
                "image": [{"bytes": encoded(start + row), "path": None} for row in range(size)],
                "label": [row * row % 3 for row in range(size)],
            }
            data[split] = Dataset.from_dict(rows, features=features)
            start += size
        data = change(data) if change else data
        full = {"load": lambda raw: data, "hub_id": None, "stream": None, "deletion_sha256": None, **(source or {})}
        return replace(task, full=replace(task.full, **full))

    return make
