"""What a saved model asks for, looked at before anything is built: no foreign code, no size that its weights lack."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mubench_hf.errors import BadInput
from mubench_hf.utils.json_files import parse_object, read_object

ADAPTER = "adapter_config.json"
CONFIG, PIPELINE = "config.json", "model_index.json"

LARGEST_HEADER = 100 * 10**6
"""Bytes of a safetensors header, as the format's own library has it."""

LARGEST_NUMBER, MOST_LAYERS = 2**24, 200
"""Largest whole number in a configuration, and most layers of a model whose weights are no safetensors."""

SPARE, SPARE_BYTES = 10**6, 2**27
"""Weights that a model may have beyond those in its files, before it is known which are lacking; and bytes of what it
computes when it is built, such as tables of positions."""

ATTENTION = ("eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3", "flash_attention_4")
"""Implementations of attention that a configuration may name; others are repositories that code is loaded from."""

FOREIGN = {
    "quantization_config": "quantised weights are not read",
    "transformers_weights": "weights are read from the files of the usual names alone",
    "custom_pipeline": "pipelines of others are not run",
    "fusion_config": "models are run as they are defined",
}
"""Fields of a configuration that would load or run something else, and why they are refused."""

PROCESSORS = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
"""Files that say how inputs are made."""

LONGEST_SIDE, LONGEST_INPUT = 8192, 2**20
"""Largest side of an image, in pixels, and largest other size of a model's input."""

_LAYERS = re.compile("(layers?|depths?|blocks?|stages?)$")
_SIDES = re.compile("(height|width|shortest_edge|crop_size|image_size)$")
_NOT_A_SIZE = re.compile("theta|seed|_ids?$|frequency|sampling_rate|pixels|longest_edge|(^|model_)max_length$")


@dataclass(frozen=True)
class Tensors:
    """What the header of some weights says.

    Attributes:
        count: Number of tensors.
        elements: Number of values in all of them.
        longest: Longest side of any.
    """

    count: int
    elements: int
    longest: int


def read_header(file: Path) -> Tensors:
    """Return what a safetensors file says that it holds.

    Raises:
        BadInput: If it is not in that format: a pickle with another name is still one.
    """
    try:
        if not file.is_file():  # Reading a pipe may never end.
            raise ValueError("it is no plain file")
        size = file.stat().st_size
        with open(file, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(size - 8, LARGEST_HEADER):
                raise ValueError("its header is none")
            header = parse_object(stream.read(length))
        header.pop("__metadata__", None)
        shapes = [entry["shape"] for entry in header.values()]
        places = sorted(tuple(entry["data_offsets"]) for entry in header.values())
        ends = [0, *(end for _, end in places)]
        if [start for start, _ in places] != ends[:-1] or ends[-1] != size - 8 - length:
            raise ValueError("its tensors are not the rest of the file")
        if any(type(side) is not int or side < 0 for shape in shapes for side in shape):
            raise ValueError("a shape is no list of sizes")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{file} is not in the safetensors format ({error}); save the model again.") from error
    sides = [side for shape in shapes for side in shape]
    return Tensors(len(shapes), sum(map(math.prod, shapes)), max(sides, default=0))


def check_folder(folder: Path) -> None:
    """Check what a saved model asks for: a folder of ``save_pretrained``, or a pipeline with one for each part.

    Raises:
        BadInput: If a configuration cannot be read, asks for code or weights from elsewhere, or for sizes that no model
            has or its weights lack; or weights are not what their names say.
    """
    for file in folder.iterdir():
        if file.exists() and not (file.is_file() or file.is_dir()):
            raise BadInput(f"{file} is neither a plain file nor a folder. Remove it.")
    for name in PROCESSORS:
        if (folder / name).is_file():
            check_processor(folder / name)
    if (folder / PIPELINE).is_file():
        check_config(folder / PIPELINE, None)
        for config in sorted(folder.glob(f"*/{CONFIG}")):
            check_config(config, weights_in(config.parent))
    elif (folder / CONFIG).is_file():
        if (folder / ADAPTER).is_file():
            raise BadInput(
                f"{folder} holds a model and, in {ADAPTER}, an adapter of one, which would be put on it unasked. "
                "Merge it into the model, or move one of the two."
            )
        check_config(folder / CONFIG, weights_in(folder))


def weights_in(folder: Path) -> Tensors | None:
    """Return what the safetensors in a folder hold together, ``None`` if there are none.

    Raises:
        BadInput: If one is not in that format, or an index names another file.
    """
    files = sorted(folder.glob("*.safetensors"))
    for index in folder.glob("*.safetensors.index.json"):
        named = read_object(index).get("weight_map")
        names = {file.name for file in files}
        if not isinstance(named, dict) or not all(isinstance(name, str) and name in names for name in named.values()):
            raise BadInput(f"{index} names weights that are no safetensors beside it.")
    if not files:
        return None
    found = [read_header(file) for file in files]
    return Tensors(
        sum(each.count for each in found),
        sum(each.elements for each in found),
        max(each.longest for each in found),
    )


def check_config(file: Path, weights: Tensors | None) -> None:
    """Check one configuration, and everything in it.

    Raises:
        BadInput: See ``check_folder``.
    """
    for name, value in _fields(read_object(file)):
        if name in FOREIGN and value:
            raise BadInput(f"{file} asks for {name}: {FOREIGN[name]}. Remove it, or use another model.")
        if name.endswith("attn_implementation") and value not in (None, *ATTENTION):
            raise BadInput(f"{file} asks for the attention {value!r}. Allowed: {', '.join(ATTENTION)}.")
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if isinstance(value, int) and abs(value) > LARGEST_NUMBER and not _NOT_A_SIZE.search(name):
            raise BadInput(f"{file} has {name} = {_short(value)}; no model is that large.")
        if _LAYERS.search(name) and value > (most := max(MOST_LAYERS, weights.count if weights else 0)):
            raise BadInput(f"{file} has {name} = {_short(value)}; by its weights, it has {most:,} at most.")
        if name == "num_labels" and weights and value > max(1000, weights.longest):
            raise BadInput(f"{file} has {name} = {_short(value)}; its weights have {weights.longest:,} at most.")


def check_processor(file: Path) -> None:
    """Check that a processor makes inputs of a usual size.

    Raises:
        BadInput: If it cannot be read, or makes larger ones.
    """
    for name, value in _fields(read_object(file)):
        if isinstance(value, bool) or not isinstance(value, int | float) or _NOT_A_SIZE.search(name):
            continue
        most = LONGEST_SIDE if _SIDES.search(name) else LONGEST_INPUT
        if abs(value) > most:
            raise BadInput(f"{file} has {name} = {_short(value)}; allowed: up to {most:,}.")


def check_built(folder: Path, build: Callable[[], Any], spare: int = SPARE) -> None:
    """Check that a model is no larger than the weights beside its configuration, before it takes any memory.

    Args:
        folder: The saved model.
        build: Makes the model of its configuration; called where tensors have no memory.
        spare: Weights that it may have beyond those in the files, such as those of a new head.

    Raises:
        BadInput: If it is, or there are no safetensors.
    """
    import torch

    weights = weights_in(folder)
    if weights is None:
        raise BadInput(f"{folder} holds no weights as safetensors, and others are not read.")
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = build()
    found = sum(weight.numel() for weight in model.parameters())
    computed = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
    if found > 1.1 * weights.elements + spare:
        raise BadInput(
            f"{folder}: by its configuration the model has {found:,} weights, and its files hold {weights.elements:,}. "
            "Save the model again."
        )
    if computed > SPARE_BYTES + 8 * weights.elements:
        raise BadInput(f"{folder}: by its configuration the model computes {computed:,} bytes of tables; too many.")


def _fields(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every field of a JSON value with its name; the values of a list have the list's."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield key, each
            yield from _fields(each, key)
    elif isinstance(value, list):
        for each in value:
            if isinstance(each, dict | list):
                yield from _fields(each, name)
            else:
                yield name, each


def _short(value: float) -> str:
    text = str(value) if not isinstance(value, int) or abs(value) < 10**30 else f"{len(hex(value)) * 4}-bit number"
    return text[:40]
