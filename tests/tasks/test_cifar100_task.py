"""CIFAR-100's two sources: the mini digits, and the upstream layout read from a folder."""

import hashlib
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Image, concatenate_datasets
from PIL import Image as PILImage
from processes import run_python

from mubench_hf.data import build, load_split
from mubench_hf.data.splits import deletion_order, list_sha256, stream
from mubench_hf.errors import BadInput
from mubench_hf.tasks import get_task

TASK = get_task("cifar100")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def datasets_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets_cache"))
        yield


@pytest.fixture(scope="module")
def mini():
    return TASK.mini.load(None)


def png(number):
    buffer = io.BytesIO()
    PILImage.fromarray(np.full((2, 2, 3), number % 251, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A folder like a copy of the upstream data set, but of 2,000 + 100 rows."""
    folder = tmp_path_factory.mktemp("raw")
    rng = np.random.default_rng(0)
    fine, coarse = ([f"{kind} {number}" for number in range(size)] for kind, size in (("fine", 100), ("coarse", 20)))
    features = Features(
        {"img": Image(), "fine_label": ClassLabel(names=fine), "coarse_label": ClassLabel(names=coarse)}
    )
    for split, size in (("train", 2000), ("test", 100)):
        rows = {
            "img": [{"bytes": png(number), "path": None} for number in range(size)],
            "fine_label": rng.integers(100, size=size).tolist(),
            "coarse_label": rng.integers(20, size=size).tolist(),
        }
        (folder / "cifar100").mkdir(exist_ok=True)
        file = folder / "cifar100" / f"{split}-00000-of-00001.parquet"
        Dataset.from_dict(rows, features=features).to_parquet(file)
    return folder


def test_mini_rows(mini):
    assert {split: len(rows) for split, rows in mini.items()} == {"train": 1000, "test": 797}
    for rows in mini.values():
        assert rows.column_names == ["image", "label"]
        assert rows.features["label"].names == [str(digit) for digit in range(10)]
        assert set(rows["label"][:]) == set(range(10))
        assert (rows[0]["image"].size, rows[0]["image"].mode) == ((16, 16), "RGB")


def test_mini_is_the_same_every_time(mini):
    again = TASK.mini.load(None)
    for split, rows in mini.items():
        assert rows.with_format("arrow")[:] == again[split].with_format("arrow")[:]


def test_mini_rows_are_the_digits_under_noise(mini):
    from sklearn.datasets import load_digits

    digits = load_digits()
    labels = [*mini["train"]["label"][:], *mini["test"]["label"][:]]
    assert np.bincount(labels).tolist() == np.bincount(digits.target).tolist(), "each scan once"
    images = np.stack([np.asarray(image, float) / 255 for image in mini["train"]["image"][:]])
    assert len(np.unique(images.reshape(1000, -1), axis=0)) == 1000
    # The mean image of a class lies nearest to the mean scan of that class.
    scans = np.stack([digits.images[digits.target == digit].mean(0) / 16 for digit in range(10)]).reshape(10, -1)
    train_labels = np.array(mini["train"]["label"][:])
    small = images.mean(-1).reshape(-1, 8, 2, 8, 2).mean((2, 4))
    means = np.stack([small[train_labels == digit].mean(0) for digit in range(10)]).reshape(10, -1)
    assert np.corrcoef(scans, means)[:10, 10:].argmax(1).tolist() == list(range(10))
    # Neighbouring dots show one scanned dot: what differs between them is noise, cut off at black and white.
    noise = (images[:, ::2, ::2] - images[:, 1::2, 1::2]).std()
    assert 0.2 < noise < 0.4 * 2**0.5


def test_full_rows_from_a_folder(raw):
    found = TASK.full.load(raw / "cifar100")
    upstream = {split: Dataset.from_parquet(str(file)) for split, file in files(raw)}
    assert {split: len(rows) for split, rows in found.items()} == {"train": 2000, "test": 100}
    for split, rows in found.items():
        assert rows.column_names == ["image", "label"]
        assert rows.features["label"].names == [f"fine {number}" for number in range(100)]
        assert rows["label"][:] == upstream[split]["fine_label"][:]
        assert [image["bytes"] for image in rows.cast_column("image", Image(decode=False))["image"][:]] == [
            png(number) for number in range(len(rows))
        ]


def files(raw):
    return [(split, raw / "cifar100" / f"{split}-00000-of-00001.parquet") for split in ("train", "test")]


def test_full_build_from_a_folder(raw, tmp_path):
    labels = Dataset.from_parquet(str(files(raw)[0][1]))["fine_label"][:]
    found = list_sha256(deletion_order(labels, 100, stream("cifar100")))
    with pytest.raises(BadInput) as error:
        build(TASK, variant="full", out=tmp_path, raw=raw / "cifar100")
    assert found in str(error.value) and TASK.full.deletion_sha256 in str(error.value)
    assert not list(tmp_path.iterdir())

    fitting = replace(TASK, full=replace(TASK.full, deletion_sha256=found))
    folder = build(fitting, variant="full", out=tmp_path, raw=raw / "cifar100")
    assert folder == tmp_path / "mubench" / "cifar100"
    splits = load_split(fitting, variant="full", ratio=7, out=tmp_path)
    assert {split: len(rows) for split, rows in splits.items()} == {"forget": 700, "retain": 1300, "test": 100}
    train = concatenate_datasets([splits["forget"], splits["retain"]]).sort("index")
    assert train["label"][:] == labels and train.features["label"].names[99] == "fine 99"


def test_full_folder_with_other_columns_is_refused(raw, tmp_path):
    (tmp_path / "raw").mkdir()
    for split, file in files(raw):
        Dataset.from_parquet(str(file)).remove_columns("fine_label").to_parquet(tmp_path / "raw" / f"{split}.parquet")
    with pytest.raises(BadInput, match="Cannot read CIFAR-100 from the folder.*fine_label"):
        build(TASK, variant="full", out=tmp_path / "out", raw=tmp_path / "raw")


def test_deletion_hash_is_the_published_one():
    file = ROOT.parent / "shared" / "official_splits" / "cifar100.txt"
    if not file.is_file():
        pytest.skip(f"the published list {file} is not here")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == TASK.full.deletion_sha256
    assert (TASK.full.stream, TASK.mini.stream, TASK.mini.deletion_sha256) == ("cifar100", None, None)


def test_prepare_makes_rgb_inputs():
    seen = []

    def processor(image, return_tensors):
        seen.append((image.mode, image.size, return_tensors))
        return {"pixel_values": [np.asarray(image).transpose(2, 0, 1)]}

    inputs = TASK.prepare({"image": PILImage.new("L", (6, 4), 9), "label": 3}, processor)
    assert seen == [("RGB", (6, 4), "pt")] and inputs["labels"] == 3
    assert inputs["pixel_values"].shape == (3, 4, 6) and (inputs["pixel_values"] == 9).all()


def test_build_script(tmp_path):
    script = [sys.executable, str(ROOT / "dataset_scripts" / "build.py")]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(tmp_path)}
    good = subprocess.run(
        [*script, "cifar100", "--mini", "--out", str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert (good.returncode, good.stdout.strip()) == (0, str(tmp_path / "mubench" / "cifar100-mini")), good.stderr
    again = f"import runpy; runpy.run_path({script[1]!r}, run_name='__main__')"
    bad = run_python(again, "cifar10O", "--mini", env=environment, cwd=tmp_path)
    assert bad.returncode == 2 and "Did you mean 'cifar100'?" in bad.stderr and "Traceback" not in bad.stderr
