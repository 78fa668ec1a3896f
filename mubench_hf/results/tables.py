"""The tables of one task, model and deletion ratio: scores, the gap to retrain seed by seed, and other scores."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

from rich.console import Console

from mubench_hf.results.aggregate import Group, check_comparable, heading, main_metric
from mubench_hf.results.columns import TIMES, Column, other_columns, table_columns
from mubench_hf.results.gap import GAP, column_sample, floor_of
from mubench_hf.results.grid import MISSING, Cell, Grid, escape, markdown_lines
from mubench_hf.results.notes import table_notes
from mubench_hf.results.standing import standing
from mubench_hf.results.uncertainty import Interval

BY_SEED = "Gap to retrain by seed"
OTHER_SCORES = "Other scores"

FILE_WIDTH = 120
"""Characters per line if the table does not go to a terminal."""


class ResultTable(Grid):
    """The scores of a table's groups: means over seeds, beside the retrained model's."""

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
        cells = [column_cells(groups, column, metric) for column in self.columns]
        self.rows = [(group, [column[place] for column in cells]) for place, group in enumerate(groups)]
        self.notes = list(table_notes(groups, title, metric, self.columns)) if columns is None else []


class GapTable(Grid):
    """The average gap of each seed's run, their mean and its interval, and which methods share a rank.

    Args:
        groups: One list of ``aggregate`` of several seeds, some with gaps.
        title: Title of the task; its key by default.
        metric: The task's metric.
        column: The gap's column.
    """

    def __init__(self, groups: Sequence[Group], title: str | None, metric: str | None, column: Column) -> None:
        seeds = sorted(set().union(*(group.seeds for group in groups)))
        names = (*(f"seed {seed}" for seed in seeds), "Mean", "95 % interval", "Rank")
        self.columns = [Column(name, name, None) for name in names]
        self.title = f"{BY_SEED} · {heading(groups, title)}"
        self.notes = []
        ranks = standing(groups, column, metric).ranks
        self.rows = []
        for group, rank in zip(groups, ranks, strict=True):
            values, shown = gap_values(group, column, metric)
            numbers = [f"{values[seed]:.{column.digits}f}" if seed in values else MISSING for seed in seeds]
            numbers += [f"{shown.mean:.{column.digits}f}" if shown else MISSING]
            numbers += [interval_text(shown, column.digits) if shown else ""]
            texts = [*numbers, MISSING if rank is None else str(rank)]
            self.rows.append((group, [Cell(text or MISSING) for text in texts]))


def print_table(
    groups: Sequence[Group], title: str | None = None, metric: str | None = None, console: Console | None = None
) -> None:
    """Print the tables of ``groups`` (see ``ResultTable``) to ``console``, standard output by default."""
    # A file or a log has no edge to wrap at.
    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    console = console or Console(width=FILE_WIDTH if wide else None)
    for table in _tables(groups, title, metric):
        console.print(table)


def markdown_table(groups: Sequence[Group], title: str | None = None, metric: str | None = None) -> str:
    """Return the same tables as Markdown, for README files and cards.

    Args:
        groups: One list of ``aggregate``.
        title: Title of the task; its key by default.
        metric: The task's metric; needed only where the results hold several.

    Raises:
        BadInput: If the groups do not belong in one table, or ``metric`` is needed.
    """
    main, *others = _tables(groups, title, metric)
    lines = markdown_lines(main) + [f"- {escape(note)}" for note in main.notes]
    for table in others:
        lines += ["", *markdown_lines(table)[:-1]]
    return "\n".join(lines) + "\n"


def _tables(groups: Sequence[Group], title: str | None, metric: str | None) -> Iterator[Grid]:
    """Yield the table, the gap's seed by seed, and one of a task's other scores on its splits, as far as there are."""
    metric = metric or main_metric(groups)
    yield (table := ResultTable(groups, title, metric))
    gap = next((column for column in table.columns if column.key == GAP), None)
    if gap and any(len(group.seeds) > 1 and GAP in group.samples for group in groups):
        yield GapTable(groups, title, metric, gap)
    if columns := other_columns(groups, metric):
        yield ResultTable(groups, title, metric, columns)


def column_cells(groups: Sequence[Group], column: Column, metric: str | None) -> list[Cell]:
    """Return the cells of a column, one for each group; those of the best that can be told apart are marked."""
    found = standing(groups, column, metric)
    return [make_cell(group, column, metric, best=found.is_best(place)) for place, group in enumerate(groups)]


def gap_values(group: Group, column: Column, metric: str | None) -> tuple[dict[int, float], Interval | None]:
    """Return the average gap of each seed's run and their mean; of the retrained model, the floor.

    Args:
        group: The group.
        column: The gap's column.
        metric: The task's metric.

    Returns:
        Seed → gap, and the mean over the seeds with its interval; nothing where there is none.
    """
    if group.method == "retrain":
        return floor_of(group.samples, column, metric)
    sample = column_sample(group, column, metric)
    return (dict(sample.values), sample.interval()) if sample else ({}, None)


def make_cell(group: Group, column: Column, metric: str | None, *, best: bool = False) -> Cell:
    """Return the cell of ``group`` in ``column``; in the gap's, the mean with its interval."""
    key, digits = column.score_key(metric), column.digits
    score = group.score(key)
    if score.mean is None:
        return Cell(MISSING)
    count = "" if score.count == len(group.seeds) else f"{score.count}/{len(group.seeds)}"
    if key == GAP:
        _, shown = gap_values(group, column, metric)
        if shown is None:
            return Cell(MISSING)
        return Cell(f"{shown.mean:.{digits}f}", interval_text(shown, digits), best=best, count=count)
    gap = group.gap_to_retrain(key) if column.direction == "match_retrained" and group.method != "retrain" else None
    has_floor = group.method == "retrain" and column not in TIMES
    floor = floor_of(group.samples, column, metric)[1] if has_floor else None
    return Cell(
        mean=f"{score.mean:.{digits}f}",
        std="" if score.std is None else f"±{score.std:.{digits}f}",
        gap="" if gap is None else signed(gap, digits),
        floor="" if floor is None else f"~{floor.mean:.{digits}f}",
        best=best,
        count=count,
    )


def interval_text(found: Interval, digits: int) -> str:
    """Return the interval of a gap, which is never negative, as ``[low, high]``; empty where there is none."""
    if found.low is None or found.high is None:
        return ""
    return f"[{max(0.0, found.low):.{digits}f}, {found.high:.{digits}f}]"


def signed_interval(found: Interval, digits: int) -> str:
    """Return the interval of a difference in words; empty where there is none."""
    if found.low is None or found.high is None:
        return ""
    return f"95 % interval {signed(found.low, digits)} to {signed(found.high, digits)}"


def signed(number: float, digits: int) -> str:
    """Return a number with its sign."""
    # Adding zero turns a rounded -0.0 into 0.0, which would read as a gap with a direction.
    return f"{round(number, digits) + 0.0:+.{digits}f}"
