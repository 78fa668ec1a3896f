"""Prepared rows in a table on disk: the same bits as the processor's, whole, checked, and made again if not."""

import json
from itertools import product

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as PILImage
from torch.utils.data import DataLoader
from transformers import DataCollatorForSeq2Seq, DataCollatorWithPadding, default_data_collator

from mubench_hf.data import stored_rows
from mubench_hf.data.batches import for_loader, table_batch
from mubench_hf.data.joined import FlaggedCollator, JoinedRows
from mubench_hf.data.prepared_rows import PreparedRows
from mubench_hf.data.resizing import FILTERS, resize, weights_of
from mubench_hf.data.row_table import NOTE
from mubench_hf.data.split_rows import SplitRows
from mubench_hf.data.stored_rows import StoredRows
from mubench_hf.models.architectures.text import tiny_tokenizer
from mubench_hf.models.registry import _models
from mubench_hf.tasks import celeb_profile
from mubench_hf.utils.sealed import sealed

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


@pytest.fixture(autouse=True)
def every_size(monkeypatch):
    """Few rows are worth a table here."""
    monkeypatch.setattr(stored_rows, "SMALL", -1)
    monkeypatch.setattr(stored_rows, "SPARE", 0)


def picture(rng, height, width):
    """Return noise, a drawing of two values, or a smooth photograph-like image."""
    kind = rng.integers(3)
    if kind == 0:
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == 1:
        return (rng.random((height, width, 3)) < 0.5).astype(np.uint8) * 255
    return np.clip(rng.normal(128, 50, (height, 1, 3)) + rng.normal(0, 20, (1, width, 3)), 0, 255).astype(np.uint8)


def sizes(rng, most):
    return [int(side) for side in rng.integers(1, most, 2)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("resample", FILTERS)
def test_resize_is_pillows(resample, device, rng):
    for most in [*[12] * 10, *[70] * 12, 300]:
        (height, width), (to_height, to_width) = sizes(rng, most), sizes(rng, most)
        image = picture(rng, height, width)
        expected = np.asarray(PILImage.fromarray(image).resize((to_width, to_height), resample))
        found = resize(torch.from_numpy(image).permute(2, 0, 1).to(device), to_height, to_width, resample)
        assert np.array_equal(found.permute(1, 2, 0).cpu().numpy(), expected), (image.shape, expected.shape)
    assert all(abs(sum(weights) - (1 << 22)) < 40 for weights in weights_of(37, 11, resample)[1]), "shares of one"


FEATURES = {"image": Image(), "label": ClassLabel(names=list("abc")), "index": Value("int64")}


def prepare(row, processor):
    """Prepare as the tasks of images do."""
    pixels = processor(row["image"].convert("RGB"), return_tensors="pt")["pixel_values"][0]
    return {"pixel_values": pixels, "labels": row["label"]}


def prepare_clip(row, processor):
    """Prepare as the tasks of videos do: 16 frames, each moved on a little."""
    frame = np.asarray(row["image"].convert("RGB"))
    frames = [PILImage.fromarray(np.roll(frame, step, 1)) for step in range(16)]
    return {"pixel_values": processor(frames, return_tensors="pt")["pixel_values"][0], "labels": row["label"]}


class Pictures:
    """Two parts of a train set of random images, with and without a table.

    Args:
        rng: Source of the images.
        folder: Where the table goes.
        processor: What prepares them.
        shapes: Sizes of the images.
        how: The task's ``prepare``.
    """

    def __init__(self, rng, folder, processor, shapes, how=prepare):
        images = [PILImage.fromarray(picture(rng, *shape)) for shape in shapes]
        order = rng.permutation(len(images))
        rows = {"image": images, "label": rng.integers(0, 3, len(images)).tolist(), "index": range(len(images))}
        whole = Dataset.from_dict(rows, features=Features(FEATURES))
        self.parts = [whole.select(places) for places in np.split(order, [len(order) // 3])]
        self.folder, self.how, self.processor = folder, how, processor

    def joined(self, how=None, processor=None, **changed):
        """Return the two parts as prepared rows; they are read from a table."""
        how, processor = how or self.how, processor or self.processor
        indices = [np.asarray(part["index"]) for part in self.parts]
        made_of = {"rows": "a", "way": "b", **changed}
        stored = StoredRows(SplitRows(self.parts, indices, how, processor), self.folder / "rows", made_of, "train")
        return JoinedRows(*[PreparedRows(part, lambda row: how(row, processor), stored=stored) for part in self.parts])

    def plain(self):
        """Return them prepared one by one."""
        return JoinedRows(*[PreparedRows(part, lambda row: self.how(row, self.processor)) for part in self.parts])

    def form(self):
        """Return how the pixels are stored: their type, shape and resize."""
        note = json.loads((self.folder / "rows" / NOTE).read_text())
        pixels = next(column for column in note["columns"] if column["name"] == "pixel_values")
        return pixels["dtype"], tuple(pixels["shape"]), bool(pixels["recipe"] and pixels["recipe"]["resized"])


def same_rows(one, other):
    """Whether two data sets have the same rows: fields, types and bits, one by one and in batches."""
    for position in range(len(other)):
        found, expected = one[position], other[position]
        assert list(found) == list(expected)
        for name, value in expected.items():
            assert type(found[name]) is type(value)
            if isinstance(value, torch.Tensor):
                assert found[name].dtype == value.dtype and found[name].shape == value.shape
                assert np.array_equal(found[name].numpy().view(np.uint8), value.numpy().view(np.uint8)), name
            else:
                assert found[name] == value, name


def same_batches(one, other, device="cpu", collator=default_data_collator):
    """Whether a loader's batches from a table are those that are collated of rows."""
    collator = FlaggedCollator(collator)
    rows, collate = for_loader(one, collator)
    assert rows is not one, "batches come from the table"
    loaders = [DataLoader(rows, 3, collate_fn=collate), DataLoader(other, 3, collate_fn=collator)]
    for found, expected in zip(*loaders, strict=True):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            moved = found[name].to(device).cpu()
            assert found[name].shape == moved.shape and found[name].numel() == moved.numel()
            assert moved.dtype == value.dtype and torch.equal(moved, value), name


IMAGE = [
    pytest.param(name, marks=[pytest.mark.slow] if spec.published else [])
    for name, spec in _models().items()
    if spec.architecture.modality in ("image", "video")
]


def processors(name):
    """Return the processors of a registered model: of its tiny size or of its published one."""
    spec = _models()[name]
    return spec.architecture.real_processor() if spec.published else spec.architecture.tiny_processor([])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", IMAGE)
def test_rows_of_every_registered_processor(name, device, rng, tmp_path):
    how = prepare_clip if _models()[name].architecture.modality == "video" else prepare
    shape = tuple(int(side) for side in rng.integers(20, 40, 2))
    pictures = Pictures(rng, tmp_path, processors(name), [shape] * 4, how)
    found, expected = pictures.joined(), pictures.plain()
    same_rows(found, expected)
    same_batches(found, expected, device)
    dtype, stored, _ = pictures.form()
    assert dtype == "uint8" and np.prod(stored) <= min(3 * np.prod(shape) * stored[0] ** (len(stored) > 3), 1e9)


def changes(rng):
    """Yield settings that a processor may be saved with."""
    resamples = [*map(int, FILTERS), 0]
    for resample, rescale, normalise in product(resamples, (True, False), (True, False)):
        mean, deviation = rng.random(3).tolist(), (0.1 + rng.random(3)).tolist()
        yield {"resample": resample, "do_rescale": rescale, "do_normalize": normalise, "image_mean": mean,
               "image_std": deviation, "rescale_factor": float(rng.choice([1 / 255, 1 / 127.5]))}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit-tiny", "convnext-tiny", "mobilenet-v2-tiny", "videomae-tiny"])
def test_rows_of_changed_processors(name, rng, tmp_path):
    """Whatever is set: a form that is not exact is never chosen, and most are."""
    how, forms = (prepare_clip if name.startswith("video") else prepare), []
    for number, change in enumerate(changes(rng)):
        processor = processors(name)
        for setting, value in {**change, "do_resize": bool(rng.random() < 0.8)}.items():
            setattr(processor, setting, value)
        shapes = [tuple(int(side) for side in rng.integers(70, 90, 2))] * 3
        pictures = Pictures(rng, tmp_path / str(number), processor, shapes, how)
        same_rows(pictures.joined(), pictures.plain())
        forms.append(pictures.form()[0])
    assert forms.count("uint8") >= len(forms) - 2


def test_images_of_different_sizes_are_stored_as_the_model_reads_them(rng, tmp_path):
    pictures = Pictures(rng, tmp_path, processors("resnet-tiny"), [(16, 40), (21, 18), (30, 30), (50, 19)])
    found, expected = pictures.joined(), pictures.plain()
    same_rows(found, expected)
    same_batches(found, expected)
    assert pictures.form() == ("uint8", (3, 32, 32), False)


def test_small_images_are_stored_as_they_are(rng, tmp_path):
    pictures = Pictures(rng, tmp_path, processors("vit-base"), [(8, 9)] * 5)
    same_batches(pictures.joined(), pictures.plain())
    assert pictures.form() == ("uint8", (3, 8, 9), True)


def tokens(prompt, **settings):
    """Return tokens as a tokenizer does."""
    return {"input_ids": torch.tensor([[len(prompt), 1]])}


def test_images_of_text_to_image_models(rng, tmp_path):
    from mubench_hf.models.prompt_processor import PromptProcessor

    def how(row, processor):
        return {**processor("a" * row["label"], row["image"]), "labels": row["label"]}

    pictures = Pictures(rng, tmp_path, PromptProcessor(tokens, 48), [(16, 16)] * 5, how)
    same_rows(pictures.joined(), pictures.plain())
    same_batches(pictures.joined(), pictures.plain())
    assert pictures.form() == ("uint8", (3, 16, 16), True)


class Counting:
    """A ``prepare`` that counts how often it is called, and may fail to be a function of single pixels."""

    def __init__(self, odd=None):
        self.calls, self.odd = 0, odd

    def __call__(self, row, processor):
        self.calls += 1
        inputs = prepare(row, processor)
        if row["index"] == self.odd and inputs["pixel_values"].dtype == torch.float32:
            inputs["pixel_values"][0, 0, 0] += 2**-20
        return inputs


def test_one_row_that_is_otherwise_is_kept_as_it_is(rng, tmp_path, capsys):
    """It is not in the sample, and only comparing every row finds it."""
    how = Counting(odd=37)
    pictures = Pictures(rng, tmp_path, processors("vit-tiny"), [(16, 16)] * 60, how)
    same_rows(pictures.joined(), pictures.plain())
    assert pictures.form()[0] == "float32"
    assert "0.00 GB" in capsys.readouterr().err


def test_a_table_serves_later_runs_and_other_partitions(rng, tmp_path):
    how = Counting()
    pictures = Pictures(rng, tmp_path, processors("vit-tiny"), [(16, 16)] * 60, how)
    same_rows(pictures.joined(), pictures.plain())
    before = how.calls
    expected = pictures.plain()
    rows = [expected[position] for position in range(60)]
    made = how.calls - before
    pictures.parts = [pictures.parts[1], pictures.parts[0]]
    later = pictures.joined()
    for position, row in enumerate(rows):
        assert torch.equal(later[position]["pixel_values"], row["pixel_values"])
    assert how.calls - before - made <= 2 * stored_rows.SAMPLE + 1


def change_byte(folder):
    file = folder / "rows" / "0.bin"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def change_note(folder):
    note = json.loads((folder / "rows" / NOTE).read_text())
    (folder / "rows" / NOTE).write_text(json.dumps({**note, "rows": note["rows"] - 1}))


def change_sealed(folder):
    """Forge a note whose look-up is another, and seal it."""
    note = json.loads((folder / "rows" / NOTE).read_text())
    for column in note["columns"]:
        if column["recipe"]:
            column["recipe"]["values"] = "00" * (len(column["recipe"]["values"]) // 2)
    (folder / "rows" / NOTE).write_text(json.dumps(sealed({key: note[key] for key in note if key != "content_sha256"})))


def cut_short(folder):
    file = folder / "rows" / "0.bin"
    file.write_bytes(file.read_bytes()[:-5])


@pytest.mark.parametrize("harm", [change_byte, change_note, change_sealed, cut_short], ids=lambda harm: harm.__name__)
def test_a_damaged_table_is_made_again(harm, rng, tmp_path):
    pictures = Pictures(rng, tmp_path, processors("vit-tiny"), [(16, 16)] * 20)
    same_rows(pictures.joined(), pictures.plain())
    harm(tmp_path)
    same_rows(pictures.joined(), pictures.plain())


@pytest.mark.parametrize("changed", [{"rows": "other"}, {"way": "other"}], ids=["rows", "way"])
def test_a_table_of_other_rows_is_made_again(changed, rng, tmp_path):
    one = Pictures(rng, tmp_path, processors("vit-tiny"), [(16, 16)] * 20)
    other = Pictures(rng, tmp_path, processors("vit-tiny"), [(16, 16)] * 20)
    same_rows(one.joined(), one.plain())
    same_rows(other.joined(**changed), other.plain())


def test_a_prepare_whose_code_changed(rng, tmp_path):
    """Nothing that is noted tells, but the rows do."""
    pictures = Pictures(rng, tmp_path, processors("vit-tiny"), [(16, 16)] * 20)
    same_rows(pictures.joined(), pictures.plain())
    pictures.how = lambda row, processor: {**prepare(row, processor), "labels": row["label"] + 1}
    same_rows(pictures.joined(), pictures.plain())


def test_a_random_prepare_is_not_kept(rng, tmp_path, capsys):
    def noisy(row, processor):
        inputs = prepare(row, processor)
        return {**inputs, "pixel_values": inputs["pixel_values"] + torch.rand(())}

    pictures = Pictures(rng, tmp_path, processors("vit-tiny"), [(16, 16)] * 9, noisy)
    rows, state = pictures.joined(), torch.get_rng_state()
    assert table_batch(rows, [0]) is None and torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(rows[3]["pixel_values"], rows[3]["pixel_values"])
    assert not (tmp_path / "rows").exists() and "otherwise each time" in capsys.readouterr().err


def test_no_room(rng, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(stored_rows, "SPARE", 1 << 60)
    pictures = Pictures(rng, tmp_path, processors("vit-tiny"), [(16, 16)] * 9)
    same_rows(pictures.joined(), pictures.plain())
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "are free" in said[0] and "prepared as they are read" in said[0]
    assert not any(tmp_path.iterdir())


def test_what_no_table_can_hold(rng, tmp_path, capsys):
    pictures = Pictures(rng, tmp_path, processors("vit-tiny"), [(16, 16)] * 9)
    pictures.how = lambda row, processor: {**prepare(row, processor), "name": "a text"}
    same_rows(pictures.joined(), pictures.plain())
    assert "name is a str" in capsys.readouterr().err


@pytest.fixture
def tokenizer():
    made = tiny_tokenizer(["some words"])
    made.padding_side = "right"
    return made


def texts(rng, folder, tokenizer, **also):
    """Return rows of tokens of random lengths."""
    rows = [rng.integers(-100, 50_000, rng.integers(1, 9)).tolist() for _ in range(50)]
    pictures = Pictures(rng, folder, tokenizer, [(2, 2)] * 50)

    def how(row, processor):
        tokens = rows[row["index"]]
        made = {"input_ids": tokens, "attention_mask": [1] * len(tokens), "labels": row["label"]}
        return {**made, **{name: make(row["index"], tokens) for name, make in also.items()}}

    pictures.how = how
    return pictures


COLLATORS = {
    "padding": (DataCollatorWithPadding, {}),
    "answers": (lambda tokenizer: DataCollatorForSeq2Seq(tokenizer), {"labels": lambda index, tokens: tokens[1:3]}),
    "fill_up": (celeb_profile.collator, {"labels": lambda index, tokens: [-100, *tokens[1:]]}),
}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", COLLATORS)
def test_tokens_stay_lists_and_are_padded_alike(name, side, tokenizer, rng, tmp_path):
    make, also = COLLATORS[name]
    tokenizer.padding_side = side
    pictures = texts(rng, tmp_path, tokenizer, **also)
    same_rows(pictures.joined(), pictures.plain())
    same_batches(pictures.joined(), pictures.plain(), collator=make(tokenizer))


@pytest.mark.parametrize("change", [{"pad_to_multiple_of": 4}, {"padding": "max_length", "max_length": 20}], ids=str)
def test_a_collator_that_pads_otherwise_is_given_rows(change, tokenizer, rng, tmp_path):
    rows = texts(rng, tmp_path, tokenizer).joined()
    collator = FlaggedCollator(DataCollatorWithPadding(tokenizer, **change))
    assert for_loader(rows, collator) == (rows, collator)


def test_a_collator_that_surprises_is_given_rows(tokenizer, rng, tmp_path, monkeypatch):
    """Its class is known, and it adds something."""
    pictures = texts(rng, tmp_path, tokenizer)
    rows, collator = pictures.joined(), FlaggedCollator(DataCollatorWithPadding(tokenizer))
    assert for_loader(rows, collator)[0] is not rows
    own = tokenizer.pad
    monkeypatch.setattr(tokenizer, "pad", lambda *args, **settings: {**own(*args, **settings), "more": torch.ones(4)})
    assert for_loader(rows, collator) == (rows, collator)


def test_numbers(rng, tmp_path):
    pictures = Pictures(rng, tmp_path, None, [(2, 2)] * 9)
    pictures.how = lambda row, processor: {"labels": row["index"] / 7, "place": row["index"]}
    same_rows(pictures.joined(), pictures.plain())
    same_batches(pictures.joined(), pictures.plain())


def test_sounds(rng, tmp_path):
    """Floating-point features are stored as the extractor made them."""
    pictures = Pictures(rng, tmp_path, None, [(2, 2)] * 20)
    sounds = torch.from_numpy(rng.normal(size=(20, 1600)).astype(np.float32))
    pictures.how = lambda row, processor: {"input_values": sounds[row["index"]].clone(), "labels": row["label"]}
    same_rows(pictures.joined(), pictures.plain())
    same_batches(pictures.joined(), pictures.plain())
