"""Keeps a sweep's workers running until nothing is left to do, and shows how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable

from mubench_hf.errors import BadInput
from mubench_hf.runs.sweeps.launchers import Workers
from mubench_hf.runs.sweeps.ledger import STATES, Ledger
from mubench_hf.runs.sweeps.manifest import FOLDER

SECONDS_BETWEEN_LOOKS = 2.0

MOST_STARTS = 3
"""How often a worker may end in a row while not one cell is finished by anybody."""


def watch(ledger: Ledger, workers: Workers, show: Callable[[str], None]) -> None:
    """Start the workers, and any that is lost once more, until all cells are done, failed or blocked.

    Args:
        ledger: The sweep.
        workers: Who starts them.
        show: Called with a line whenever the counts have changed.

    Raises:
        BadInput: If workers end again and again without finishing a cell.
    """
    begun, shown, idle_starts, done_before = time.monotonic(), "", 0, ledger.counts()["done"]
    first = done = done_before
    started = 0
    try:
        while True:
            counts = ledger.counts()
            line = progress_line(counts, counts["done"] - first, time.monotonic() - begun)
            if line.partition(" · about")[0] != shown:
                shown = line.partition(" · about")[0]
                show(line)
            if not counts["waiting"] + counts["running"]:
                return
            if counts["done"] > done:
                done, idle_starts = counts["done"], 0
            for number in range(workers.jobs):
                if number >= started:
                    workers.start(number)
                    started += 1
                elif workers.ended(number):
                    idle_starts += 1
                    if idle_starts > MOST_STARTS * workers.jobs:
                        raise BadInput(
                            f"Workers end as soon as they start. What they say is in {ledger.out / FOLDER / 'logs'}."
                        )
                    workers.start(number)
            time.sleep(SECONDS_BETWEEN_LOOKS)
    finally:
        workers.stop()


def progress_line(counts: dict[str, int], newly: int, seconds: float) -> str:
    """Return how many cells are in each state, and how long the rest will take at the pace so far."""
    total, left = sum(counts.values()), counts["waiting"] + counts["running"]
    parts = [f"{counts[state]} {state}" for state in STATES if counts[state] or state == "done"]
    ahead = f" · about {duration(seconds / newly * left)} to go" if newly and left else ""
    return f"{', '.join(parts)} of {total} cells{ahead}"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
