"""The leaderboard of one task, model and deletion ratio, for a terminal and as Markdown."""

from __future__ import annotations

import html
import math
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.console import Group as Stack
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from mubench_hf.errors import visible
from mubench_hf.results.aggregate import Group, check_comparable, heading, main_metric
from mubench_hf.results.columns import Column, other_columns, table_columns

MISSING = "–"
OTHER_SCORES = "Other scores"
REASON_LENGTH = 100

LONGEST_LABEL = 36
"""Characters of a method's name and settings that stand in one line of a terminal; more have a line each."""

FILE_WIDTH = 120
"""Characters per line if the table does not go to a terminal."""


@dataclass(frozen=True)
class Cell:
    """One number as text: ``mean``, ``± std`` and signed ``gap`` to retrain; each is empty if there is none.

    ``count`` says of how many seeds the mean is, where these are not all.
    """

    mean: str
    std: str = ""
    gap: str = ""
    best: bool = False
    count: str = ""


class ResultTable:
    """Renderable that never breaks a number, at any width: cells are in one line, stacked, or in several tables."""

    def __init__(
        self,
        groups: Sequence[Group],
        title: str | None = None,
        metric: str | None = None,
        columns: Sequence[Column] | None = None,
    ) -> None:
        """Prepare the table.

        Args:
            groups: One list of ``aggregate``.
            title: Title of the task; its key by default.
            metric: The task's metric; needed only where the results hold several.
            columns: What to show instead of the table's own columns; such a table has no notes below it.

        Raises:
            BadInput: If the groups do not belong in one table, or ``metric`` is needed.
        """
        check_comparable(groups)
        metric = metric or main_metric(groups)
        self.columns = table_columns(groups, metric) if columns is None else columns
        self.title = heading(groups, title) if columns is None else f"{OTHER_SCORES} · {heading(groups, title)}"
        self.rows = [(group, [make_cell(groups, group, column, metric) for column in self.columns]) for group in groups]
        self.notes = list(_notes(groups, title, metric, self.columns)) if columns is None else []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the widest layout that fits."""
        every = range(len(self.columns))
        unlimited = options.update(width=sys.maxsize)  # rich cuts a measurement to the width it is given
        for separator, parts in ((" ", 1), ("\n", 1), ("\n", 2), ("\n", 3), ("\n", 4)):
            size = -(-len(every) // parts)
            tables = [self._table(every[start : start + size], separator) for start in range(0, len(every), size)]
            if all(Measurement.get(console, unlimited, table).maximum <= options.max_width for table in tables):
                break
        yield Text(visible(self.title), style="bold")
        yield Stack(*tables)
        yield from (Text(visible(note), style="dim") for note in self.notes)

    def _table(self, chosen: Sequence[int], separator: str) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
        table.add_column("Method", no_wrap=True)
        for index in chosen:
            title = Text(_printable(self.columns[index].title).replace(" ", separator))
            table.add_column(title, justify="right", no_wrap=True)
        for group, cells in self.rows:
            label = Text(_stacked(group), style="" if group.is_method else "italic")
            if group.status != "ok":
                label.append("\n" + group.status.replace(", ", "\n"), style="red")
            table.add_row(label, *(_terminal_cell(cells[index], separator) for index in chosen))
        return table


def _stacked(group: Group) -> str:
    """Return a group's label, with a line for each setting if it would leave the numbers no room."""
    parts = [visible(each) for each in (group.method, *group.distinctions)]
    label = visible(group.label)
    return label if len(label) <= LONGEST_LABEL else "\n  ".join(parts)


def print_table(
    groups: Sequence[Group], title: str | None = None, metric: str | None = None, console: Console | None = None
) -> None:
    """Print the table of ``groups`` (see ``ResultTable``) to ``console``, standard output by default."""
    # A file or a log has no edge to wrap at.
    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    console = console or Console(width=FILE_WIDTH if wide else None)
    for table in _tables(groups, title, metric):
        console.print(table)


def markdown_table(groups: Sequence[Group], title: str | None = None, metric: str | None = None) -> str:
    """Return the same table as Markdown, for README files and cards.

    Args:
        groups: One list of ``aggregate``.
        title: Title of the task; its key by default.
        metric: The task's metric; needed only where the results hold several.

    Raises:
        BadInput: If the groups do not belong in one table, or ``metric`` is needed.
    """
    main, *others = _tables(groups, title, metric)
    lines = _markdown_lines(main) + [f"- {_escape(note)}" for note in main.notes]
    for table in others:
        lines += ["", *_markdown_lines(table)[:-1]]
    return "\n".join(lines) + "\n"


def _tables(groups: Sequence[Group], title: str | None, metric: str | None) -> list[ResultTable]:
    """Return the table and, if a task has other scores on its splits, a second one with these."""
    metric = metric or main_metric(groups)
    columns = other_columns(groups, metric)
    tables = [ResultTable(groups, title, metric)]
    return tables + [ResultTable(groups, title, metric, columns)] * bool(columns)


def _markdown_lines(table: ResultTable) -> list[str]:
    lines = [f"**{_escape(table.title)}**", ""]
    # Underscores within a word need no escape, and headers read better without.
    header = " | ".join(_escape(_printable(column.title)).replace("\\_", "_") for column in table.columns)
    lines += [f"| Method | {header} |", "|---|" + "---:|" * len(table.columns)]
    for group, cells in table.rows:
        label = _escape(group.label) + (f" (**{group.status}**)" if group.status != "ok" else "")
        lines.append(f"| {label} | {' | '.join(map(_markdown_cell, cells))} |")
    return [*lines, ""]


def is_best(groups: Sequence[Group], group: Group, column: Column, metric: str | None) -> bool:
    """Return whether ``group`` is a best unlearning method of ``groups`` in a column; equally good ones all are.

    Only methods with a score of every seed take part: leaving out seeds that diverged, or that no score could be
    computed of, would flatter a method.
    """
    mine = merit(group, column, metric)
    if mine is None or not _competes(group, column, metric):
        return False
    others = [merit(other, column, metric) for other in groups if _competes(other, column, metric)]
    # Gaps on either side of the retrained model's score may be equal but for rounding.
    return math.isclose(mine, max(found for found in others if found is not None), rel_tol=1e-9, abs_tol=1e-12)


def merit(group: Group, column: Column, metric: str | None) -> float | None:
    """Return how good a group's mean is in a column: larger is better; ``None`` if nothing can tell."""
    key = column.score_key(metric)
    mean, gap = group.score(key).mean, group.gap_to_retrain(key)
    if column.direction == "match_retrained":
        return None if gap is None else -abs(gap)
    if mean is None or column.direction is None:
        return None
    return mean if column.direction == "higher" else -mean


def make_cell(groups: Sequence[Group], group: Group, column: Column, metric: str | None) -> Cell:
    """Return the cell of ``group`` in ``column``, marked if it is the best of ``groups``."""
    key = column.score_key(metric)
    score = group.score(key)
    if score.mean is None:
        return Cell(MISSING)
    gap = group.gap_to_retrain(key) if column.direction == "match_retrained" and group.method != "retrain" else None
    return Cell(
        mean=f"{score.mean:.{column.digits}f}",
        std="" if score.std is None else f"±{score.std:.{column.digits}f}",
        gap="" if gap is None else _signed(gap, column.digits),
        best=is_best(groups, group, column, metric),
        count="" if score.count == len(group.seeds) else f"{score.count}/{len(group.seeds)}",
    )


def _competes(group: Group, column: Column, metric: str | None) -> bool:
    whole = group.score(column.score_key(metric)).count == len(group.seeds)
    return group.is_method and group.status == "ok" and whole


def _signed(number: float, digits: int) -> str:
    # Adding zero turns a rounded -0.0 into 0.0, which would read as a gap with a direction.
    return f"{round(number, digits) + 0.0:+.{digits}f}"


def _terminal_cell(cell: Cell, separator: str) -> Text:
    text = Text(cell.mean, style="bold" if cell.best else "")
    if cell.std:
        text.append(separator + cell.std)
    if cell.gap:
        # On a line of its own the sign says enough, and parentheses would cost two columns each.
        text.append(separator + (f"({cell.gap})" if separator == " " else cell.gap), style="dim not bold")
    if cell.count:
        text.append(f"{separator}{cell.count}", style="dim not bold")
    return text


def _markdown_cell(cell: Cell) -> str:
    number = cell.mean + (f" {cell.std}" if cell.std else "")
    number = (f"**{number}**" if cell.best else number) + (f" ({cell.gap})" if cell.gap else "")
    return number + (f" [{cell.count}]" if cell.count else "")


def _notes(groups: Sequence[Group], title: str | None, metric: str | None, columns: Sequence[Column]) -> Iterator[str]:
    """Yield the lines below the table: how to read it, what is not comparable, what is missing and why."""
    if groups[0].variant == "mini":
        yield f"Mini data, not {title or groups[0].task}: numbers show that the code runs, not how well a method works."
    yield (
        f"D_Test, D_f, D_r: {metric or 'main score'} on test, deletion and remaining set. "
        "Mean ±sample standard deviation over seeds; signed: gap to retrain. "
        "Bold: best unlearning method; → closest to retrain is best."
    )
    counts = [(group.score(column.score_key(metric)).count, len(group.seeds)) for group in groups for column in columns]
    if any(0 < count < seeds for count, seeds in counts):
        yield "n/m: a mean over n of m seeds, which is not compared with means over all."
    if not any(group.retrain for group in groups):
        yield "No retrained model to compare with, so → columns have no best method."
    most = max(len(group.seeds) for group in groups)
    for group in groups:
        if len(group.seeds) < most:
            yield f"{group.label}: {len(group.seeds)} of {most} seeds."
        if group.status != "ok":
            shown = "no scores" if group.averaged == "failed" else f"means over {group.averaged} runs"
            yield f"{group.label} {group.status} ({shown}): {_short('; '.join(group.status_reasons))}"
    if unknown := [_printable(column.header) for column in columns if column.direction is None]:
        yield f"{', '.join(unknown)}: of no metric known here, so nothing says what is best."
    yield from _machines(groups)
    yield from _missing(groups, metric, columns)


def _machines(groups: Sequence[Group]) -> Iterator[str]:
    """Yield what each run was made on, if that differs: times then differ for that reason too."""
    labels: dict[str, list[str]] = {}
    for group in groups:
        for machine in group.made_on:
            labels.setdefault(machine, []).append(group.label)
    if len(labels) > 1:
        yield "Not made alike: " + "; ".join(f"{', '.join(names)} on {machine}" for machine, names in labels.items())


def _missing(groups: Sequence[Group], metric: str | None, columns: Sequence[Column]) -> Iterator[str]:
    """Yield each reason once, with the cells it explains."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for column in columns:
        for group in groups:
            score = group.score(column.score_key(metric))
            # A failed group's reason already has its own line.
            for reason in score.reasons if group.averaged != "failed" else ():
                some = f" ({score.count} seed{'s' * (score.count > 1)} shown)" if score.count else ""
                reasons.setdefault(reason, {}).setdefault(column.header, []).append(group.label + some)
    for reason, cells in reasons.items():
        where = "; ".join(f"{header} of {', '.join(methods)}" for header, methods in cells.items())
        yield f"{MISSING} {where}: {_short(reason)}"


def _short(reason: str) -> str:
    """Return a reason as one short printable line; it may come from a stranger's file."""
    line = _printable(reason)
    return line if len(line) <= REASON_LENGTH else line[: REASON_LENGTH - 1] + "…"


def _printable(text: str) -> str:
    return visible(" ".join(text.split()))


def _escape(text: str) -> str:
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", html.escape(visible(text), quote=False))
