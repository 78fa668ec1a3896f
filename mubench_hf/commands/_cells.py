"""Runs the cells of a sweep in one process, which imports its libraries and loads rows once for many of them."""

from __future__ import annotations

import gc
import io
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

from mubench_hf.commands import build, evaluate, shadow, table, train, unlearn
from mubench_hf.commands._arguments import bring_metrics, metrics_flag
from mubench_hf.errors import BadInput
from mubench_hf.models.device import give_back_memory
from mubench_hf.runs.checked import check_files
from mubench_hf.runs.finished import has_result, save_failure
from mubench_hf.runs.kept_rows import KeptRows
from mubench_hf.runs.kept_tables import remove_tables
from mubench_hf.runs.record import load_record
from mubench_hf.runs.store import load_named_result
from mubench_hf.runs.sweeps.manifest import FOLDER, Cell


class CellRunner:
    """Runs cells in the current folder, which is the sweep's; those that come one after the other often share rows."""

    def __init__(self) -> None:
        self._rows = KeptRows()
        self._spared = False
        self._commands: Mapping[str, Callable[[list[str]], None]] = {
            "build": build.main,
            "train": partial(train.main, rows=self._rows),
            "evaluate": partial(evaluate.main, rows=self._rows),
            "unlearn": partial(unlearn.main, rows=self._rows),
            "shadow": partial(shadow.main, rows=self._rows),
            "table": table.main,
        }

    def __call__(self, cell: Cell) -> str:
        """Run a cell's command, unless what it makes is there, and return how its run ended.

        Raises:
            Exception: Whatever the command raised; what it printed is in a file of the cell's name.
        """
        outcome = self._finished(cell)
        if outcome is not None:
            return outcome
        _, command, *words = cell.command
        said = io.StringIO()
        try:
            with redirect_stdout(said):
                self._commands[command](words)
        except Exception as error:
            log = Path(FOLDER, "logs", f"{cell.id}.txt")
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(f"{' '.join(cell.command)}\n{said.getvalue()}\n{traceback.format_exc()}", encoding="utf-8")
            if command != "unlearn" or not isinstance(error, RuntimeError):
                raise
            failure = str(error)  # Out of memory, for example; the error itself holds the model.
        else:
            if cell.stage == "table":
                self._remove_tables(cell)
            elif cell.stage != "data":
                self._spare_collector()
            return self._finished(cell) or "ok"
        give_back_memory()
        plan, _ = unlearn.planned(words)
        save_failure(plan, self._rows(plan.setup, plan.start), failure, metrics_flag(words))
        raise RuntimeError(failure)

    def _spare_collector(self) -> None:
        """Let the garbage collector pass over what is imported by now: a second for each of several calls a run."""
        if not self._spared:  # Commands that load models have imported everything.
            gc.collect()
            gc.freeze()
            self._spared = True

    def _remove_tables(self, cell: Cell) -> None:
        """Remove the teachers' outputs of a data set whose runs are all finished, unless another process reads them."""
        dataset, place = cell.id.removesuffix("-tables"), Path(cell.command[2])
        for cache in place.joinpath(".cache").glob(f"{dataset}-*"):
            remove_tables(cache)

    def _finished(self, cell: Cell) -> str | None:
        """Return how a cell's run ended, if its files are there and whole."""
        if cell.stage not in ("original", "teacher", "retrain", "unlearn") or not cell.checkpoint:
            return None
        folder = Path(cell.checkpoint)
        record = load_record(folder) if folder.is_dir() else None
        if record is None or not record.finished:
            return None
        try:
            check_files(folder, record)
            if cell.result is None:
                return record.status
            file = Path(cell.result)
            asked = metrics_flag(cell.command)
            bring_metrics(asked)
            return load_named_result(file).status if has_result(file, record, asked) else None
        except BadInput:
            return None
