"""The list of a sweep's cells: one `mubench` command each, and which others must be done before it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mubench_hf.errors import BadInput
from mubench_hf.utils.files import write_atomic
from mubench_hf.utils.json_files import parse_object, read_bytes
from mubench_hf.utils.sealed import SEAL, content_sha256, sealed

FORMAT = 1

FOLDER, FILE = "sweep", "manifest.jsonl"

STAGES = ("data", "original", "teacher", "retrain", "unlearn", "shadow", "table")
"""In the order of work: data sets; originals; their scores at each ratio, with the tables of outputs that teachers are
read from; retrained models; unlearned models; shadow models; tables and pictures."""

COMMANDS = ("build", "train", "evaluate", "unlearn", "shadow", "table")
"""What a cell may run."""

LARGEST = 2**30
"""Bytes of a manifest; a million cells have fewer."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,250}")


@dataclass(frozen=True)
class Cell:
    """One command of a sweep, to be run in the sweep's folder.

    Attributes:
        id: Its name, unique in the sweep.
        stage: One of ``STAGES``.
        command: Its words, ``mubench`` first.
        needs: Names of the cells whose files it reads.
        rows: What the rows are called that it reads: cells with the same share them in memory.
        checkpoint: Folder of the run that it makes or scores, relative to the sweep's; ``None`` for other cells.
        result: File of the result that it makes; ``None`` for a cell without.
    """

    id: str
    stage: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    rows: str = ""
    checkpoint: str | None = None
    result: str | None = None

    @property
    def takes_what_there_is(self) -> bool:
        """Whether it is run also where some of what it needs has failed."""
        return self.stage == "table"


@dataclass(frozen=True)
class Manifest:
    """A sweep.

    Attributes:
        choices: What it was made of, for people and to tell it from others.
        cells: Its cells, each after all that it needs.
        tries: How often a cell that fails is tried.
    """

    choices: Mapping[str, Any]
    cells: tuple[Cell, ...]
    tries: int = 2

    def to_lines(self) -> str:
        """Return the content of the file: a line about the whole, with the hash of all, and a line for each cell."""
        lines = [json.dumps(asdict(cell), ensure_ascii=False) for cell in self.cells]
        head = {"format": FORMAT, "tries": self.tries, "choices": dict(self.choices), "cells": _sha256(lines)}
        return "\n".join([json.dumps(sealed(head), ensure_ascii=False), *lines, ""])

    def check(self, out: Path) -> bool:
        """Return whether a folder holds this sweep; not, if it holds none.

        Raises:
            BadInput: If it holds another one.
        """
        if not manifest_file(out).exists():
            return False
        there = load_manifest(out)
        names = sorted({*there.choices, *self.choices})
        differing = [name for name in names if there.choices.get(name) != self.choices.get(name)]
        differing += ["tries"] * (there.tries != self.tries)
        if there != self:
            raise BadInput(
                f"{out} holds another sweep (its {', '.join(differing) or 'cells'} differ). Choose another --out, or "
                f"remove {manifest_file(out).parent}: finished runs stay, and are not made again."
            )
        return True

    def save(self, out: Path) -> Path:
        """Write it into a sweep's folder, unless it is there, and return its path.

        Raises:
            BadInput: If the folder holds another sweep.
        """
        file = manifest_file(out)
        if not self.check(out):
            write_atomic(file, lambda stream: stream.write(self.to_lines().encode()))
        return file


def manifest_file(out: Path) -> Path:
    """Return where a sweep's manifest is."""
    return Path(out) / FOLDER / FILE


def load_manifest(out: Path) -> Manifest:
    """Read a sweep's manifest.

    Raises:
        BadInput: If there is none, it is of another version, or it was edited.
    """
    file = manifest_file(out)
    if not file.is_file():
        raise BadInput(f"{out} holds no sweep: there is no {file}. Name the --out of `mubench sweep`.")
    try:
        head_line, *lines = read_bytes(file, LARGEST).decode("utf-8").splitlines()
        head = parse_object(head_line)
        if head.get("format") != FORMAT:
            raise ValueError(f"it is of format {head.get('format')!r}, and this version reads {FORMAT}")
        if head.get(SEAL) != content_sha256(head) or head["cells"] != _sha256(lines):
            raise ValueError("it was edited after it was written")
        cells = tuple(_cell(parse_object(line)) for line in lines)
        _check_order(cells)
        return Manifest(head["choices"], cells, int(head["tries"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadInput(
            f"{file} is no manifest that can be used: {error}. Give the sweep's own command with another --out, or "
            f"remove {file.parent}: finished runs stay, and are not made again."
        ) from error


def closure(cells: Sequence[Cell], wanted: Sequence[Cell]) -> tuple[Cell, ...]:
    """Return some cells and all that they need, in the order of the sweep."""
    by_id, found, waiting = {cell.id: cell for cell in cells}, set(), [cell.id for cell in wanted]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += by_id[name].needs
    return tuple(cell for cell in cells if cell.id in found)


def share(cells: Sequence[Cell], number: int, of: int) -> tuple[Cell, ...]:
    """Return the cells of one of several shares: every ``of``-th unlearned model with what it needs, or all of one."""
    runs = [cell for cell in cells if cell.stage == "unlearn"]
    return tuple(cells) if of == 1 else closure(cells, runs[number - 1 :: of])


def _sha256(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _cell(content: Mapping[str, Any]) -> Cell:
    cell = Cell(**{each.name: content[each.name] for each in fields(Cell)})
    cell = Cell(**{**asdict(cell), "command": tuple(cell.command), "needs": tuple(cell.needs)})
    if not _ID.fullmatch(cell.id) or cell.stage not in STAGES:
        raise ValueError(f"a cell is called {cell.id!r}, of the stage {cell.stage!r}")
    if cell.command[0] != "mubench" or cell.command[1] not in COMMANDS:
        raise ValueError(f"the command of {cell.id} is {' '.join(cell.command)!r}")
    return cell


def _check_order(cells: Sequence[Cell]) -> None:
    before: set[str] = set()
    for cell in cells:
        if cell.id in before or set(cell.needs) - before:
            raise ValueError(f"{cell.id} comes twice, or before what it needs")
        before.add(cell.id)
