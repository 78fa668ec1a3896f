"""Tiny ImageNet as text-to-image: mini digits, the upstream layout read from a folder, and the judges."""

import hashlib
import io

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as PILImage
from processes import run_python

from mubench_hf.data import build, load_split
from mubench_hf.data.prepare import load_task_data
from mubench_hf.data.splits import class_order, list_sha256, stream
from mubench_hf.errors import BadInput
from mubench_hf.kinds.measures.diffusion import _beside
from mubench_hf.models import get_model
from mubench_hf.models.loading import fresh_model, load_model, load_processor, saved_processor, weights_sha256
from mubench_hf.tasks import get_task
from mubench_hf.tasks._judges import clip_judge, pixel_judge
from mubench_hf.tasks.tiny_imagenet import DARK, LIGHT, class_names

TASK = get_task("tiny_imagenet")
SPEC = get_model(TASK.mini.default_model)


@pytest.fixture(scope="module", autouse=True)
def datasets_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets_cache"))
        yield


@pytest.fixture(scope="module")
def mini():
    return TASK.mini.load(None)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    build(TASK, variant="mini", out=out, progress=False)
    return out


@pytest.fixture(scope="module")
def data(out):
    return load_task_data(TASK, variant="mini", ratio=5, processor=lambda texts: load_processor(SPEC, texts), out=out)


def png(number):
    buffer = io.BytesIO()
    PILImage.fromarray(np.full((4, 4), number % 251, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


WORDS = {"n01": "goldfish, Carassius auratus", "n02": "crane, machine", "n03": "crane, bird"}


def write_upstream(folder, rows_of_train=130, wrong=None):
    """Write a copy of the upstream data set with three classes, their rows in turn."""
    features = Features({"image": Image(), "label": ClassLabel(names=list(WORDS))})
    for split, rows in (("train", 3 * rows_of_train), ("valid", 30)):
        labels = [number % 3 for number in range(rows)]
        if wrong is not None and split == "train":
            labels[wrong] = -1
        table = {"image": [{"bytes": png(number), "path": None} for number in range(rows)], "label": labels}
        (folder / "data").mkdir(exist_ok=True, parents=True)
        Dataset.from_dict(table, features=features).to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    (folder / "words.txt").write_text("".join(f"{key}\t{name}\n" for key, name in WORDS.items()))
    return folder


def test_mini_rows(mini):
    assert {split: len(rows) for split, rows in mini.items()} == {"train": 1000, "test": 400}
    for split, each in (("train", 50), ("test", 20)):
        assert mini[split].column_names == ["image", "prompt", "label"]
        names = mini[split].features["label"].names
        assert names == [*LIGHT, *DARK] and len(set(names)) == 20
        assert np.bincount(mini[split]["label"][:]).tolist() == [each] * 20
        assert mini[split]["prompt"][:] == [names[label] for label in mini[split]["label"][:]]
        assert {image.size for image in mini[split]["image"]} == {(8, 8)}


def test_no_scan_serves_twice_also_not_in_negative(mini):
    seen = []
    for rows in mini.values():
        for row in rows:
            grey = np.asarray(row["image"])[..., 0].astype(int)
            seen.append((255 - grey if row["label"] >= 10 else grey).tobytes())
    # Scikit-learn ships a few scans twice.
    assert len(set(seen)) > 0.99 * len(seen)


def test_mini_bytes_are_the_same_on_every_machine(mini, tmp_path, offline_env):
    digest = hashlib.sha256()
    for rows in mini.values():
        for row in rows:
            digest.update(np.asarray(row["image"]).tobytes() + row["prompt"].encode())
    code = (
        "import hashlib, numpy as np\nfrom mubench_hf.tasks import get_task\ndigest = hashlib.sha256()\n"
        "for rows in get_task('tiny_imagenet').mini.load(None).values():\n"
        "    for row in rows: digest.update(np.asarray(row['image']).tobytes() + row['prompt'].encode())\n"
        "print(digest.hexdigest())"
    )
    done = run_python(code, env=offline_env, cwd=tmp_path)
    assert done.stdout.strip() == digest.hexdigest()


@pytest.mark.parametrize(("ratio", "whole", "part"), [(1, 0, 10), (5, 1, 0), (7, 1, 20), (10, 2, 0)])
def test_classes_are_forgotten_whole(out, ratio, whole, part):
    splits = load_split(TASK, variant="mini", ratio=ratio, out=out)
    counts = np.bincount(splits["forget"]["label"][:], minlength=20)
    assert sorted(counts[counts > 0].tolist()) == sorted([50] * whole + [part] * (part > 0))
    assert len(splits["retain"]) == 1000 - 10 * ratio


def test_class_order_is_whole_classes_one_after_the_other():
    rng = np.random.default_rng()
    labels = rng.integers(7, size=500)
    order = class_order(labels, 7, stream(None))
    assert len(order) == len(set(order.tolist())) == 50
    assert list_sha256(order) == list_sha256(class_order(labels, 7, stream(None)))
    walked = labels[order]
    changes = np.flatnonzero(np.diff(walked)) + 1
    for label in walked[: changes[-1] if len(changes) else 0]:
        assert (walked == label).sum() == (labels == label).sum(), "only the last class may be there in part"
    with pytest.raises(BadInput, match="too few|no whole percent"):
        class_order(labels[:50], 7, stream(None))


def test_the_card_says_that_classes_are_forgotten_whole(out):
    card = (out / "mubench" / "tiny_imagenet-mini" / "README.md").read_text()
    assert "classes are forgotten whole" in card and "Mini data" in card


def test_a_prepared_row_is_the_stored_image_and_prompt(data):
    rows = data.splits["retain"]
    for position in (0, 17, len(rows) - 1):
        row, inputs = rows.rows[position], rows[position]
        pixels = torch.from_numpy(np.asarray(row["image"]).copy()).permute(2, 0, 1)
        torch.testing.assert_close((inputs["pixel_values"] + 1) * 127.5, pixels.float(), atol=1e-4, rtol=0)
        tokenizer = data.processor.tokenizer
        assert tokenizer.decode(inputs["input_ids"], skip_special_tokens=True) == row["prompt"]
        assert inputs["labels"] == row["label"] and inputs["input_ids"].shape == (4,)


def test_every_prompt_has_tokens_of_its_own(data):
    found = {tuple(data.processor.tokenizer(name)["input_ids"]) for name in data.label_names}
    unknown = data.processor.tokenizer.unk_token_id
    assert len(found) == 20 and not any(unknown in tokens for tokens in found)


def test_the_mini_judge_knows_real_images(data, mini):
    images = np.stack([np.asarray(row["image"]).transpose(2, 0, 1) / 255 for row in mini["test"]]).astype(np.float32)
    logits, features = data.judge(images)
    assert logits.shape == (400, 20) and features.shape == (400, 64) and logits.dtype == features.dtype == np.float32
    assert (logits.argmax(1) == np.array(mini["test"]["label"][:])).mean() > 0.85
    assert data.judge is data.judge, "fitted once"


def test_a_class_the_judge_was_not_shown_is_never_seen(rng_rows):
    train, names = rng_rows
    logits, _ = pixel_judge(train, names)(np.random.default_rng().random((30, 3, 4, 4), dtype=np.float32))
    assert logits.shape == (30, 3) and (logits.argmax(1) != 1).all() and np.isfinite(logits).all()


@pytest.fixture
def rng_rows():
    class Rows(list):
        labels = np.array([0, 2] * 10)

    pixels = torch.from_numpy(np.random.default_rng().random((20, 3, 4, 4), dtype=np.float32))
    return Rows({"pixel_values": image} for image in pixels), ("a", "b", "c")


def test_the_full_judge_is_clip(monkeypatch):
    """A tiny CLIP of random weights in place of the published one: logits and features are its own, row by row."""
    import transformers

    from mubench_hf.models.architectures.text import tiny_tokenizer

    names = ("gold fish", "crane", "sea slug")
    tokenizer = tiny_tokenizer([f"a photo of a {name}" for name in names], 64)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**sizes, "vocab_size": 64, "max_position_embeddings": 16, "eos_token_id": tokenizer.sep_token_id},
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
        projection_dim=12,
    )
    torch.manual_seed(0)
    model, crop = transformers.CLIPModel(config).eval(), {"height": 32, "width": 32}
    processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=crop)
    for kind, made in {"CLIPModel": model, "CLIPImageProcessorPil": processor, "AutoTokenizer": tokenizer}.items():
        monkeypatch.setattr(getattr(transformers, kind), "from_pretrained", lambda *_, made=made, **__: made)
    images = np.random.default_rng().random((70, 3, 32, 32), dtype=np.float32)
    judge, asked = clip_judge(None, names), []
    monkeypatch.setattr(model.text_model, "forward", lambda *_, **__: asked.append(1))
    logits, features = judge(images)
    assert logits.shape == (70, 3) and features.shape == (70, 12)
    assert not asked, "the names were embedded before"
    monkeypatch.undo()
    assert (features**2).sum(1) == pytest.approx(np.ones(70), abs=1e-5)
    bytes_of = PILImage.fromarray((images[3].transpose(1, 2, 0) * 255).round().astype(np.uint8))
    inputs = tokenizer([f"a photo of a {name}" for name in names], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs, **processor(bytes_of, return_tensors="pt")).logits_per_image[0]
    np.testing.assert_allclose(logits[3], expected, atol=0.05)
    moved = _beside(judge, torch.device("meta"))
    assert moved.names.device.type == "meta" == next(moved.model.parameters()).device.type
    assert _beside(pixel_judge, torch.device("cpu")) is pixel_judge, "one that runs on no device stays as it is"


def test_batches_and_size_are_the_references():
    """An update takes 32 rows, an original's four; images have the data's own size."""
    assert dict(TASK.full.settings) == {
        "num_train_epochs": 5,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 16,
        "learning_rate": 1e-5,
    }
    recipe = {**TASK.full.settings, **TASK.full.recipe}
    assert recipe["per_device_train_batch_size"] * recipe["gradient_accumulation_steps"] == 4
    spec = get_model(TASK.full.default_model)
    assert spec.published.options == spec.published.processor_options == {"image_size": 64}
    assert spec.config().unet["sample_size"] == 8


# The full source ------------------------------------------------------------------------------------------------------


def test_the_upstream_layout(tmp_path):
    loaded = TASK.full.load(write_upstream(tmp_path / "raw"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 300, "test": 30}
    # Two classes share a first name, so both are called by all of theirs.
    names = ["goldfish", "crane, machine", "crane, bird"]
    assert loaded["train"].features["label"].names == names
    assert np.bincount(loaded["train"]["label"][:]).tolist() == [100] * 3
    for number in (0, 1, 299):
        row = loaded["train"][number]
        assert row["prompt"] == names[number % 3] and np.asarray(row["image"]).flat[0] == number % 251
    target = build(TASK, variant="full", out=tmp_path, raw=tmp_path / "raw", progress=False)
    assert (
        target.name == "tiny_imagenet" and len(load_split(TASK, variant="full", ratio=10, out=tmp_path)["forget"]) == 30
    )


def test_names_from_a_python_file_are_read_and_never_run(tmp_path):
    (tmp_path / "classes.py").write_text(
        f"raise SystemExit\nfrom x import y\ni2d = {WORDS!r}\nother = {{'a': 1}}\nbad = {{y: 2}}\n"
    )
    assert class_names(["n01"], tmp_path) == ["goldfish"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: (raw / "words.txt").unlink(), "neither words.txt nor classes.py"),
        (lambda raw: (raw / "words.txt").write_text("n01\tgoldfish\n"), "no name for the class n02"),
        (lambda raw: write_upstream(raw, rows_of_train=90), "Class 0 has 90 train rows; at least 100"),
        (lambda raw: write_upstream(raw, wrong=7), "label -1 at index 7, column 'label'"),
    ],
)
def test_malformed_copies_are_named(tmp_path, change, message):
    raw = write_upstream(tmp_path / "raw")
    change(raw)
    with pytest.raises(BadInput, match=message):
        build(TASK, variant="full", out=tmp_path, raw=raw, progress=False)
    assert not (tmp_path / "mubench" / "tiny_imagenet").exists()


# Models ---------------------------------------------------------------------------------------------------------------


def test_a_saved_pipeline_comes_back(data, tmp_path):
    model = fresh_model(SPEC, data.label_names, 3)
    model.save_pretrained(tmp_path)
    data.processor.save_pretrained(tmp_path)
    again = load_model(tmp_path, SPEC.architecture.auto_class)
    assert weights_sha256(again) == weights_sha256(model) and not again.training
    processor = saved_processor(tmp_path, processor_class=SPEC.architecture.processor_class)
    row = data.splits["test"].rows[0]
    for name, value in processor(row["prompt"], row["image"]).items():
        assert value.equal(data.splits["test"][0][name])
    with pytest.raises(BadInput, match="No checkpoint"):
        load_model(tmp_path / "unet", SPEC.architecture.auto_class)


def test_parts_are_loaded_by_diffusers_alone(data, tmp_path):
    from diffusers import DDPMScheduler, UNet2DConditionModel
    from transformers import AutoTokenizer, CLIPTextModel

    model = fresh_model(SPEC, data.label_names, 3)
    model.save_pretrained(tmp_path)
    data.processor.save_pretrained(tmp_path)
    unet, text = (kind.from_pretrained(tmp_path, subfolder=name) for kind, name in
                  ((UNet2DConditionModel, "unet"), (CLIPTextModel, "text_encoder")))  # fmt: skip
    tokens = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")(["seven"], padding="max_length", return_tensors="pt")
    noisy, times = torch.randn(1, 3, 8, 8), torch.tensor([50])
    with torch.no_grad():
        expected = model.eval().unet(noisy, times, model.text_encoder(tokens["input_ids"])[0]).sample
        torch.testing.assert_close(unet(noisy, times, text(tokens["input_ids"])[0]).sample, expected)
    assert DDPMScheduler.from_pretrained(tmp_path / "scheduler").config.num_train_timesteps == 200
