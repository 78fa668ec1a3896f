"""A worker: takes cells of a sweep one after the other, until none is left that it could run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from mubench_hf.errors import BadInput, shown
from mubench_hf.runs.sweeps.ledger import Ledger
from mubench_hf.runs.sweeps.manifest import STAGES, Cell
from mubench_hf.utils.claims import Claim

SECONDS_BETWEEN_LOOKS = 1.0
"""How long a worker waits for cells that others are at."""

Execute = Callable[[Cell], str]
"""Runs a cell's command and returns how it ended, ``ok`` or ``diverged``."""


class Worker:
    """Works through a sweep, or a share of it.

    Args:
        ledger: The sweep.
        execute: Runs one cell.
        cells: Its share, with all that this needs; default: all.
        tell: Called with a line about each cell that has ended.
    """

    def __init__(
        self,
        ledger: Ledger,
        execute: Execute,
        cells: Sequence[Cell] | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ):
        self.ledger, self.execute, self.tell = ledger, execute, tell
        self.open = list(ledger.manifest.cells if cells is None else cells)
        self._rows = ""

    def run(self) -> None:
        """Run cells until each is done, has failed, or waits for one that has."""
        while self.open:
            taken = self._take()
            if taken is not None:
                self._run(*taken)
                continue
            blocked = self.ledger.blocked(self.open)
            self.open = [cell for cell in self.open if cell.id not in blocked]
            if self.open:
                time.sleep(SECONDS_BETWEEN_LOOKS)

    def _take(self) -> tuple[Cell, Claim] | None:
        """Claim a cell that can be run: of the earliest stage, and there one with the rows that are loaded."""
        ledger, known = self.ledger, {}
        for cell in sorted(self.open, key=lambda cell: (STAGES.index(cell.stage), cell.rows != self._rows)):
            if ledger.missing(cell, known):
                continue
            if ledger.note(cell).state in ("done", "failed"):
                self.open.remove(cell)
            elif claim := ledger.claim(cell):
                if ledger.note(cell).state not in ("done", "failed"):
                    return cell, claim
                claim.release()
        return None

    def _run(self, cell: Cell, claim: Claim) -> None:
        ledger, start, cpu = self.ledger, time.perf_counter(), time.process_time()
        try:
            if ledger.begin(cell).state == "failed":
                return
            self._rows = cell.rows or self._rows
            outcome = self.execute(cell)
            if claim.lost:
                return
            seconds = time.perf_counter() - start
            ledger.finish(cell, outcome, seconds, time.process_time() - cpu)
            self.open.remove(cell)
            self.tell(f"{cell.id}: {outcome} ({seconds:.1f} s)")
        except KeyboardInterrupt:
            if not claim.lost:
                with suppress(OSError):
                    ledger.leave(cell)
                raise
            self.tell(f"{cell.id}: another worker has taken it over")
        except Exception as error:  # Whatever it is, the other cells can still be run.
            if claim.lost:
                return
            note = ledger.fail(cell, reason_of(error))
            again = "" if note.state == "failed" else "; it is tried again"
            self.tell(f"{cell.id}: failed: {note.reasons[-1]}{again}")
        finally:
            claim.release()


def reason_of(error: BaseException) -> str:
    """Return what went wrong as one line."""
    text = shown(error) or "an error that says nothing"
    return text if isinstance(error, BadInput) else f"{type(error).__name__}: {text}"
