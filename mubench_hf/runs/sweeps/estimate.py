"""What a sweep will take: its cells dealt out to workers on paper, and the disk that its checkpoints need."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mubench_hf.runs.sweeps.ledger import Ledger
from mubench_hf.runs.sweeps.manifest import STAGES, Cell

OVERHEAD = 0.5
"""Seconds that a worker needs around a cell at most, beyond what the cell takes in a serial run."""


@dataclass(frozen=True)
class Schedule:
    """A sweep on paper.

    Attributes:
        seconds: From the first cell's start to the last one's end.
        busy: Seconds of workers, by stage.
        overhead: Seconds of workers between cells.
        idle: Seconds in which workers wait for cells that others are at, or have none left.
    """

    seconds: float
    busy: Mapping[str, float]
    overhead: float
    idle: float


def schedule(cells: Sequence[Cell], workers: int, seconds: Callable[[Cell], float], overhead: float = 0.0) -> Schedule:
    """Deal the cells of a sweep out as workers take them: of those that can be run, the first of the earliest stage.

    Args:
        cells: The cells, each after what it needs.
        workers: How many take them.
        seconds: How long each takes.
        overhead: Seconds that a worker needs around each cell.

    Returns:
        When the last one ends, and where the time of the workers goes.
    """
    waiting = {cell.id: len(cell.needs) for cell in cells}
    after: dict[str, list[int]] = defaultdict(list)
    for place, cell in enumerate(cells):
        for name in cell.needs:
            after[name].append(place)
    ready = [(STAGES.index(cell.stage), place) for place, cell in enumerate(cells) if not cell.needs]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    now, busy, free = 0.0, Counter[str](), workers
    while ready or running:
        while ready and free:
            _, place = heapq.heappop(ready)
            takes = seconds(cells[place])
            busy[cells[place].stage] += takes
            heapq.heappush(running, (now + takes + overhead, place))
            free -= 1
        now, place = heapq.heappop(running)
        free += 1
        for following in after[cells[place].id]:
            waiting[cells[following].id] -= 1
            if not waiting[cells[following].id]:
                heapq.heappush(ready, (STAGES.index(cells[following].stage), following))
    around = overhead * len(cells)
    return Schedule(now, dict(busy), around, workers * now - sum(busy.values()) - around)


def measured(ledger: Ledger) -> dict[str, float]:
    """Return the mean seconds of the cells that are done, by stage."""
    times: dict[str, list[float]] = defaultdict(list)
    for cell in ledger.manifest.cells:
        note = ledger.note(cell)
        if note.state == "done":
            times[cell.stage].append(note.seconds)
    return {stage: sum(found) / len(found) for stage, found in times.items()}


def checkpoints(cells: Sequence[Cell]) -> dict[str, str]:
    """Return the checkpoints that a sweep leaves on disk: folder → data set and model."""
    kept = (cell for cell in cells if cell.stage in ("original", "retrain", "unlearn"))
    return {str(cell.checkpoint): cell.rows.partition("@")[0] for cell in kept}


def checkpoint_bytes(cells: Sequence[Cell], sizes: Mapping[str, int | None]) -> int | None:
    """Return the bytes of a sweep's checkpoints, ``None`` if they are not known.

    Args:
        cells: The sweep's cells.
        sizes: Data set and model → bytes of one checkpoint.
    """
    found = [sizes[rows] for rows in checkpoints(cells).values()]
    return None if None in found else sum(size for size in found if size)
