"""Breaks binary files of a run: headers of weights that lie, outputs that unpack to gigabytes, renamed pickles."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

ESCAPE = "\x1b]0;owned\x07\x1b[2J[red]red[/] \u202eevil"
"""What a terminal would obey: a new title, a cleared screen; and markup."""


class Bomb:
    """Makes the marker when it is unpickled."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def deep(depth: int = 100_000) -> bytes:
    return b"[" * depth + b"]" * depth


def torch_pickled(file: Path, draw: random.Random, marker: Path) -> None:
    """Put the weights in PyTorch's own format, with a bomb among them, in place of a file and under its own name."""
    import torch

    buffer = io.BytesIO()
    torch.save({"weight": Bomb(marker)}, buffer)
    file.write_bytes(buffer.getvalue())
    file.with_name("pytorch_model.bin").write_bytes(buffer.getvalue())
    if draw.random() < 0.5:
        file.unlink()


# Weights --------------------------------------------------------------------------------------------------------------


def read(file: Path) -> tuple[dict[str, Any], bytes]:
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def put(file: Path, header: Any, body: bytes, length: int | None = None) -> None:
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body)


def header(file: Path, draw: random.Random, marker: Path) -> str:
    """Let the header of the weights lie."""
    found, body = read(file)
    name = draw.choice([name for name in found if name != "__metadata__"])
    how = draw.choice(("length", "huge", "offset", "overlap", "shape", "negative", "dtype", "unknown dtype", "float",
                       "list", "lacking", "renamed",
                        "more", "nothing", "deep", "longer", "metadata", "string"))  # fmt: skip
    length, entry = None, found[name]
    if how == "length":
        length = draw.choice((0, 1, 2**60, 2**63, 2**64 - 1, 10**9))
    elif how == "huge":
        entry["shape"] = [2**40, 2**20]
    elif how == "offset":
        entry["data_offsets"] = [draw.choice((-8, 0, 2**50)), draw.choice((2**60, -1, 4))]
    elif how == "overlap":
        entry["data_offsets"] = [0, entry["data_offsets"][1] - entry["data_offsets"][0]]
    elif how == "shape":
        entry["shape"] = entry["shape"][::-1] + draw.choice(([], [1], [0]))
    elif how == "negative":
        entry["shape"] = [-1, *entry["shape"]]
    elif how in ("dtype", "unknown dtype"):
        entry["dtype"] = draw.choice(("I32", "BOOL", "F64", "BF16")) if how == "dtype" else "X99"
    elif how == "float":
        entry["shape"] = [float(side) for side in entry["shape"]] + ["x"]
    elif how == "list":
        found = [found]
    elif how == "lacking":
        start, end = entry["data_offsets"]
        del found[name]
        body = body[:start] + body[end:]
        for other in found.values():
            if "data_offsets" in other and other["data_offsets"][0] >= end:
                other["data_offsets"] = [each - (end - start) for each in other["data_offsets"]]
    elif how == "renamed":
        found[draw.choice(("x", ESCAPE, "", "../x"))] = found.pop(name)
    elif how == "more":
        found["more"] = {"dtype": "F32", "shape": [2], "data_offsets": [len(body), len(body) + 8]}
        body += bytes(8)
    elif how == "nothing":
        found, body = {}, b""
    elif how == "longer":
        body += bytes(1000)
    elif how == "metadata":
        found["__metadata__"] = draw.choice((None, [], {"format": "np"}, {"format": ["pt"]}, "x"))
    elif how == "string":
        found[name] = draw.choice(("x", None, [], {"dtype": "F32"}))
    put(file, found, body, length)
    if how == "deep":
        file.write_bytes(struct.pack("<Q", 200_000) + deep())
    return how


def numbers(file: Path, draw: random.Random, marker: Path) -> str:
    """Make weights not a number, infinite or huge."""
    found, body = read(file)
    value = draw.choice((float("nan"), float("inf"), 3e38))
    put(file, found, struct.pack("<f", value) * (len(body) // 4))
    return str(value)


def index(file: Path, draw: random.Random, marker: Path) -> str:
    """Say that the weights are several files, which lie elsewhere."""
    found, _ = read(file)
    named = draw.choice(("../../outside.safetensors", "/etc/passwd", "pytorch_model.bin", "gone.safetensors", 3, None))
    text = json.dumps(
        {"metadata": {}, "weight_map": dict.fromkeys((key for key in found if key != "__metadata__"), named)}
    )
    file.with_name(f"{file.name}.index.json").write_text(draw.choice((text, "[]", "{}", '{"weight_map": []}')))
    if draw.random() < 0.7:
        file.unlink()
    return str(named)


# Outputs --------------------------------------------------------------------------------------------------------------


def npy(shape: str, dtype: str = "<f4") -> bytes:
    """Return the beginning of an array that says to have a shape."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def archive(file: Path, draw: random.Random, marker: Path) -> str:
    """Let the outputs be more, less or other than they should be."""
    with np.load(file, allow_pickle=False) as found:
        arrays = dict(found)
    how = draw.choice(("bomb", "objects", "shape", "lacking", "more", "nan", "type", "names", "rows", "zip", "scalar"))
    key = draw.choice(sorted(arrays))
    if how == "objects":
        arrays[key] = np.array([Bomb(marker)], dtype=object)
    elif how == "lacking":
        del arrays[key]
    elif how == "more":
        arrays[draw.choice(("x", "forget_more", "../../x"))] = np.zeros(3)
    elif how == "nan":
        arrays[key] = np.full_like(arrays[key], np.nan, dtype=np.float32)
    elif how == "type":
        arrays[key] = draw.choice((np.array(["x"] * 4), arrays[key].astype(complex), arrays[key].astype(bool),
                                   np.zeros(3, "V8"), np.array([b"x"]), np.zeros(3, "M8[s]")))  # fmt: skip
    elif how == "rows":
        arrays[key] = np.atleast_1d(arrays[key])[: draw.choice((0, 1))]
    elif how == "scalar":
        arrays[key] = np.float32(1)
    np.savez(file, **arrays)
    if how in ("bomb", "shape", "names", "zip"):
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if how == "bomb" else zipfile.ZIP_STORED) as made:
            for name in arrays:
                with made.open(f"{'../' * (how == 'names')}{name}.npy", "w", force_zip64=True) as member:
                    if how == "bomb":  # A block that packs well, again and again.
                        member.write(npy(f"({3600 * 2**20 // 4 // len(arrays)},)"))
                        block = bytes(2**20)
                        for _ in range(530 // len(arrays)):
                            member.write(block)
                    else:
                        shape = draw.choice(("(1000000000000,)", "(-1,)", "(3, 10000000000)", "x", "(10,)"))
                        member.write(npy(shape, draw.choice(("<f4", "|O", "<U900000000", "x"))) + bytes(40))
    return how
