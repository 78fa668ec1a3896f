"""NLVR2's two sources: drawn pairs, and statements and images in the upstream layout; and the model that reads them."""

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data.test_published_lists import labels_behind, published
from datasets import ClassLabel, Image, Value, load_dataset
from PIL import Image as PILImage
from torch.utils.data import Subset
from transformers import ViltForImagesAndTextClassification

from mubench_hf.data import build, load_split
from mubench_hf.data.loading import train_texts
from mubench_hf.data.prepare import load_task_data, prepare_rows
from mubench_hf.data.splits import deletion_order, list_sha256, stream
from mubench_hf.errors import BadInput
from mubench_hf.models import get_model, list_models
from mubench_hf.models.loading import fresh_model, load_model, load_processor, weights_sha256
from mubench_hf.models.outputs import row_outputs
from mubench_hf.models.registry import ModelSpec, Scale
from mubench_hf.tasks import get_task
from mubench_hf.tasks._drawings import COLOURS, draw_pair

TASK = get_task("nlvr2")
COLUMNS = ["image_left", "image_right", "text", "label"]
MINI_SHA256 = "a70110eb03c3ea7af82051c366e990766e01a791a30538d7d6892ed134942afa"


@pytest.fixture(scope="module", autouse=True)
def datasets_cache(tmp_path_factory):
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets_cache"))
        yield


@pytest.fixture(scope="module")
def mini():
    return TASK.mini.load(None)


@pytest.fixture(scope="module")
def mini_out(tmp_path_factory):
    out = tmp_path_factory.mktemp("mini")
    build(TASK, variant="mini", out=out, progress=False)
    return out


TINY = [
    name
    for name in list_models()
    if get_model(name).hub_id is None and get_model(name).architecture.modality == TASK.modality
]


@pytest.fixture(scope="module", params=TINY)
def tiny(request, mini_out):
    """A tiny model's spec and the mini rows prepared for it."""
    spec = get_model(request.param)
    return spec, load_task_data(
        TASK, variant="mini", ratio=5, processor=lambda texts: load_processor(spec, texts), out=mini_out
    )


def undecoded(rows):
    for name in COLUMNS[:2]:
        rows = rows.cast_column(name, Image(decode=False))
    return rows


# The mini rows -----------------------------------------------------------------------------------------------------


def test_mini_is_the_same_everywhere(mini):
    digest = hashlib.sha256()
    for split, rows in mini.items():
        for row in undecoded(rows):
            digest.update(f"{split} {row['text']} {row['label']}\n".encode())
            digest.update(row["image_left"]["bytes"] + row["image_right"]["bytes"])
    assert digest.hexdigest() == MINI_SHA256


def test_mini_rows_through_plain_datasets(mini, mini_out):
    loaded = load_dataset(str(mini_out / "mubench" / "nlvr2-mini"), "df_5pct")
    sizes = {"forget": 40, "retain": 760, "validation": 200, "test": 400, "ood": 200}
    assert {split: len(rows) for split, rows in loaded.items()} == sizes
    for rows in loaded.values():
        assert rows.column_names == ["index", *COLUMNS]
        assert rows.features["label"] == ClassLabel(names=["False", "True"])
        assert rows.features["text"] == Value("string")
        assert all(isinstance(rows.features[name], Image) for name in COLUMNS[:2])
        assert 0.4 < np.mean(rows["label"][:]) < 0.6
        assert (rows[0]["image_left"].size, rows[0]["image_left"].mode) == ((32, 32), "RGB")
    row = undecoded(loaded["forget"])[7]
    source = undecoded(mini["train"])[row["index"]]
    assert row["image_right"]["bytes"] == source["image_right"]["bytes"] and row["text"] == source["text"]


def colour(image):
    """Return the name of the colour of what stands before the background."""
    pixels = np.asarray(image, int).reshape(-1, 3)
    ink = pixels[(pixels != pixels[0]).any(1)].mean(0)
    return min(COLOURS, key=lambda name: np.abs(ink - COLOURS[name]).max())


def test_true_statements_name_the_colour_that_is_shown(mini):
    rows = mini["test"]
    seen = {"left": [0, 0], "right": [0, 0]}
    for row in rows:
        left, right = colour(row["image_left"]), colour(row["image_right"])
        where = next(word for word in seen if word in row["text"])
        named = row["text"].split()[-2]
        shown = named == {"left": left, "right": right}[where]
        assert shown or not row["label"], row["text"]
        seen[where][row["label"]] += 1
    assert min(min(counts) for counts in seen.values()) > 40, "each kind true and false"


def test_statements_hold_of_the_looks_they_were_drawn_with():
    """Truth against what is drawn, shapes too: a square alone fills the box around it."""
    rng = np.random.RandomState(5)
    truths = []
    for _ in range(300):
        images, text, truth = draw_pair(rng, dark=False)
        looks = [look(PILImage.open(io.BytesIO(image))) for image in images]
        named = tuple(text.rstrip(".").split()[-2:])
        expected = {
            "The left": named == looks[0],
            "The right": named == looks[1],
        }
        assert truth == next(value for start, value in expected.items() if text.startswith(start)), (text, looks)
        truths.append(truth)
    assert 100 < sum(truths) < 200


def look(image):
    pixels = np.asarray(image, int)
    ys, xs = np.nonzero((pixels != pixels[0, 0]).any(-1))
    height, width = np.ptp(ys) + 1, np.ptp(xs) + 1
    share = len(ys) / (height * width)
    return colour(image), "square" if share == 1 else "triangle"


def test_ood_is_darker(mini):
    corners = {split: np.array([np.asarray(row["image_left"])[0, 0] for row in rows]) for split, rows in mini.items()}
    assert corners["ood"].max() < 160 <= min(corners[split].min() for split in ("train", "validation", "test"))


# The full rows -----------------------------------------------------------------------------------------------------


def picture(number, kind="JPEG", size=(9, 7)):
    buffer = io.BytesIO()
    PILImage.new("RGB", size, (number % 251, 90, 30)).save(buffer, kind)
    return buffer.getvalue()


SIZES = {"train": 300, "dev": 12, "test": 14, "test2": 10}


def entry(split, number):
    """Return a row as it is on the Hub: four statements a pair of images."""
    folder, pair = "test1" if split == "test" else split, number // 4
    images = [f"{folder}/{folder}-{pair}-0-img{side}.png" for side in (0, 1)]
    return {"sentence": f"{split} {number}.", "label": str(number % 3 == 0), "images": images}


@pytest.fixture
def raw(tmp_path):
    """The four files of statements, and images that are JPEGs whatever their name, as upstream."""
    folder = tmp_path / "raw"
    for split, size in SIZES.items():
        entries = [entry(split, number) for number in range(size)]
        images = sorted({name for row in entries for name in row["images"]})
        for number, name in enumerate(images):
            # The train images lie in numbered folders.
            file = folder / "images" / (name.replace("/", f"/{number % 3}/") if split == "train" else name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture(number, "PNG" if split == "dev" else "JPEG"))
        (folder / f"{split}.json").write_text(json.dumps(entries))
    return folder


def test_full_rows(raw):
    found = TASK.full.load(raw)
    names = {"train": "train", "validation": "dev", "test": "test", "ood": "test2"}
    assert {split: len(rows) for split, rows in found.items()} == {key: SIZES[name] for key, name in names.items()}
    for split, rows in found.items():
        assert rows.column_names == COLUMNS and rows.features["label"].names == ["False", "True"]
        expected = [entry(names[split], number) for number in range(len(rows))]
        assert rows["text"][:] == [row["sentence"] for row in expected]
        assert rows["label"][:] == [row["label"] == "True" for row in expected]
        files = {file.name: file for file in raw.rglob("*.png")}
        for row, wanted in zip(undecoded(rows), expected, strict=True):
            for side, column in enumerate(COLUMNS[:2]):
                assert Path(row[column]["path"]) == files[Path(wanted["images"][side]).name]


def test_full_build_keeps_the_encoded_bytes(raw, tmp_path):
    labels = [number % 3 == 0 for number in range(SIZES["train"])]
    found = list_sha256(deletion_order(np.array(labels, int), 2, stream("nlvr2")))
    with pytest.raises(BadInput) as error:
        build(TASK, variant="full", out=tmp_path, raw=raw)
    assert found in str(error.value) and TASK.full.deletion_sha256 in str(error.value)
    fitting = replace(TASK, full=replace(TASK.full, deletion_sha256=found))
    build(fitting, variant="full", out=tmp_path, raw=raw)
    splits = load_split(fitting, variant="full", ratio=10, out=tmp_path)
    assert {split: len(rows) for split, rows in splits.items()} == {
        "forget": 20, "retain": 280, "validation": 12, "test": 14, "ood": 10
    }  # fmt: skip
    for row in undecoded(splits["forget"]):
        wanted = entry("train", row["index"])
        assert (row["text"], row["label"]) == (wanted["sentence"], wanted["label"] == "True")
        for side, column in enumerate(COLUMNS[:2]):
            (file,) = raw.rglob(Path(wanted["images"][side]).name)
            assert row[column]["bytes"] == file.read_bytes()


@pytest.mark.parametrize("missing", ["dev.json", None])
def test_revision_of_statements_from_the_hub_is_recorded(raw, tmp_path, monkeypatch, missing):
    found = list_sha256(deletion_order(np.array(TASK.full.load(raw)["train"]["label"][:]), 2, stream("nlvr2")))
    fitting = replace(TASK, full=replace(TASK.full, deletion_sha256=found))
    if missing:
        elsewhere = (raw / missing).rename(tmp_path / missing)
        monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *args, **kwargs: str(elsewhere))
    folder = build(fitting, variant="full", out=tmp_path / "out", raw=raw)
    upstream = json.loads((folder / "mubench.json").read_text())["upstream"]
    revision = "2ed60bc493396668d77b6ffa37859349f68e996f" if missing else None
    assert upstream == {"id": "jialicheng/nlvr2", "revision": revision, "raw": True}
    card = (folder / "README.md").read_text()
    assert (f", read from a local copy, what that lacked at `{revision}`" in card) == bool(missing)
    assert ", read from a local copy" in card
    assert build(fitting, variant="full", out=tmp_path / "out", raw=raw) == folder


def test_the_authors_own_files_are_read_too(raw):
    """One object a line, images named by the identifier."""
    expected = undecoded(TASK.full.load(raw)["validation"])[:]
    rows = [entry("dev", number) for number in range(SIZES["dev"])]
    lines = []
    for number, row in enumerate(rows):
        identifier = f"dev-{number // 4}-0-{number % 2}"
        lines.append(json.dumps({"sentence": row["sentence"], "label": row["label"], "identifier": identifier}))
    (raw / "dev.json").write_text("\n".join(lines) + "\n")
    assert undecoded(TASK.full.load(raw)["validation"])[:] == expected


def change(name, number, **values):
    def do(raw):
        entries = json.loads((raw / name).read_text())
        entries[number].update(values)
        (raw / name).write_text(json.dumps(entries))

    return do


def write(name, content):
    return lambda raw: next(raw.rglob(name)).write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda raw: (raw / "test2.json").unlink(), ["test2.json is neither in", "jialicheng/nlvr2"]),
        (write("dev.json", b'[\n{"sentence": 1},\n]'), ["dev.json, line 3"]),
        (write("dev.json", b'{"sentence": "a"}\n{"sent'), ["dev.json, line 2"]),
        (write("dev.json", b'["\xb5"]'), ["dev.json is not UTF-8", "byte 2"]),
        (write("dev.json", b'["a"]'), ["row 0 of dev.json is 'a'"]),
        (change("train.json", 7, sentence=" "), ["'train'", "row 7 of train.json", "sentence is ' '"]),
        (change("test.json", 3, label="maybe"), ["'test'", "row 3 of test.json", "'maybe'", "False, True"]),
        (change("test.json", 3, label=None), ["row 3 of test.json", "label is None"]),
        (change("test2.json", 9, images=["a.png"]), ["'ood'", "row 9 of test2.json", "two file names"]),
        (change("test2.json", 9, images=None), ["row 9 of test2.json", "images is None"]),
        (change("dev.json", 5, images=["a.png", "b.png"]), ["row 5 of dev.json", "a.png", "image_left"]),
        (lambda raw: next(raw.rglob("train-2-0-img1.png")).unlink(), ["row 8 of", "train-2-0-img1", "image_right"]),
    ],
)
def test_what_cannot_be_used_is_named(raw, tmp_path, spoil, said):
    spoil(raw)
    with pytest.raises(BadInput) as error:
        build(TASK, variant="full", out=tmp_path / "out", raw=raw)
    assert all(words in str(error.value) for words in said), error.value
    assert not (tmp_path / "out").exists()


def test_the_images_are_asked_for(tmp_path):
    with pytest.raises(BadInput, match="photographs of NLVR2 are not on the Hub.*--raw"):
        build(TASK, variant="full", out=tmp_path)


@pytest.mark.slow
def test_deletion_hash_from_true_size_statements(raw):
    """Labels under which the published list can be drawn, read back from a file of all train rows."""
    order = published("nlvr2")
    labels = labels_behind(order, (42462, 43911), stream("nlvr2"))
    rows = [{**entry("train", 0), "label": str(bool(label))} for label in labels]
    (raw / "train.json").write_text(json.dumps(rows))
    train = TASK.full.load(raw)["train"]
    assert len(train) == 86373
    found = deletion_order(train["label"][:], 2, stream(TASK.full.stream))
    assert list_sha256(found) == TASK.full.deletion_sha256


# Models ------------------------------------------------------------------------------------------------------------


def test_published_model():
    spec = get_model(TASK.full.default_model)
    assert (spec.name, spec.hub_id) == ("vilt-b32-nlvr2", "dandelin/vilt-b32-finetuned-nlvr2")
    assert dict(TASK.full.published_scores) == {spec.name: 0.7652}


def test_prepared_is_what_the_row_shows(tiny, mini_out):
    spec, data = tiny
    splits = load_split(TASK, variant="mini", ratio=5, out=mini_out)
    row = splits["forget"][3]
    inputs = data.splits["forget"][3]
    assert inputs["pixel_values"].shape == (2, 3, 32, 32) and inputs["pixel_mask"].shape == (2, 32, 32)
    # Left first; normalised with the processor's mean and deviation.
    image_processor = data.processor.image_processor
    for side, name in enumerate(COLUMNS[:2]):
        scaled = np.asarray(row[name].convert("RGB")) / 255
        expected = (scaled - image_processor.image_mean) / image_processor.image_std
        np.testing.assert_allclose(inputs["pixel_values"][side].permute(1, 2, 0), expected, atol=1e-5)
    shown = data.processor.tokenizer.decode(inputs["input_ids"], skip_special_tokens=True)
    assert shown.replace(" ", "") == row["text"].lower().replace(" ", "")
    assert inputs["labels"] == row["label"] and (inputs["pixel_mask"] == 1).all()


def test_every_word_of_train_is_known(tiny, mini):
    _, data = tiny
    tokenizer = data.processor.tokenizer
    texts = [text for rows in mini.values() for text in set(rows["text"][:])]
    tokens = tokenizer(texts)["input_ids"]
    assert not any(tokenizer.unk_token_id in row for row in tokens)
    assert max(map(len, tokens)) <= tokenizer.model_max_length <= 40


def test_images_of_any_size_make_one_batch(tiny, mini):
    """Larger ones are padded on the right and below, and the padding is of no effect."""
    spec, data = tiny
    sizes, rows = [(32, 32), (50, 32), (32, 48)], []
    for number, size in enumerate(sizes):
        row = dict(mini["test"][number])
        rows.append({**row, "image_left": row["image_left"].resize(size)})
    inputs = [TASK.prepare(row, data.processor) for row in rows]
    assert len({tuple(row["pixel_values"].shape) for row in inputs}) == 3
    batch = data.collator(inputs)
    height, width = batch["pixel_values"].shape[-2:]
    assert batch["pixel_values"].shape[:3] == (3, 2, 3) and batch["pixel_mask"].shape == (3, 2, height, width)
    for number, row in enumerate(inputs):
        high, wide = row["pixel_mask"].shape[1:]
        assert torch.equal(batch["pixel_values"][number, ..., :high, :wide], row["pixel_values"])
        assert batch["pixel_mask"][number].sum() == row["pixel_mask"].sum()
        assert not batch["pixel_mask"][number, :, high:].any() and not batch["pixel_mask"][number, ..., wide:].any()
    model = fresh_model(spec, data.label_names, 1).eval()
    with torch.no_grad():
        together = model(**batch).logits
        alone = torch.cat([model(**data.collator([row])).logits for row in inputs])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_an_image_that_cannot_be_decoded_is_named(tiny, mini):
    from datasets import Dataset

    _, data = tiny
    rows = [{"index": 40 + number, **row} for number, row in enumerate(undecoded(mini["test"].select(range(3))))]
    rows[2]["image_right"] = {"bytes": rows[2]["image_right"]["bytes"][:1000], "path": None}
    broken = prepare_rows(Dataset.from_list(rows, features=data.splits["test"].rows.features), TASK, data.processor)
    broken[0], broken[1]
    with pytest.raises(BadInput, match="index 42 cannot be decoded"):
        broken[2]


def test_forward_and_backward(tiny):
    spec, data = tiny
    model = fresh_model(spec, data.label_names, 3).train()
    output = model(**data.collator([data.splits["forget"][position] for position in range(8)]))
    assert output.logits.shape == (8, 2) and output.loss.isfinite()
    output.loss.backward()
    gradients = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
    assert gradients.isfinite().all() and (gradients != 0).float().mean() > 0.5
    assert model.config.id2label == {0: "False", 1: "True"}


def test_it_looks_at_both_images_and_the_statement(tiny):
    spec, data = tiny
    model = fresh_model(spec, data.label_names, 3).eval()
    batch = data.collator([data.splits["test"][position] for position in range(6)])
    del batch["labels"]
    with torch.no_grad():
        usual = model(**batch).logits
        for side in (0, 1):
            pixels = batch["pixel_values"].clone()
            pixels[:, side] = pixels[:, side].roll(1, 0)
            assert (model(**{**batch, "pixel_values": pixels}).logits - usual).abs().max() > 1e-3
        other = {name: batch[name].roll(1, 0) for name in ("input_ids", "attention_mask")}
        assert (model(**{**batch, **other}).logits - usual).abs().max() > 1e-3


def test_saved_and_loaded(tiny, tmp_path):
    spec, data = tiny
    model = fresh_model(spec, data.label_names, 3)
    assert weights_sha256(model) == weights_sha256(fresh_model(spec, data.label_names, 3))
    model.save_pretrained(tmp_path)
    # A tokenizer that has been used saves its last padding too.
    load_processor(spec, train_texts(TASK, {name: rows.rows for name, rows in data.splits.items()})).save_pretrained(
        tmp_path
    )
    again = load_model(tmp_path, spec.architecture.auto_class)
    assert type(again) is ViltForImagesAndTextClassification and weights_sha256(again) == weights_sha256(model)
    # A published checkpoint is loaded the same way.
    published_spec = ModelSpec(spec.architecture, "b32-nlvr2", Scale(str(tmp_path), 0, "unknown"))
    assert weights_sha256(fresh_model(published_spec, data.label_names, 4)) == weights_sha256(model)
    processor = load_processor(published_spec)
    processor.save_pretrained(tmp_path / "again")
    for file in (tmp_path / "again").iterdir():
        assert file.read_bytes() == (tmp_path / file.name).read_bytes(), file.name
    row = data.splits["test"].rows[0]
    one, other = TASK.prepare(row, processor), data.splits["test"][0]
    assert all(torch.equal(torch.as_tensor(one[name]), torch.as_tensor(other[name])) for name in other)


def test_outputs_do_not_hang_on_the_callers_random_state(tiny):
    """The model puts its patches in an order drawn anew, in eval mode too."""
    spec, data = tiny
    model, rows = fresh_model(spec, data.label_names, 3), Subset(data.splits["test"], range(20))
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(row_outputs(model, rows, data.collator).logits)
        after = torch.rand(3)
        torch.manual_seed(seed)
        assert torch.equal(after, torch.rand(3))
    np.testing.assert_array_equal(*found)
