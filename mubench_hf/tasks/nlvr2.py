"""NLVR2: whether a statement about two photographs is true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mubench_hf.errors import BadInput
from mubench_hf.tasks._drawings import draw_pair
from mubench_hf.tasks._raw import json_entries
from mubench_hf.tasks._spec import Source, TaskSpec

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

LABELS = ("False", "True")
IMAGES = ("image_left", "image_right")
MAX_TOKENS = 40
"""Tokens of a statement that the published model has positions for."""

FILES = {"train": "train.json", "validation": "dev.json", "test": "test.json", "ood": "test2.json"}


MINI_ROWS = {"train": 800, "validation": 200, "test": 400, "ood": 200}


def prepare(row: Mapping[str, Any], processor: Any) -> dict[str, Any]:
    """Return one row's inputs for ViLT.

    Returns:
        ``pixel_values`` (float tensor [2, channels, height, width]), left image first; ``pixel_mask`` (uint8 tensor
        [2, height, width]), 1 where the image is; ``input_ids``, ``attention_mask`` and ``token_type_ids`` (int64
        tensors [tokens]), padded; ``labels`` (int).
    """
    inputs = processor(
        images=[row[name].convert("RGB") for name in IMAGES],
        text=row["text"],
        padding="max_length",
        truncation=True,
        max_length=min(MAX_TOKENS, processor.tokenizer.model_max_length),
        return_tensors="pt",
    )
    pixels = {"pixel_values": inputs["pixel_values"], "pixel_mask": inputs["pixel_mask"].byte()}
    return {**pixels, **{name: inputs[name][0] for name in inputs if name not in pixels}, "labels": row["label"]}


def collator(processor: Any) -> Callable[[list[Any]], dict[str, Any]]:
    """Return a collator that pads all images of a batch to one size, on the right and below, where the mask is 0."""
    from torch.nn.functional import pad
    from transformers import default_data_collator

    def collate(rows: list[Any]) -> dict[str, Any]:
        height, width = (max(row["pixel_mask"].shape[side] for row in rows) for side in (1, 2))

        def fit(pixels: Any) -> Any:
            return pad(pixels, (0, width - pixels.shape[-1], 0, height - pixels.shape[-2]))

        return default_data_collator(
            [{**row, **{name: fit(row[name]) for name in ("pixel_values", "pixel_mask")}} for row in rows]
        )

    return collate


def load_full(raw: Path | None) -> DatasetDict:
    """Read the statements from the Hub, or from ``raw`` if it holds their files, and the images from ``raw``.

    Images are found by their names, anywhere in ``raw``. They are kept as they are.

    Raises:
        BadInput: If there is no folder, or a file or a row of it cannot be used; it names the file and the row.
    """
    from datasets import DatasetDict

    if raw is None:
        raise BadInput(
            "The photographs of NLVR2 are not on the Hub. Ask the authors for them (https://lil.nlp.cornell.edu/nlvr), "
            "unpack train_img.zip, dev_img.zip, test1_img.zip and test2_img.zip into one folder and give it with --raw."
        )
    images = {file.name: file for file in sorted(raw.rglob("*")) if file.suffix.lower() in (".png", ".jpg", ".jpeg")}
    data = {split: _read_split(_statements(raw, name), images, raw, split) for split, name in FILES.items()}
    return DatasetDict(data)


def _statements(raw: Path, name: str) -> Path:
    """Return the file of a split's statements."""
    if (raw / name).is_file():
        return raw / name
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError  # The error is that of its HTTP client, whichever it is.

    source = TASK.full
    try:
        return Path(hf_hub_download(source.hub_id, name, repo_type="dataset", revision=source.commit()))
    except (HTTPError, OSError) as error:
        raise BadInput(
            f"{name} is neither in {raw} nor readable from {source.hub_id} on the Hub ({type(error).__name__}). "
            "Put the file there, or try again with a network."
        ) from error


def _names(entry: Mapping[str, Any]) -> list[str]:
    """Return the file names of a row's images, left one first; empty if it does not say."""
    if "images" in entry:
        return [Path(str(name)).name for name in entry["images"]] if isinstance(entry["images"], list) else []
    # The authors' own files: dev-850-0-1 is the second statement on dev-850-0-img0.png and dev-850-0-img1.png.
    pair = str(entry.get("identifier", "")).rpartition("-")[0]
    return [f"{pair}-img{side}.png" for side in (0, 1)] if pair else []


def _read_split(file: Path, images: Mapping[str, Path], raw: Path, split: str) -> Dataset:
    from datasets import Dataset

    rows: dict[str, list[Any]] = {name: [] for name in (*IMAGES, "text", "label")}
    for number, entry in enumerate(json_entries(file)):
        where = f"Split {split!r}, row {number} of {file.name}"
        if not isinstance(entry, dict):
            raise BadInput(f"{where} is {entry!r:.80}. Needed: an object with sentence, label and images.")
        text, label, names = entry.get("sentence"), str(entry.get("label")), _names(entry)
        if not isinstance(text, str) or not text.strip():
            raise BadInput(f"{where}: sentence is {text!r}. Needed: a statement that is not empty.")
        if label not in LABELS:
            raise BadInput(f"{where}: label is {entry.get('label')!r}. Allowed: {', '.join(LABELS)}.")
        if len(names) != len(IMAGES):
            raise BadInput(f"{where}: images is {entry.get('images')!r}. Needed: a list of two file names.")
        for column, name in zip(IMAGES, names, strict=True):
            if name not in images:
                raise BadInput(
                    f"{where}: there is no file {name} for {column} in {raw}. Unpack the authors' images there."
                )
            rows[column].append({"bytes": None, "path": str(images[name])})
        rows["text"].append(text)
        rows["label"].append(LABELS.index(label))
    return Dataset.from_dict(rows, features=_features())


def _features() -> Any:
    from datasets import ClassLabel, Features, Image, Value

    return Features(
        {**{name: Image() for name in IMAGES}, "text": Value("string"), "label": ClassLabel(names=list(LABELS))}
    )


def load_mini(raw: Path | None) -> DatasetDict:
    """Make the mini rows: pairs of drawings with a statement each; those of ``ood`` are on darker backgrounds."""
    from datasets import Dataset, DatasetDict

    rng = np.random.RandomState(0)
    data = {}
    for split, count in MINI_ROWS.items():
        drawn = [draw_pair(rng, dark=split == "ood") for _ in range(count)]
        rows = [
            {
                **{name: {"bytes": image, "path": None} for name, image in zip(IMAGES, images, strict=True)},
                "text": text,
                "label": label,
            }
            for images, text, label in drawn
        ]
        data[split] = Dataset.from_list(rows, features=_features())
    return DatasetDict(data)


TASK = TaskSpec(
    name="nlvr2",
    title="NLVR2",
    modality="image pair and text",
    kind="classification",
    inputs=(*IMAGES, "text"),
    label="label",
    metrics=("accuracy",),
    tags=("visual-question-answering",),
    prepare=prepare,
    collator=collator,
    corpus=("text",),
    full=Source(
        load=load_full,
        origin=(
            "NLVR2, 86,373 training rows: two photographs and a statement that is true or false of them. Validation is "
            "its dev set, test its public test set, ood its second test set (test2). The statements are CC BY 4.0; the "
            "photographs belong to their owners, and the authors give them out for research."
        ),
        layout="`train.json`, `dev.json`, `test.json`, `test2.json`; photographs in a folder",
        licence="other",
        citation=(
            "@inproceedings{suhr2019corpus,\n"
            "  title = {A Corpus for Reasoning about Natural Language Grounded in Photographs},\n"
            "  author = {Alane Suhr and Stephanie Zhou and Ally Zhang and Iris Zhang and Huajun Bai and Yoav Artzi},\n"
            "  booktitle = {Proceedings of ACL},\n  year = {2019}\n}"
        ),
        hub_id="jialicheng/nlvr2",
        hub_files=tuple(FILES.values()),
        revision="2ed60bc493396668d77b6ffa37859349f68e996f",
        stream="nlvr2",
        deletion_sha256="d5407fa3b7bd2bcffd1a8c85860d811e226f9db8c9a8ebcc4fef99b905250b68",
        default_model="vilt-b32-nlvr2",
        settings={"num_train_epochs": 6, "per_device_train_batch_size": 32, "learning_rate": 1e-5},
        differs=(
            "MU-Bench's original is the checkpoint as it was published; here it is trained further, and retraining "
            "starts from it too. It was trained on all rows, so that a retrained model has seen D_f.",
            "Chance is one half, since there are two labels; MU-Bench's code counts three.",
        ),
        published_scores={"vilt-b32-nlvr2": 0.7652},
    ),
    mini=Source(
        load=load_mini,
        origin=(
            "Mini stand-in, not NLVR2: pairs of 32 x 32 drawings of one coloured shape each, and a template statement "
            "about the left one or the right one."
        ),
        licence="apache-2.0",
        citation="@misc{mubench_hf_mini,\n  title = {Mini data of mubench\\_hf},\n  author = {mubench\\_hf}\n}",
        default_model="vilt-tiny",
        # Kind of rows and recipe were picked among twelve, all but this one tried on seed 1 alone, by accuracy on 1,000
        # rows drawn apart. On the rows here seeds 1 and 2 reach 0.99 on train, 0.79 and 0.85 on validation.
        # Seeds differ much: seed 42, looked at once afterwards, has 0.94 on train and 0.90 on test.
        # A second thread would slow down a model this small.
        settings={"per_device_train_batch_size": 32, "cpu_threads": 1},
        recipe={"num_train_epochs": 24, "learning_rate": 1.5e-3, "warmup_steps": 0.05},
        # Chosen on earlier, harder rows, and kept: on seeds 1 and 2 of these, accuracy on D_f, D_r and validation and
        # the loss AUC lie 0.03 (SCRUB) to 0.07 from those of one retrained model per seed, on average. Fine-tuning at
        # 1.5e-3 and NegGrad at 2e-4 came 0.002 nearer and lost accuracy on D_r.
        presets={
            "finetune": {"num_train_epochs": 3, "learning_rate": 1e-3},
            "neggrad": {"num_train_epochs": 5, "learning_rate": 1.5e-4},
            "rand_label": {"num_train_epochs": 3, "learning_rate": 3e-4},
            "salun": {"num_train_epochs": 3, "learning_rate": 4e-4},
            "bad_teaching": {"num_train_epochs": 3, "learning_rate": 1.5e-4},
            "scrub": {
                "num_train_epochs": 5,
                "msteps": 3,
                "learning_rate": 1e-3,
                "forget_batch_size": 8,
                "temperature": 1.0,
                "alpha": 0.1,
            },
        },
    ),
)
