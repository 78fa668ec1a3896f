"""How far each cell of a sweep is, on disk: a note per cell, which only the holder of its claim writes."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from mubench_hf.errors import BadInput
from mubench_hf.runs.store import has_logits, load_named_result
from mubench_hf.runs.sweeps.manifest import FOLDER, Cell, Manifest, load_manifest
from mubench_hf.utils.claims import Claim, is_alive
from mubench_hf.utils.files import write_atomic
from mubench_hf.utils.json_files import read_object

STATES = ("done", "running", "waiting", "failed", "blocked")

MOST_LOST = 5
"""Workers that may be lost over one cell: it may be what ends them."""


@dataclass(frozen=True)
class Note:
    """What is known of a cell.

    Attributes:
        state: ``begun``, ``done``, ``failed``, or ``open``.
        outcome: How its run ended, ``ok`` or ``diverged``.
        worker: Process and host that had it last.
        seconds: Wall seconds that it took.
        cpu_seconds: Processor seconds that it took.
        lost: Workers that were lost over it.
        reasons: Why it failed, one for each try.
    """

    state: str = "open"
    outcome: str = ""
    worker: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    lost: int = 0
    reasons: list[str] = field(default_factory=list)


class Ledger:
    """The states of a sweep's cells.

    Args:
        out: The sweep's folder.
        manifest: The sweep; default: the one that is in the folder.
    """

    def __init__(self, out: Path | str, manifest: Manifest | None = None):
        self.out = Path(out)
        self.manifest = manifest or load_manifest(self.out)
        self.cells = {cell.id: cell for cell in self.manifest.cells}
        self.notes, self.claims = self.out / FOLDER / "cells", self.out / FOLDER / "claims"
        self._read: dict[str, tuple[object, Note]] = {}
        self._checked: set[str] = set()

    def note(self, cell: Cell) -> Note:
        """Return a cell's note; one whose files are not there as noted is open again."""
        file = self.notes / f"{cell.id}.json"
        try:
            stamp = _stamp(file)
        except FileNotFoundError:
            return Note()
        known = self._read.get(cell.id)
        if known is None or known[0] != stamp:
            known = stamp, Note(**read_object(file))
            self._read[cell.id] = known
        note = known[1]
        if note.state == "done" and cell.id not in self._checked:
            if not self._is_there(cell):
                return replace(note, state="open")
            self._checked.add(cell.id)
        return note

    def claim(self, cell: Cell) -> Claim | None:
        """Return the claim to a cell, if nobody has it."""
        self.claims.mkdir(parents=True, exist_ok=True)
        claim = Claim(self.claims / cell.id)
        return claim if claim.take() else None

    def begin(self, cell: Cell) -> Note:
        """Note that this process works on a cell; if another one did and ended without a word, that it was lost."""
        before = self.note(cell)
        lost = before.lost + (before.state == "begun")
        if lost > MOST_LOST:
            reason = f"{MOST_LOST} workers were lost over it, the last one {before.worker}"
            return self._write(cell, replace(before, state="failed", lost=lost, reasons=[*before.reasons, reason]))
        return self._write(cell, replace(before, state="begun", worker=worker_name(), lost=lost))

    def finish(self, cell: Cell, outcome: str, seconds: float, cpu_seconds: float) -> None:
        """Note that a cell is done."""
        done = {"state": "done", "outcome": outcome, "seconds": seconds, "cpu_seconds": cpu_seconds}
        self._write(cell, replace(self.note(cell), worker=worker_name(), **done))
        self._checked.add(cell.id)

    def fail(self, cell: Cell, reason: str) -> Note:
        """Note why a try failed; after as many as the sweep allows, the cell has."""
        before = self.note(cell)
        reasons = [*before.reasons, reason]
        state = "failed" if len(reasons) >= self.manifest.tries else "open"
        return self._write(cell, replace(before, state=state, reasons=reasons))

    def leave(self, cell: Cell) -> None:
        """Note that a worker left a cell as it is, because it was asked to end."""
        self._write(cell, replace(self.note(cell), state="open"))

    def try_again(self) -> None:
        """Forget why cells failed, so that they are tried again, and the tables without them."""
        notes = {cell.id: self.note(cell) for cell in self.manifest.cells}
        failed = {name for name, note in notes.items() if note.state == "failed"}
        for cell in self.manifest.cells:
            note, again = notes[cell.id], cell.id in failed or (failed and cell.takes_what_there_is)
            if (again or note.reasons or note.lost) and (claim := self.claim(cell)):
                self._write(cell, replace(note, state="open" if again else note.state, lost=0, reasons=[]))
                claim.release()

    def missing(self, cell: Cell, known: dict[str, str] | None = None) -> bool:
        """Return whether something that a cell needs is still to come.

        Args:
            cell: The cell.
            known: Filled with the states that were looked up; given again, these are not looked up again.
        """
        known = {} if known is None else known
        for name in cell.needs:
            if name not in known:
                known[name] = self.note(self.cells[name]).state
            if known[name] != "done" and not (cell.takes_what_there_is and self._is_hopeless(name, known)):
                return True
        return False

    def blocked(self, cells: Iterable[Cell]) -> dict[str, str]:
        """Return the cells that cannot be run: name → the failed cell that they wait for, if through others."""
        found: dict[str, str] = {}
        known: dict[str, str] = {}
        for cell in cells:
            if not cell.takes_what_there_is and (failed := self._is_hopeless(cell.id, known)) and failed != cell.id:
                found[cell.id] = failed
        return found

    def _is_hopeless(self, name: str, known: dict[str, str]) -> str | None:
        """Return the failed cell, itself or one it needs, because of which a cell is not to come."""
        if name not in known:
            known[name] = self.note(self.cells[name]).state
        if known[name] == "failed":
            return name
        if known[name] == "done":
            return None
        return next(filter(None, (self._is_hopeless(need, known) for need in self.cells[name].needs)), None)

    def states(self, cells: Iterable[Cell] | None = None) -> dict[str, str]:
        """Return the state of each cell, one of ``STATES``."""
        cells = self.manifest.cells if cells is None else tuple(cells)
        blocked = self.blocked(self.manifest.cells)
        found = {}
        for cell in cells:
            state = self.note(cell).state
            if state == "begun":
                state = "running" if is_alive(self.claims / cell.id) else "waiting"
            elif state == "open":
                state = "blocked" if cell.id in blocked else "waiting"
            found[cell.id] = state
        return found

    def counts(self) -> Counter[str]:
        """Return how many cells are in each state."""
        return Counter(self.states().values())

    def _is_there(self, cell: Cell) -> bool:
        """Return whether the files of a finished cell are there, and its result is whole."""
        if cell.checkpoint and not (self.out / cell.checkpoint).is_dir():
            return False
        if cell.result is None:
            return True
        try:
            result = load_named_result(self.out / cell.result)
        except BadInput:
            return False
        return result.status != "failed" and has_logits(result.name, (self.out / cell.result).parent)

    def _write(self, cell: Cell, note: Note) -> Note:
        text = json.dumps(asdict(note)).encode()
        file = write_atomic(self.notes / f"{cell.id}.json", lambda stream: stream.write(text))
        self._read[cell.id] = (_stamp(file), note)
        return note


def _stamp(file: Path) -> object:
    about = file.stat()
    return about.st_ino, about.st_mtime_ns, about.st_size


def worker_name() -> str:
    """Return what this process is called in notes."""
    return f"process {os.getpid()} on {socket.gethostname()}, {time.strftime('%Y-%m-%d %H:%M:%S')}"
