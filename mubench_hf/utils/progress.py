"""Progress of a run of many parts: one bar for the whole, one for the current part."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from transformers import TrainerCallback


class Part:
    """One part of the whole: its bar, and the trainer callback that moves it."""

    def __init__(self, progress: Progress, task: Any):
        self._progress, self._task = progress, task
        self.result = ""
        self.callback = _StepCallback(self)

    def advance_to(self, step: int, steps: int) -> None:
        """Show ``step`` of ``steps``."""
        self._progress.update(self._task, completed=step, total=steps)

    def note(self, text: str) -> None:
        """Say in one phrase how the part ended."""
        self.result = text


class _StepCallback(TrainerCallback):
    """Moves a part's bar at each optimizer update."""

    def __init__(self, part: Part):
        self.part = part

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Show the update that was just made."""
        self.part.advance_to(state.global_step, state.max_steps)


class RunProgress:
    """Draws progress in a terminal; elsewhere prints one line per finished part.

    Args:
        console: Where; default: standard error.
        quiet: Show nothing, as in all processes of a run but the first.
    """

    def __init__(self, console: Console | None = None, *, quiet: bool = False):
        self.console = console or Console(stderr=True, quiet=quiet)
        self._bars = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._whole: Any = None
        self._number = 0

    @contextmanager
    def over(self, parts: int) -> Iterator[None]:
        """Show the bars while inside, for a run of ``parts`` parts."""
        self._parts = parts
        with self._bars:
            self._whole = self._bars.add_task("whole run", total=parts)
            yield

    def reached(self, done: int, line: str) -> None:
        """Show how many parts others have finished; outside a terminal, a line says it."""
        self._bars.update(self._whole, completed=done)
        if not self.console.is_terminal:
            self.console.print(line, highlight=False, markup=False)

    @contextmanager
    def part(self, name: str) -> Iterator[Part]:
        """Show one part while inside, and print its line at the end."""
        start, task = time.perf_counter(), self._bars.add_task(name, total=None)
        part = Part(self._bars, task)
        try:
            yield part
        finally:
            self._bars.remove_task(task)
        self.finished(name, part.result, time.perf_counter() - start)

    def finished(self, name: str, result: str, seconds: float) -> None:
        """Print the line of a part that has ended, here or in another process.

        Args:
            name: What it is.
            result: How it ended, in one phrase; ``done`` if that is empty.
            seconds: How long it took.
        """
        self._number += 1
        self._bars.advance(self._whole)
        self.console.print(
            f"[{self._number}/{self._parts}] {name}: {result or 'done'} ({seconds:.1f} s in all)",
            highlight=False,
            markup=False,
        )
