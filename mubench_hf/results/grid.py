"""A table of methods by columns, for a terminal and as Markdown."""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.console import Group as Stack
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from mubench_hf.errors import visible
from mubench_hf.results.aggregate import Group
from mubench_hf.results.columns import Column

MISSING = "–"

LONGEST_LABEL = 36
"""Characters of a method's name and settings that stand in one line of a terminal; more have a line each."""


@dataclass(frozen=True)
class Cell:
    """One number as text: ``mean``, its ``std`` or interval and signed ``gap`` to retrain; each is empty without one.

    ``floor`` says how far retrained models of different seeds lie apart, ``count`` of how many seeds the mean is, where
    these are not all.
    """

    mean: str
    std: str = ""
    gap: str = ""
    floor: str = ""
    best: bool = False
    count: str = ""


class Grid:
    """Renderable that never breaks a number, at any width: cells are in one line, stacked, or in several tables.

    Attributes:
        title: Line above it.
        columns: What it shows.
        rows: Each group with a cell for every column.
        notes: Lines below it.
    """

    title: str
    columns: Sequence[Column]
    rows: list[tuple[Group, list[Cell]]]
    notes: list[str]

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
            title = Text(printable(self.columns[index].title).replace(" ", separator))
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


def markdown_lines(grid: Grid) -> list[str]:
    """Return a table as lines of Markdown, without its notes."""
    lines = [f"**{escape(grid.title)}**", ""]
    # Underscores within a word need no escape, and headers read better without.
    header = " | ".join(escape(printable(column.title)).replace("\\_", "_") for column in grid.columns)
    lines += [f"| Method | {header} |", "|---|" + "---:|" * len(grid.columns)]
    for group, cells in grid.rows:
        label = escape(group.label) + (f" (**{group.status}**)" if group.status != "ok" else "")
        lines.append(f"| {label} | {' | '.join(map(_markdown_cell, cells))} |")
    return [*lines, ""]


def _terminal_cell(cell: Cell, separator: str) -> Text:
    text = Text(cell.mean, style="bold" if cell.best else "")
    if cell.std:
        text.append(separator + cell.std)
    if cell.gap:
        # On a line of its own the sign says enough, and parentheses would cost two columns each.
        text.append(separator + (f"({cell.gap})" if separator == " " else cell.gap), style="dim not bold")
    for more in filter(None, (cell.floor, cell.count)):
        text.append(f"{separator}{more}", style="dim not bold")
    return text


def _markdown_cell(cell: Cell) -> str:
    number = cell.mean + (f" {cell.std}" if cell.std else "")
    number = (f"**{number}**" if cell.best else number) + (f" ({cell.gap})" if cell.gap else "")
    return number + (f" {cell.floor}" if cell.floor else "") + (f" [{cell.count}]" if cell.count else "")


def printable(text: str) -> str:
    """Return text of a stranger's as one line that a terminal shows as it is."""
    return visible(" ".join(text.split()))


def escape(text: str) -> str:
    """Return text as Markdown that shows it as it is."""
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", html.escape(visible(text), quote=False))
