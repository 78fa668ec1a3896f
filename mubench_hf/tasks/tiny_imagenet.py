"""Tiny ImageNet as text-to-image: an image for the name of a class. Prompts are forgotten, and so whole classes."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mubench_hf.errors import BadInput
from mubench_hf.tasks._judges import clip_judge, pixel_judge
from mubench_hf.tasks._spec import Source, TaskSpec

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

ROWS_PER_CLASS = 100
"""Train rows of a class, the first ones upstream: 20,000 of 100,000."""

NAMES = ("words.txt", "classes.py")
"""Files with the names of classes: that of the original release, and that of the Hub's copy."""

LIGHT = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DARK = ("zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
"""The mini classes: digits in light ink, then in dark ink. No word tells which two are the same digit."""

MINI_TRAIN, MINI_TEST = 50, 20


def prepare(row: Mapping[str, Any], processor: Any) -> dict[str, Any]:
    """Return ``input_ids`` [tokens], ``pixel_values`` [3, size, size] in [-1, 1] and ``labels`` (int) of one row."""
    return {**processor(row["prompt"], row["image"]), "labels": row["label"]}


def load_full(raw: Path | None) -> DatasetDict:
    """Read Tiny ImageNet from the Hub, or from a local copy of that data set in ``raw``; keep a fifth of train.

    Raises:
        BadInput: If a class has no name or too few rows.
    """
    from datasets import ClassLabel, DatasetDict, Features, Image, Value, load_dataset

    name, revision = (str(raw), None) if raw else (TASK.full.hub_id, TASK.full.commit())
    upstream = load_dataset(name, revision=revision)
    words = class_names(upstream["train"].features["label"].names, raw)
    features = Features({"image": Image(), "prompt": Value("string"), "label": ClassLabel(names=words)})
    kept = first_rows(upstream["train"], len(words))
    splits = {"train": upstream["train"].select(kept), "test": upstream["valid"]}
    return DatasetDict({split: _with_prompts(rows, words, features) for split, rows in splits.items()})


def first_rows(train: Dataset, classes: int) -> np.ndarray:
    """Return the first ``ROWS_PER_CLASS`` rows of every class, in upstream order.

    Raises:
        BadInput: If a class has fewer, or a label is none of the classes.
    """
    labels = np.asarray(train.with_format(None)["label"][:])
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise BadInput(
            f"Train has label {labels[wrong[0]]} at index {wrong[0]}, column 'label'. Allowed: 0 to {classes - 1}."
        )
    by_class = [np.flatnonzero(labels == label)[:ROWS_PER_CLASS] for label in range(classes)]
    few = [label for label, rows in enumerate(by_class) if len(rows) < ROWS_PER_CLASS]
    if few:
        raise BadInput(
            f"Class {few[0]} has {len(by_class[few[0]])} train rows; at least {ROWS_PER_CLASS} are needed of each of "
            f"{classes} classes. Check the upstream files."
        )
    return np.sort(np.concatenate(by_class))


def class_names(wordnet_ids: Sequence[str], raw: Path | None) -> list[str]:
    """Return the name of each class: the first of its names, or all of them if two classes share the first.

    Args:
        wordnet_ids: WordNet id of each class (``n01443537``), in label order.
        raw: Folder of a local copy; ``None`` reads the Hub.

    Raises:
        BadInput: If there is no file with the names, or a class is missing in it.
    """
    found = _names_file(raw)
    text = found.read_text(encoding="utf-8")
    names = (
        _python_names(text)
        if found.suffix == ".py"
        else dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)
    )
    missing = [one for one in wordnet_ids if not str(names.get(one, "")).strip()]
    if missing:
        raise BadInput(
            f"{found.name} has no name for the class {missing[0]} ({len(missing)} such of {len(wordnet_ids)}). Needed "
            "is every WordNet id of the labels, as in words.txt of the original release."
        )
    every = [" ".join(str(names[one]).replace("_", " ").split()) for one in wordnet_ids]
    first = [name.split(",")[0] for name in every]
    return [short if first.count(short) == 1 else whole for short, whole in zip(first, every, strict=True)]


def _names_file(raw: Path | None) -> Path:
    for name in NAMES if raw else ():
        if Path(raw, name).is_file():
            return Path(raw, name)
    if raw:
        raise BadInput(f"{raw} has neither {' nor '.join(NAMES)}, which say what classes are called. Put one there.")
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(TASK.full.hub_id, NAMES[1], repo_type="dataset", revision=TASK.full.commit()))


def _python_names(text: str) -> dict[str, str]:
    """Return the dictionary from WordNet ids to names that a Python file assigns; the file is read, never run."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            try:
                found = ast.literal_eval(node.value)
            except ValueError:
                continue
            if found and all(str(key).startswith("n") for key in found):
                return found
    return {}


def _with_prompts(rows: Dataset, words: Sequence[str], features: Any) -> Dataset:
    labels = rows.with_format(None)["label"][:]
    bad = [index for index, label in enumerate(labels) if not 0 <= label < len(words)]
    if bad:
        raise BadInput(
            f"A label is {labels[bad[0]]} at index {bad[0]}, column 'label'. Allowed: 0 to {len(words) - 1}."
        )
    prompts = [words[label] for label in labels]
    return (
        rows.select_columns(["image", "label"])
        .add_column("prompt", prompts)
        .select_columns(list(features))
        .cast(features)
    )


def load_mini(raw: Path | None) -> DatasetDict:
    """Make the mini rows from scikit-learn's scanned digits, 8 x 8 pixels, half of them in negative.

    Every scan is used once, so no test image is the negative of a train image.
    """
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
    from PIL import Image as PILImage
    from sklearn.datasets import load_digits

    digits, names = load_digits(), [*LIGHT, *DARK]
    rows: dict[str, list[tuple[np.ndarray, int]]] = {"train": [], "test": []}
    each = MINI_TRAIN + MINI_TEST
    for digit in range(10):
        ink = np.round(digits.images[digits.target == digit][: 2 * each] / 16 * 255).astype(np.uint8)
        for label, images in ((digit, ink[:each]), (digit + 10, 255 - ink[each:])):
            rows["train"] += [(image, label) for image in images[:MINI_TRAIN]]
            rows["test"] += [(image, label) for image in images[MINI_TRAIN:]]
    features = Features({"image": Image(), "prompt": Value("string"), "label": ClassLabel(names=names)})
    return DatasetDict(
        {
            split: Dataset.from_dict(
                {
                    "image": [PILImage.fromarray(image).convert("RGB") for image, _ in found],
                    "prompt": [names[label] for _, label in found],
                    "label": [label for _, label in found],
                },
                features=features,
            )
            for split, found in rows.items()
        }
    )


TASK = TaskSpec(
    name="tiny_imagenet",
    title="Tiny ImageNet",
    modality="prompt and image",
    kind="diffusion",
    inputs=("image", "prompt"),
    label="label",
    metrics=("prompt_accuracy", "frechet_distance"),
    tags=("text-to-image",),
    prepare=prepare,
    forgets_classes=True,
    corpus=("prompt",),
    full=Source(
        load=load_full,
        origin=(
            "Tiny ImageNet, 64 x 64 photographs of 200 classes: the first 100 train rows of each class, as MU-Bench "
            "uses 20,000, and all 10,000 validation rows as test. A prompt is a class's name. Which rows MU-Bench took "
            "and which it deleted is not published."
        ),
        layout="parquet with WordNet ids as labels, splits `train` and `valid`; names in `classes.py`",
        licence="unknown",
        citation=(
            "@misc{le2015tiny,\n  title = {Tiny ImageNet Visual Recognition Challenge},\n"
            "  author = {Ya Le and Xuan Yang},\n  publisher = {Stanford CS 231N},\n  year = {2015}\n}"
        ),
        hub_id="zh-plus/tiny-imagenet",
        revision="5a77092c28e51558c5586e9c5eb71a7e17a5e43f",
        default_model="stable-diffusion-v1.4",
        settings={
            "num_train_epochs": 5,
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 16,
            "learning_rate": 1e-5,
        },
        recipe={"num_train_epochs": 2, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 4},
        differs=(
            "No moving average of the weights (EMA) is kept: the model that was trained is scored and published.",
            "Whole classes are forgotten, the first tenth of a random order; which rows MU-Bench took and deleted is "
            "not published.",
        ),
        judge=clip_judge,
    ),
    mini=Source(
        load=load_mini,
        origin=(
            "Mini stand-in, not Tiny ImageNet: 1,400 of the scanned digits that scikit-learn ships, 8 x 8 pixels, in "
            "twenty classes, each digit in light and in dark ink under names of their own."
        ),
        licence="cc-by-4.0",
        citation=(
            "@misc{alpaydin1998optical,\n"
            "  title = {Optical Recognition of Handwritten Digits},\n"
            "  author = {E. Alpaydin and C. Kaynak},\n  publisher = {UCI Machine Learning Repository},\n"
            "  year = {1998}\n}"
        ),
        default_model="stable-diffusion-tiny",
        settings={"per_device_train_batch_size": 50, "cpu_threads": 1},
        recipe={"num_train_epochs": 40, "learning_rate": 3e-3, "warmup_steps": 0.05},
        # Chosen on seed 1 alone, in one to four trials per method. Bad-T was never near retraining: a smaller rate
        # ruins the other prompts even more.
        presets={
            "finetune": {"num_train_epochs": 5, "learning_rate": 1e-3},
            "neggrad": {"num_train_epochs": 3, "learning_rate": 7e-5, "per_device_train_batch_size": 10},
            "rand_label": {"num_train_epochs": 5, "learning_rate": 1e-3},
            "salun": {"num_train_epochs": 5, "learning_rate": 1e-3},
            "bad_teaching": {"num_train_epochs": 20, "learning_rate": 5e-4, "per_device_train_batch_size": 20},
            "scrub": {
                "num_train_epochs": 5,
                "msteps": 3,
                "learning_rate": 3e-4,
                "forget_batch_size": 10,
                "alpha": 0.1,
            },
        },
        judge=pixel_judge,
    ),
)
