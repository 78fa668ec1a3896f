"""Makes a table of prepared rows: chooses the smallest form that gives the same bits, and compares every row."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mubench_hf.data.pixels import PixelRecipe, Values, image_part, steps_of, unscaled
from mubench_hf.data.row_table import FORMAT, NOTE, Column, described_files, files_of
from mubench_hf.data.split_rows import SplitRows
from mubench_hf.utils.files import write_atomic
from mubench_hf.utils.sealed import sealed

CHUNK = 32
"""Rows that are compared at once."""

WHOLE = np.iinfo(np.int32)
"""Range of the numbers of a list."""


class Unsuitable(ValueError):
    """Rows cannot be kept in a table, or not in the form that was chosen; it says why."""


def plans(rows: SplitRows, sample: list[dict[str, Any]], places: list[int]) -> Iterator[list[Column]]:
    """Yield the columns of tables that could hold rows like those of a sample, the smallest first.

    Args:
        rows: The rows.
        sample: Some of them, prepared.
        places: Their numbers.

    Raises:
        Unsuitable: If a row holds what a table cannot.
    """
    plain = [_column(name, [row[name] for row in _alike(sample)]) for name in sample[0]]
    name = next((each.name for each in plain if _may_be_pixels(each)), None) if image_part(rows.processor) else None
    if name is not None:
        made = [row[name] for row in sample]
        smaller = replace(next(each for each in plain if each.name == name), form="pixels", dtype="uint8")
        found = [smaller] if _holds(smaller, made, [unscaled(rows.processor, each) for each in made]) else []
        bare = [row[name] for place in places if (row := rows.bare(place)) is not None]
        if found and bare and all(each.dtype == torch.uint8 and each.shape == bare[0].shape for each in bare):
            steps = steps_of(rows.processor, *bare[0].shape[-2:])
            recipe = {"resized": steps[0], "cut": steps[1]} if steps else None
            source = replace(smaller, shape=tuple(bare[0].shape), recipe=recipe)
            if recipe and source.row_bytes < smaller.row_bytes and _holds(source, made, bare):
                found = [source, smaller]
        for column in found:
            yield [column if each.name == name else each for each in plain]
    yield plain


def _alike(sample: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if any(list(row) != list(sample[0]) for row in sample):
        raise Unsuitable("rows have different fields")
    return sample


def _column(name: str, values: list[Any]) -> Column:
    first = values[0]
    if all(type(value) in (int, float) and type(value) is type(first) for value in values):
        return Column(name, "number", "int64" if type(first) is int else "float64")
    if all(isinstance(value, list) and all(type(each) is int for each in value) for value in values):
        return Column(name, "numbers", "int32")
    if all(type(value) is Tensor for value in values):
        if any(value.shape != first.shape or value.dtype != first.dtype for value in values):
            raise Unsuitable(f"{name} has rows of different shapes")
        try:
            return Column(name, "tensor", first.numpy().dtype.name, tuple(first.shape))
        except TypeError as error:
            raise Unsuitable(f"{name} is of type {first.dtype}") from error
    raise Unsuitable(f"{name} is a {type(first).__name__}")


def _may_be_pixels(column: Column) -> bool:
    return column.form == "tensor" and column.dtype == "float32" and len(column.shape) >= 3


def _holds(column: Column, made: list[Tensor], stored: list[Tensor]) -> bool:
    """Return whether pixels stored in this form give what the processor made, on some rows."""
    values = Values(column.shape[-3])
    recipe = PixelRecipe(b"", **dict(column.recipe or {}))
    return all(values.learn(recipe.shaped(pixels), become) for become, pixels in zip(made, stored, strict=True))


def table_bytes(columns: list[Column], sample: list[dict[str, Any]], rows: int) -> int:
    """Return about how many bytes a table takes."""
    size = 0.0
    for each in columns:
        listed = each.form == "numbers"
        size += each.row_bytes * np.mean([len(row[each.name]) for row in sample]) + 8 if listed else each.row_bytes
    return int(size * rows)


def write_table(
    folder: Path, rows: SplitRows, columns: list[Column], made_of: Mapping[str, Any], seen: Callable[[int], None]
) -> None:
    """Write a table that replaces whatever is in ``folder`` once it is whole; each row is compared with the row itself.

    Args:
        folder: Where it will be.
        rows: The rows.
        columns: How they are stored, one of ``plans``.
        made_of: Says what it was made of.
        seen: Called with the number of rows that were just done.

    Raises:
        Unsuitable: If a row would not come out as it was prepared.
    """
    for left in folder.parent.glob(f".{folder.name}.*.tmp"):
        shutil.rmtree(left)  # Of a process that was killed: this one holds the lock.
    part = folder.parent / f".{folder.name}.{uuid.uuid4().hex}.tmp"
    part.mkdir(parents=True)
    try:
        columns = _fill(part, rows, columns, seen)
        note = {
            "format": FORMAT,
            "made_of": made_of,
            "rows": len(rows),
            "columns": [column.note() for column in columns],
            "files": described_files(part, columns),
        }
        content = sealed(json.loads(json.dumps(note)))
        write_atomic(part / NOTE, lambda stream: stream.write(json.dumps(content).encode()))
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _fill(folder: Path, rows: SplitRows, columns: list[Column], seen: Callable[[int], None]) -> list[Column]:
    """Write the files of a table; return its columns, whose recipes now hold what each value becomes."""
    learnt = {column.name: Values(column.shape[-3]) for column in columns if column.form == "pixels"}
    needs_bare = any(column.recipe for column in columns)
    with ExitStack() as stack:
        files = [
            [stack.enter_context(open(file, "wb")) for file in files_of(folder, number, column)]
            for number, column in enumerate(columns)
        ]
        ends = [0] * len(columns)
        for each, column in zip(files, columns, strict=True):
            if column.form == "numbers":
                each[1].write(np.int64(0).tobytes())
        for start in range(0, len(rows), CHUNK):
            places = range(start, min(start + CHUNK, len(rows)))
            made = [rows.prepared(place) for place in places]
            bare = [rows.bare(place) or {} for place in places] if needs_bare else made
            if any(list(row) != [column.name for column in columns] for row in made):
                raise Unsuitable("rows have different fields")
            for number, (column, out) in enumerate(zip(columns, files, strict=True)):
                values = [row[column.name] for row in made]
                if column.form == "pixels":
                    raw = [row[column.name] for row in bare]
                    out[0].write(_pixels(column, values, raw, learnt[column.name], rows.processor))
                elif column.form == "numbers":
                    _checked(column, _column(column.name, values))
                    for value in values:
                        if value and not WHOLE.min <= min(value) <= max(value) <= WHOLE.max:
                            raise Unsuitable(f"{column.name} has a number of over 32 bits")
                        ends[number] += len(value)
                        out[0].write(np.asarray(value, np.int32).tobytes())
                        out[1].write(np.int64(ends[number]).tobytes())
                else:
                    _checked(column, _column(column.name, values))
                    for value in values:
                        out[0].write(np.asarray(value, column.dtype).tobytes())
            seen(len(places))
        for each in files:
            for file in each:
                file.flush()
                os.fsync(file.fileno())
    recipes = {name: {"resized": None, "cut": None, "values": values.bytes().hex()} for name, values in learnt.items()}
    return [
        replace(column, recipe={**recipes[column.name], **dict(column.recipe or {})})
        if column.form == "pixels"
        else column
        for column in columns
    ]


def _checked(column: Column, found: Column) -> None:
    if (column.form, column.dtype, column.shape) != (found.form, found.dtype, found.shape):
        raise Unsuitable(f"{column.name} has rows of different types or shapes")


def _pixels(column: Column, made: list[Tensor], bare: list[Tensor], learnt: Values, processor: Any) -> bytes:
    """Return a chunk's pixels as they are stored, after they were found to give what the processor made."""
    stored = bare if column.recipe else [unscaled(processor, each) for each in made]
    recipe = PixelRecipe(b"", **dict(column.recipe or {}))
    if any(each.dtype != torch.uint8 or tuple(each.shape) != column.shape for each in stored):
        raise Unsuitable(f"{column.name} has rows of different shapes")
    for pixels, become in zip(stored, made, strict=True):
        if not learnt.learn(recipe.shaped(pixels), become):
            raise Unsuitable(f"{column.name} is not made of its pixels one by one")
    return torch.stack(stored).numpy().tobytes()
