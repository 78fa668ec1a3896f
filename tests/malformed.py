"""Breaks one file of a run's folder in some way that carelessness or malice could: drawn from a seed."""

from __future__ import annotations

import json
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from malformed_binaries import ESCAPE, Bomb, archive, deep, header, index, numbers, torch_pickled

from mubench_hf.runs.checked import hashed_files
from mubench_hf.utils.sealed import SEAL, content_sha256

VALUES = (None, "", "x", ESCAPE, "../../../escape", "/etc/passwd", [], {}, [None], -1, 0, 1, 2**31, 2**70, 10**400,
          1e308, True, False, "9" * 5000, "y" * 10**6, {"a": {"b": [1]}}, ["x", 3], float("nan"))  # fmt: skip

CODE = "import pathlib\npathlib.Path({marker!r}).touch()\nclass Config: pass\nclass Model: pass\n"


# Any file -------------------------------------------------------------------------------------------------------------


def gone(file: Path, draw: random.Random, marker: Path) -> None:
    file.unlink()


def empty(file: Path, draw: random.Random, marker: Path) -> None:
    file.write_bytes(b"")


def cut(file: Path, draw: random.Random, marker: Path) -> None:
    file.write_bytes(file.read_bytes()[: draw.randrange(file.stat().st_size)])


def flipped(file: Path, draw: random.Random, marker: Path) -> None:
    data = bytearray(file.read_bytes())
    for _ in range(draw.choice((1, 20))):
        data[draw.randrange(len(data))] = draw.randrange(256)
    file.write_bytes(data)


def noise(file: Path, draw: random.Random, marker: Path) -> None:
    file.write_bytes(draw.randbytes(draw.choice((3, 4000))))


def pickled(file: Path, draw: random.Random, marker: Path) -> None:
    file.write_bytes(pickle.dumps(Bomb(marker)))


def folder(file: Path, draw: random.Random, marker: Path) -> None:
    file.unlink()
    file.mkdir()


def link_outside(file: Path, draw: random.Random, marker: Path) -> None:
    file.unlink()
    file.symlink_to(draw.choice(("/etc/passwd", "/nowhere", file.name, "/dev/zero", marker.with_name("outside.txt"))))


def pipe(file: Path, draw: random.Random, marker: Path) -> None:
    file.unlink()
    os.mkfifo(file)


# JSON -----------------------------------------------------------------------------------------------------------------


def no_json(file: Path, draw: random.Random, marker: Path) -> None:
    file.write_bytes(draw.choice((b"hello", b"{", b"{}", b"[]", b"3", b"null", b'"x"', b"NaN", b"\xff\xfe{}", b"\x00",
                                  deep(), b'{"a":' * 50_000, b" " * 20_000_000, b'{"a": 1, "a": 2}')))  # fmt: skip


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Return the path of every field in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, each in items for place in ((*path, key), *places(each, (*path, key)))]


def field(file: Path, draw: random.Random, marker: Path) -> str:
    """Give fields a value of another type or size, or take them away."""
    content, done = json.loads(file.read_text()), []
    for _ in range(draw.choice((1, 1, 1, 3))):
        if not (found := places(content)):
            break
        *path, last = min(draw.sample(found, min(3, len(found))), key=len)
        inside = content
        for key in path:
            inside = inside[key]
        if draw.random() < 0.15:
            del inside[last]
        else:
            inside[last] = draw.choice(VALUES)
        done.append(".".join(map(str, (*path, last))))
    write(file, content)
    return ",".join(done)


def escapes(file: Path, draw: random.Random, marker: Path) -> str:
    """Put what a terminal obeys in the place of a text."""
    content = json.loads(file.read_text())
    texts = []
    for place in places(content):
        inside = content
        for key in place[:-1]:
            inside = inside[key]
        if isinstance(inside[place[-1]], str):
            texts.append((inside, place[-1]))
    if texts:
        inside, last = draw.choice(texts)
        inside[last] += ESCAPE
        write(file, content)
        return str(last)
    return ""


def write(file: Path, content: Any) -> None:
    """Write a JSON value, with its seal if it has one: whoever changes a record may seal it again."""
    if isinstance(content, dict) and SEAL in content:
        content[SEAL] = content_sha256(content)
    try:
        file.write_text(json.dumps(content))
    except ValueError:  # A number too long to be written in decimal.
        file.write_text(json.dumps(content, default=str).replace("1e400", "1" * 4000))


# Configurations of models and processors ------------------------------------------------------------------------------

SIZES = {
    "num_hidden_layers": 20_000, "hidden_size": 10**9, "vocab_size": 10**10, "intermediate_size": 10**12,
    "num_attention_heads": 0, "image_size": 10**6, "patch_size": 0, "max_position_embeddings": 10**11,
    "num_labels": 10**8, "num_channels": 77, "num_key_value_heads": 10**9, "qkv_bias": "maybe",
}  # fmt: skip


def size(file: Path, draw: random.Random, marker: Path) -> str:
    content = json.loads(file.read_text())
    name = draw.choice([name for name in SIZES if name in content] or list(SIZES))
    write(file, content | {name: draw.choice((SIZES[name], 20_000, 10**6, -5, 0, 7))})
    return name


def labels(file: Path, draw: random.Random, marker: Path) -> None:
    content, count = json.loads(file.read_text()), draw.choice((0, 1, 3, 11, 40_000))
    content["id2label"] = {str(number): f"{ESCAPE}{number}" for number in range(count)}
    content["label2id"] = {name: int(number) for number, name in content["id2label"].items()}
    write(file, content)


def foreign_code(file: Path, draw: random.Random, marker: Path) -> str:
    """Ask for code that lies beside the configuration, under every name by which it may be asked for."""
    content = json.loads(file.read_text())
    content["auto_map"] = {
        **{f"Auto{what}": "planted.Model" for what in ("Model", "Processor", "ImageProcessor", "FeatureExtractor",
                                                       "ModelForImageClassification", "ModelForCausalLM")},
        "AutoConfig": "planted.Config", "AutoTokenizer": ["planted.Model", "planted.Model"],
    }  # fmt: skip
    how = draw.choice(("beside", "unknown", "elsewhere", "generate", "class"))
    if how in ("unknown", "elsewhere"):
        content["model_type"] = "planted"
    if how == "elsewhere":
        content["auto_map"] = {key: "mubench/planted--planted.Model" for key in content["auto_map"]}
    if how == "class":
        for name in ("processor_class", "tokenizer_class", "image_processor_type", "feature_extractor_type"):
            content[name] = "PlantedModel"
    write(file, content)
    for place in ("planted.py", "custom_generate/generate.py", "modeling.py"):
        file.with_name("custom_generate").mkdir(exist_ok=True)
        file.with_name(place.split("/")[0]).joinpath(*place.split("/")[1:]).write_text(CODE.format(marker=str(marker)))
    return how


def asks_for_more(file: Path, draw: random.Random, marker: Path) -> str:
    content = json.loads(file.read_text())
    asked = draw.choice([
        {"attn_implementation": "kernels-community/flash-attn"}, {"_attn_implementation": "someone/kernel"},
        {"_attn_implementation_internal": "someone/kernel"}, {"experts_implementation": "someone/kernel"},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
        {"quantization_config": {"quant_method": "nonsense"}}, {"transformers_weights": "../../outside.bin"},
        {"transformers_weights": "pytorch_model.bin"}, {"dtype": "float8_nonsense"}, {"torch_dtype": "system"},
        {"model_type": "bert"}, {"model_type": "gpt2"}, {"model_type": "nonsense"}, {"architectures": ["os.system"]},
        {"architectures": 3}, {"hidden_act": "__import__"}, {"custom_pipelines": {"x": {"impl": "planted.Model"}}},
        {"fusion_config": {"x": True}}, {"problem_type": "regression"}, {"is_decoder": True},
        {"base_model_name_or_path": "someone/else"}, {"pruned_heads": {"0": [0, 1, 2, 3]}},
        {"use_bfloat16": True, "torchscript": True}, {"chunk_size_feed_forward": -3}, {"output_attentions": True},
        {"num_labels": 3}, {"task_specific_params": {"x": ESCAPE}}, {"name_or_path": "/etc/passwd"},
    ])  # fmt: skip
    write(file, content | asked)
    return str(next(iter(asked.items())))


def adapter(file: Path, draw: random.Random, marker: Path) -> str:
    """Put an adapter of another repository's model in the place of the configuration, or beside it."""
    config = {"peft_type": "LORA", "base_model_name_or_path": draw.choice(("someone/else", "/etc", str(file.parent))),
              "r": 10**9, "target_modules": ["query"], "task_type": "SEQ_CLS"}  # fmt: skip
    write(file.with_name("adapter_config.json"), config)
    if draw.random() < 0.5:
        file.unlink()
    return "alone" if not file.exists() else "beside"


Break = Callable[[Path, random.Random, Path], Any]

ANY: tuple[Break, ...] = (gone, empty, cut, flipped, noise, pickled, folder, link_outside, pipe)
JSON: tuple[Break, ...] = (*ANY, no_json, no_json, field, field, field, field, escapes, escapes)
CONFIG: tuple[Break, ...] = (*JSON, *(size, foreign_code, asks_for_more) * 3, labels, adapter)
WEIGHTS: tuple[Break, ...] = (*ANY, *(header,) * 8, torch_pickled, torch_pickled, numbers, index, index)
OUTPUTS: tuple[Break, ...] = (*ANY, *(archive,) * 8)
PROCESSOR: tuple[Break, ...] = (*JSON, *(size, foreign_code) * 3)

BREAKS: dict[str, tuple[Break, ...]] = {
    "run.json": JSON,
    "run_result.json": JSON,
    "config.json": CONFIG,
    "model.safetensors": WEIGHTS,
    "preprocessor_config.json": PROCESSOR,
    "tokenizer.json": (*JSON, foreign_code),
    "tokenizer_config.json": PROCESSOR,
    "generation_config.json": (*JSON, foreign_code),
    "outputs.npz": OUTPUTS,
    ".npz": OUTPUTS,
    ".json": JSON,
}
"""File → how it may be broken; results are named by their endings."""


def break_one(folder: Path, names: tuple[str, ...], draw: random.Random, marker: Path) -> str:
    """Break one file in a folder, and say which and how.

    Args:
        folder: The folder.
        names: Names of files, or endings such as ``.npz``.
        draw: Draws file and break.
        marker: File that appears if something of the broken folder is run.
    """
    files = {
        file: breaks
        for name in names
        for file in (sorted(folder.glob(f"*{name}")) if name.startswith(".") else [folder / name])
        if file.is_file() and (breaks := BREAKS[name])
    }
    file = draw.choice(sorted(files))
    chosen = draw.choice(files[file])
    said = chosen(file, draw, marker)
    record = folder / "run.json"
    if file != record and record.is_file() and draw.random() < 0.7:  # A stranger notes the hashes of what he made.
        content = json.loads(record.read_text())
        if "files" in content:
            write(record, content | {"files": hashed_files(folder)})
    return f"{file.name}: {chosen.__name__}{f' ({said})' if said else ''}"[:120].encode("unicode_escape").decode()
