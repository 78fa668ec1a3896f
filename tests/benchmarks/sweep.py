"""A sweep whose workers are killed at random moments, against the same one in one process that nobody disturbs.

``python -m tests.benchmarks.sweep --launcher local`` prints how many cells there were, how many workers were killed,
and whether every result is there once and like the undisturbed one's; ``--overhead`` what a cell costs beyond the
serial run of `mubench run`, in seconds of CPU, measured in one process. The seed that repeats the moments is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TASK = f"{Path(__file__).parents[1] / 'sweep_task.py'}:TASK"
MUBENCH = [sys.executable, "-m", "mubench_hf.cli"]
TIMES = ("unlearn_seconds", "compute_seconds", "retrain_time_ratio")
METHODS = ("finetune", "neggrad")

GRIDS = {
    "small": ["--del_ratio", "3", "5", "--seeds", "1", "--set", "finetune.learning_rate=1e-3,2e-3,3e-3",
              "neggrad.learning_rate=1e-4,2e-4,3e-4,4e-4,5e-4"],
    "full": ["--del_ratio", "1-10", "--seeds", "1", "2", "3", "--set", "finetune.learning_rate=1e-3,2e-3,3e-3,4e-3",
             "neggrad.learning_rate=1e-4,2e-4,3e-4,4e-4"],
}  # fmt: skip
CELLS = {"small": 23, "full": 305}


def sweep_words(grid: str, out: Path) -> list[str]:
    """Return the words of the sweep."""
    return ["sweep", str(TASK), "--mini", "--methods", *METHODS, *GRIDS[grid], "--out", str(out)]


def scores(out: Path) -> dict[str, str]:
    """Return each result's scores without times, and the hash of its checkpoint."""
    found = {}
    for file in (out / "results").glob("*.json"):
        result = json.loads(file.read_text())
        kept = {key: value for key, value in result["scores"].items() if key not in TIMES}
        found[file.stem] = json.dumps([kept, result["status"], result["hashes"]], sort_keys=True)
    return found


def notes(out: Path) -> list[dict]:
    """Return what is noted of each cell."""
    return [json.loads(note.read_text()) for note in (out / "sweep" / "cells").glob("*.json")]


def holders(out: Path) -> list[int]:
    """Return the processes that have a cell."""
    found = []
    for file in (out / "sweep" / "claims").glob("*"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            found.append(json.loads(file.read_text())["process"])
    return found


def disturbed(words: list[str], out: Path, cells: int, kills: int, rng: random.Random) -> tuple[int, int]:
    """Run a sweep and kill workers at random moments; return how many were killed, and the exit code.

    Moments are drawn over the cells, and within the second after one, so that they fall into all parts of a run.
    """
    moments = sorted(rng.randrange(cells) for _ in range(kills))
    killed = 0
    with open(out.with_suffix(".txt"), "w") as stream:
        front = subprocess.Popen([*MUBENCH, *words], stdout=stream, stderr=stream)
        while front.poll() is None:
            time.sleep(rng.random())
            done = sum(note["state"] == "done" for note in notes(out))
            if killed < len(moments) and done >= moments[killed] and (alive := holders(out)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(alive), signal.SIGKILL)
                    killed += 1
    return killed, front.returncode


def overhead(base: Path) -> str:
    """Return what a cell costs beyond the serial run, measured in this process, which does both three times."""
    from mubench_hf.cli import dispatch
    from mubench_hf.commands._cells import CellRunner
    from mubench_hf.commands._data import be_quiet
    from mubench_hf.runs.pipeline import Pipeline
    from mubench_hf.runs.sweeps.ledger import Ledger
    from mubench_hf.runs.sweeps.worker import Worker

    be_quiet()
    found = []
    for number in range(4):
        start = time.process_time()
        Pipeline(str(TASK), variant="mini", out=base / f"run{number}", methods=METHODS, seeds=[1, 2, 3]).run()
        serial, out = time.process_time() - start, base / f"sweep{number}"
        words = ["sweep", str(TASK), "--mini", "--methods", *METHODS, "--seeds", "1", "2", "3", "--out", str(out)]
        with contextlib.redirect_stdout(sys.stderr):
            dispatch([*words, "--launcher", "none"])
        cells = [cell for cell in Ledger(out).manifest.cells if cell.stage != "table"]
        start = time.process_time()
        with contextlib.chdir(out):
            Worker(Ledger("."), CellRunner(), cells).run()
        found.append((time.process_time() - start - serial) / len(cells))
    per_cell = ", ".join(f"{value:+.3f}" for value in found[1:])  # The first imports and warms up.
    return f"overhead of a cell, of {len(cells)}: {per_cell} s of CPU (a run takes {serial / len(cells):.3f} s)"


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--launcher", nargs="+", choices=["local", "slurm"], default=[])
    parser.add_argument("--grid", choices=GRIDS, default="full")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--overhead", action="store_true")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    arguments = parser.parse_args()
    print(f"--seed {arguments.seed}", flush=True)
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        if arguments.overhead:
            print(overhead(base))
        if not arguments.launcher:
            return
        words = [*sweep_words(arguments.grid, base / "serial"), "--shard", "1/1"]
        with open(base / "serial.txt", "w") as stream:
            serial = subprocess.Popen([*MUBENCH, *words], stdout=stream, stderr=stream)
        ran = []
        for launcher in arguments.launcher:
            start = time.time()
            words = [*sweep_words(arguments.grid, base / launcher), "--launcher", launcher, "--jobs", "2"]
            words += ["--engine", "cluster=local"] if launcher == "slurm" else []
            killed, code = disturbed(words, base / launcher, CELLS[arguments.grid], arguments.kills, rng)
            ran.append((launcher, killed, code))
            print(f"{launcher}: exit code {code}, {killed} killed, {time.time() - start:.0f} s", flush=True)
        if serial.wait():
            sys.exit((base / "serial.txt").read_text()[-3000:])
        wanted = scores(base / "serial")
        print(f"{len(notes(base / 'serial'))} cells in one process: {len(wanted)} results, "
              f"{sum(note['cpu_seconds'] for note in notes(base / 'serial')):.0f} s of CPU")  # fmt: skip
        for launcher, killed, code in ran:
            got = scores(base / launcher)
            print(f"{launcher}: {len(notes(base / launcher))} cells, {killed} workers killed, "
                  f"{sum(note['lost'] for note in notes(base / launcher))} cells taken up from lost workers, "
                  f"{len(got)} results, {sum(got.get(name) != wanted[name] for name in wanted)} differ, "
                  f"{len(set(got) - set(wanted))} too many")  # fmt: skip
            if code or got != wanted:
                sys.exit((base / f"{launcher}.txt").read_text()[-3000:])


if __name__ == "__main__":
    main()
