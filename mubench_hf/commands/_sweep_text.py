"""What `mubench sweep` says: what there is to do and what it will take, and how far it is."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping

from mubench_hf.errors import shown
from mubench_hf.runs.sweeps.estimate import OVERHEAD, Schedule, checkpoints, measured, schedule
from mubench_hf.runs.sweeps.ledger import STATES, Ledger
from mubench_hf.runs.sweeps.manifest import STAGES, Manifest
from mubench_hf.runs.sweeps.watch import duration, progress_line

WHAT = {
    "data": "data sets",
    "original": "originals",
    "teacher": "scores of originals, with tables for teachers",
    "retrain": "retrained models",
    "unlearn": "unlearned models",
    "shadow": "shadow models",
    "table": "tables and pictures",
}

MOST_SHOWN = 20
"""Failed cells that are shown."""


def plan_text(manifest: Manifest, disk: int | None, jobs: int, seconds: Mapping[str, float], *, ledger: Ledger) -> str:
    """Return how many cells a sweep has, what of them is left, and what these take.

    Args:
        manifest: The sweep.
        disk: Bytes of its checkpoints, if they are known.
        jobs: How many workers.
        seconds: Seconds of a cell of each stage; of stages that are not named, the mean of what is done.
        ledger: What is done.
    """
    counts = Counter(cell.stage for cell in manifest.cells)
    lines = [
        f"{len(manifest.cells)} cells: " + ", ".join(f"{counts[name]} {WHAT[name]}" for name in STAGES if counts[name])
    ]
    done = sum(ledger.note(cell).state == "done" for cell in manifest.cells)
    if done:
        lines.append(f"Done already: {done}")
    size = "size not known" if disk is None else f"about {human_bytes(disk)}"
    lines.append(f"Disk: {len(checkpoints(manifest.cells))} checkpoints, {size}, and outputs of each beside its result")
    known = {**measured(ledger), **seconds}
    unknown = [name for name in STAGES if counts[name] and name not in known]
    if {"original", "retrain", "unlearn"} & set(unknown):
        lines.append(
            f"Time: not known before cells of each kind are done (not yet: {', '.join(unknown)}). "
            "With --seconds original=3600 retrain=3000 unlearn=300 it is estimated now."
        )
    else:
        on_paper = schedule(manifest.cells, jobs, lambda cell: known.get(cell.stage, 0.0), OVERHEAD)
        lines.append(f"Time: {schedule_text(on_paper, jobs)}")
    return "\n".join(lines)


def schedule_text(found: Schedule, workers: int) -> str:
    """Return how long a sweep takes on paper, and where the time of its workers goes."""
    whole = found.seconds * workers or 1.0
    shares = {WHAT[name]: found.busy.get(name, 0.0) for name in STAGES}
    shares |= {"between cells": found.overhead, "waiting": found.idle}
    parts = [f"{name} {value / whole:.1%}" for name, value in shares.items() if value / whole >= 0.0005]
    return f"{duration(found.seconds)} with {workers} worker{'s' * (workers != 1)} ({', '.join(parts)})"


def state_text(ledger: Ledger, *, cells: bool = False) -> str:
    """Return how far a sweep is, and why cells failed or were not run.

    Args:
        ledger: The sweep.
        cells: Whether to show every cell with its state and its command.
    """
    states = ledger.states()
    counts, lines = Counter(states.values()), []
    if cells:
        lines += [f"{states[cell.id]:8}  {cell.id}  {shlex.join(cell.command)}" for cell in ledger.manifest.cells]
    left = [cell for cell in ledger.manifest.cells if states[cell.id] in ("waiting", "running")]
    known = measured(ledger)
    line = progress_line(counts, 0, 0.0)
    if left and counts["running"] and all(cell.stage in (*known, "table") for cell in left):
        ahead = schedule(ledger.manifest.cells, counts["running"], lambda cell: (
            known.get(cell.stage, 0.0) if states[cell.id] in ("waiting", "running") else 0.0))  # fmt: skip
        line += f" · about {duration(ahead.seconds)} to go with {counts['running']} workers"
    lines.append(line)
    for stage in STAGES:
        found = Counter(states[cell.id] for cell in ledger.manifest.cells if cell.stage == stage)
        if found:
            parts = ", ".join(f"{found[state]} {state}" for state in STATES if found[state])
            lines.append(f"  {WHAT[stage]}: {parts}")
    failed = [cell for cell in ledger.manifest.cells if states[cell.id] == "failed"]
    for cell in failed[:MOST_SHOWN]:
        reasons = ledger.note(cell).reasons
        lines.append(shown(f"failed: {cell.id}, tried {len(reasons)} times: {reasons[-1]}"))
    blocked = ledger.blocked(ledger.manifest.cells)
    for name, need in list(blocked.items())[:MOST_SHOWN]:
        lines.append(f"not run: {name}, because {need} failed")
    hidden = max(0, len(failed) - MOST_SHOWN) + max(0, len(blocked) - MOST_SHOWN)
    if hidden:
        lines.append(f"and {hidden} more; --cells shows all")
    return "\n".join(lines)


def human_bytes(size: float) -> str:
    """Return a size in the unit that suits it."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
