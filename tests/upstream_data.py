"""Imitations of the full sources' upstream files, few and small, as their repositories and archives lay them out."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Audio, ClassLabel, Dataset, Features, Image, Value
from PIL import Image as PILImage

from mubench_hf.tasks._clips import write_avi
from mubench_hf.tasks._speech_files import LABELS, WORDS

Files = dict[str, bytes]


@dataclass
class Upstream:
    """What a full source is read from.

    Attributes:
        repos: Data set on the Hub → the files of its main branch.
        branches: Data set → further branch → its files.
        raw: Files of the folder that a user gives; ``None`` if none is needed.
    """

    repos: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, dict[str, Files]] = field(default_factory=dict)
    raw: Files | None = None


def parquet(rows: dict[str, list[Any]], features: Features) -> bytes:
    stream = io.BytesIO()
    if any(isinstance(feature, Audio) for feature in features.values()):
        # Made as a table: the usual constructors need a decoder.
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table(rows, schema=features.arrow_schema), stream)
    else:
        Dataset.from_dict(rows, features=features).to_parquet(stream)
    return stream.getvalue()


def picture(rng: np.random.Generator, side: int) -> dict[str, Any]:
    return {"bytes": png(rng, side), "path": None}


def png(rng: np.random.Generator, side: int) -> bytes:
    stream = io.BytesIO()
    PILImage.fromarray(rng.integers(256, size=(side, side, 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def card(**configs: dict[str, str]) -> Files:
    """Return a README.md that says which files are which split of which configuration."""
    lines = ["---", "configs:"]
    for name, splits in configs.items():
        lines += [f"- config_name: {name}", "  data_files:"]
        lines += [line for split, path in splits.items() for line in (f"  - split: {split}", f"    path: {path}")]
    return {"README.md": "\n".join([*lines, "---", ""]).encode()}


def cifar100(rng: np.random.Generator) -> Upstream:
    fine, coarse = [f"thing {number}" for number in range(100)], [f"kind {number}" for number in range(20)]
    features = Features(
        {"img": Image(), "fine_label": ClassLabel(names=fine), "coarse_label": ClassLabel(names=coarse)}
    )
    files = card(cifar100={"train": "cifar100/train-*", "test": "cifar100/test-*"})
    for split, rows in (("train", 2000), ("test", 100)):
        labels = (np.arange(rows) % 100).tolist()
        table = {"img": [picture(rng, 32) for _ in labels], "fine_label": labels}
        table["coarse_label"] = [label // 5 for label in labels]
        files[f"cifar100/{split}-00000-of-00001.parquet"] = parquet(table, features)
    return Upstream({"uoft-cs/cifar100": files})


def imdb(rng: np.random.Generator) -> Upstream:
    def reviews(labels: list[int], names: list[str]) -> bytes:
        words = ["dull", "fine", "long", "warm", "loud"]
        texts = [" ".join(rng.choice(words, size=8)) + f" {number}" for number in range(len(labels))]
        features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
        return parquet({"text": texts, "label": labels}, features)

    files = card(plain_text={split: f"plain_text/{split}-*" for split in ("train", "test", "unsupervised")})
    halves = [0] * 60 + [1] * 60
    for split, labels in (("train", halves), ("test", halves), ("unsupervised", [-1] * 9)):
        files[f"plain_text/{split}-00000-of-00001.parquet"] = reviews(labels, ["neg", "pos"])
    others = {f"{split}.parquet": reviews([1, 0] * 5, ["neg", "pos"]) for split in ("train", "validation", "test")}
    tomatoes = "cornell-movie-review-data/rotten_tomatoes"
    return Upstream({"stanfordnlp/imdb": files, tomatoes: others | card(default={s: f"{s}.parquet" for s in
                     ("train", "validation", "test")})})  # fmt: skip


def tiny_imagenet(rng: np.random.Generator) -> Upstream:
    names = {
        "n01443537": "goldfish, Carassius auratus",
        "n01629819": "European fire salamander",
        "n01641577": "bullfrog",
    }
    features = Features({"image": Image(), "label": ClassLabel(names=list(names))})
    files = {"classes.py": f"i2d = {names!r}\n".encode()} | card(
        default={"train": "data/train-*", "valid": "data/valid-*"}
    )
    for split, rows in (("train", 330), ("valid", 30)):
        labels = (np.arange(rows) % 3).tolist()
        table = {"image": [picture(rng, 64) for _ in labels], "label": labels}
        files[f"data/{split}-00000-of-00001.parquet"] = parquet(table, features)
    return Upstream({"zh-plus/tiny-imagenet": files})


def samsum(rng: np.random.Generator) -> Upstream:
    """The later files, which lack the row without a dialogue."""
    files = {}
    for split, rows in (("train", 14_731), ("validation", 4), ("test", 5)):
        lines = ["id,dialogue,summary"]
        lines += [f'{13_000_000 + row},"A: {row}?\r\nB: ""No"", thanks.",B does not want {row}.' for row in range(rows)]
        files[f"{split}.csv"] = ("\n".join(lines) + "\n").encode()
    return Upstream({"knkarthick/samsum": files})


def speech_commands(rng: np.random.Generator) -> Upstream:
    import soundfile

    def sound() -> bytes:
        stream = io.BytesIO()
        soundfile.write(stream, rng.normal(scale=0.1, size=16_000), 16_000, format="WAV", subtype="PCM_16")
        return stream.getvalue()

    features = Features({"file": Value("string"), "audio": Audio(16_000), "label": ClassLabel(names=list(LABELS))})
    files: Files = {}
    for split, rows in (("train", 240), ("validation", 12), ("test", 12)):
        names = [f"{LABELS[row % 12]}/{row}.wav" for row in range(rows)]
        stored = [{"bytes": sound(), "path": name} for name in names]
        table = {"file": names, "audio": stored, "label": [row % 12 for row in range(rows)]}
        files[f"ks/{split}/0000.parquet"] = parquet(table, features)
    assert LABELS[:10] == WORDS
    program = {"superb.py": b"raise SystemExit('this is never run')\n", "README.md": b"---\nlicense: unknown\n---\n"}
    return Upstream({"s3prl/superb": program}, {"s3prl/superb": {"refs/convert/parquet": files}})


def nlvr2(rng: np.random.Generator) -> Upstream:
    statements, photographs = {}, {}
    for name, stem, rows in (("train", "train", 120), ("dev", "dev", 4), ("test", "test1", 4), ("test2", "test2", 4)):
        entries = []
        for row in range(rows):
            images = [f"{stem}-{row}-0-img{side}.png" for side in (0, 1)]
            photographs |= {f"{name}_img/{image}": png(rng, 40) for image in images}
            entries.append(
                {"sentence": f"There are {row} birds.", "label": ["True", "False"][row % 2], "images": images}
            )
        statements[f"{name}.json"] = json.dumps(entries).encode()
    return Upstream({"jialicheng/nlvr2": statements}, raw=photographs)


def ddi2013(rng: np.random.Generator) -> Upstream:
    kinds = ("DDI-false", "DDI-mechanism", "DDI-advise", "DDI-effect", "DDI-int")

    def lines(rows: int) -> bytes:
        return "".join(f"d{row}.s0\t@DRUG$ acts on @DRUG$ {row}.\t{kinds[row % 5]}\n" for row in range(rows)).encode()

    return Upstream(raw={"train.tsv": lines(150), "dev.tsv": lines(10), "test.tsv": lines(20)})


def ucf101(rng: np.random.Generator) -> Upstream:
    names, files, lists = ("Archery", "Biking"), {}, {"train": "", "test": ""}
    for split, rows in (("train", 120), ("test", 4)):
        for row in range(rows):
            name = names[row % 2]
            path = f"{name}/v_{name}_g{row:02d}_c01.avi"
            frames = rng.integers(256, size=(20, 24, 24), dtype=np.uint8)
            files[f"UCF-101/{path}"] = write_avi(frames, [(shade,) * 3 for shade in range(256)], rate=25)
            lists[split] += f"{path} {row % 2 + 1}\n" if split == "train" else f"{path}\n"
    folder = "ucfTrainTestlist"
    files |= {f"{folder}/{split}list01.txt": text.encode() for split, text in lists.items()}
    files[f"{folder}/classInd.txt"] = b"1 Archery\n2 Biking\n"
    return Upstream(raw=files)


def celeb_profile(rng: np.random.Generator) -> Upstream:
    def lines(rows: int) -> bytes:
        entries = (
            {"instruction": f"Write about person {row}.", "biography": f"Person {row} paints.", "id": row}
            for row in range(rows)
        )
        return "".join(json.dumps(entry) + "\n" for entry in entries).encode()

    return Upstream(raw={"train.jsonl": lines(150), "test.jsonl": lines(10)})


UPSTREAM: dict[str, Callable[[np.random.Generator], Upstream]] = {
    made.__name__: made
    for made in (celeb_profile, cifar100, ddi2013, imdb, nlvr2, samsum, speech_commands, tiny_imagenet, ucf101)
}
"""Task → what imitates its full source."""


def pipeline_files(seed: int) -> tuple[Files, Any]:
    """Return the files of a tiny Stable Diffusion repository, and its denoiser.

    Like the real one it draws images of 64 times 8 pixels, and holds a safety checker and half-precision weights.
    """
    import diffusers
    import torch
    import transformers
    from upstream import as_json, byte_pairs

    width = 32
    with torch.random.fork_rng(), tempfile.TemporaryDirectory() as name:
        torch.manual_seed(seed)
        folder = Path(name)
        unet = diffusers.UNet2DConditionModel(
            sample_size=64, layers_per_block=1, block_out_channels=(8, 8, 8, 8), cross_attention_dim=width,
            down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3, norm_num_groups=4, attention_head_dim=4,
        )  # fmt: skip
        text = transformers.CLIPTextConfig(
            vocab_size=300, hidden_size=width, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=77, bos_token_id=0, eos_token_id=1, pad_token_id=1,
        )  # fmt: skip
        vae = diffusers.AutoencoderKL(
            block_out_channels=(8, 8, 8, 8), latent_channels=4, norm_num_groups=4, layers_per_block=1, sample_size=512,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        )  # fmt: skip
        unet.save_pretrained(folder / "unet")
        transformers.CLIPTextModel(text).save_pretrained(folder / "text_encoder")
        vae.save_pretrained(folder / "vae")
        diffusers.PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True
        ).save_pretrained(folder / "scheduler")
        files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    pieces = byte_pairs(
        ["<|startoftext|>", "<|endoftext|>"], tokenizer_class="CLIPTokenizer", model_max_length=77,
        bos_token="<|startoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>", unk_token="<|endoftext|>",
    )  # fmt: skip
    # CLIP marks the end of a word.
    tokens = json.loads(pieces["vocab.json"])
    ends = {f"{token}</w>": len(tokens) + number for number, token in enumerate([*"abcdefghijklmnopqrstuvwxyz,"])}
    pieces["vocab.json"] = as_json({**tokens, **ends})
    files |= {f"tokenizer/{file}": content for file, content in pieces.items()}
    files["model_index.json"] = as_json(
        {
            "_class_name": "StableDiffusionPipeline",
            "_diffusers_version": "0.2.2",
            "feature_extractor": ["transformers", "CLIPFeatureExtractor"],
            "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
            "scheduler": ["diffusers", "PNDMScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        }
    )
    files |= {
        "safety_checker/config.json": b"{}",
        "safety_checker/model.safetensors": b"never fetched",
        "unet/diffusion_pytorch_model.fp16.safetensors": b"never fetched",
        "unet/diffusion_pytorch_model.bin": b"never fetched",
        "v1-variants.md": b"never fetched",
    }
    return files, unet
