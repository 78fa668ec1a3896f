"""What the leaderboard shows of its tables, as plain data: rows, comparisons, points, CSV, a page for each method."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mubench_hf.errors import BadInput, unknown_name
from mubench_hf.leaderboard.board import Board, Row, TableKey
from mubench_hf.results.aggregate import ScoreSummary, origin_text
from mubench_hf.results.columns import TIMES, Column
from mubench_hf.results.gap import GAP, column_sample, floor_of
from mubench_hf.results.standing import better_of, standing
from mubench_hf.results.titles import method_title
from mubench_hf.results.uncertainty import pairwise
from mubench_hf.tasks import get_task
from mubench_hf.trainers import get_method, list_methods


def summary(row: Row, column: Column) -> ScoreSummary:
    """Return the numbers of one cell."""
    return row.group.score(score_key(row, column))


def gap(row: Row, column: Column) -> float | None:
    """Return a cell's mean minus the retrained model's, ``None`` where either is missing."""
    return row.group.gap_to_retrain(score_key(row, column))


def score_key(row: Row, column: Column) -> str:
    """Return the name of the score that a column shows of a row."""
    return column.score_key(get_task(row.group.task).metric)


def best_rows(rows: Sequence[Row], column: Column) -> set[str]:
    """Return the labels of the rows of the best methods in a column of their table, see ``standing``."""
    if not rows:
        return set()
    found = standing([row.group for row in rows], column, get_task(rows[0].group.task).metric)
    return {row.label for place, row in enumerate(rows) if found.is_best(place)}


def arrange(rows: Sequence[Row], text: str = "", by: Column | None = None, descending: bool = False) -> list[Row]:
    """Return the rows whose title, method's key or settings hold ``text``, sorted; rows without a number stand last.

    Args:
        rows: Rows of one table.
        text: Compared without regard to case; empty keeps all.
        by: Column whose means sort; ``None`` keeps the table's order.
        descending: Whether the largest mean stands first.
    """
    wanted = text.strip().lower()
    kept = [row for row in rows if wanted in f"{row.label} {row_title(row)}".lower()]
    if by is None:
        return kept
    known = [row for row in kept if summary(row, by).mean is not None]
    known.sort(key=lambda row: summary(row, by).mean, reverse=descending)
    return known + [row for row in kept if summary(row, by).mean is None]


class ScorePair(NamedTuple):
    """One score of two rows of a table.

    Attributes:
        column: The score.
        first: The first method's mean, ``None`` if it has none.
        second: The second's.
        difference: First minus second.
        better: ``1`` or ``2``, by the column's direction; ``None`` where they cannot be told apart or compared.
    """

    column: Column
    first: float | None
    second: float | None
    difference: float | None
    better: int | None


def side_by_side(first: Row, second: Row, columns: Sequence[Column]) -> list[ScorePair]:
    """Return two rows of one table, score by score, and which is the better."""
    lines = []
    for column in columns:
        means = [summary(row, column).mean for row in (first, second)]
        if None in means:
            lines.append(ScorePair(column, *means, None, None))
            continue
        better = better_of((first.group, second.group), column, get_task(first.group.task).metric)
        lines.append(ScorePair(column, *means, means[0] - means[1], better))
    return lines


def points(rows: Sequence[Row]) -> list[dict[str, str | float]]:
    """Return each method's place in the plot of forgetting against utility; none for a method without scores.

    That of the retrained model has the floors of both axes, ``forget_floor`` and ``test_floor``, if there are several
    seeds.
    """
    found = []
    for row in rows:
        metric = get_task(row.group.task).metric
        forget, test = (row.group.score(f"{split}_{metric}").mean for split in ("forget", "test"))
        if forget is not None and test is not None:
            found.append({"method": row.label, "title": row_title(row), "forget": forget, "test": test})
            for split in ("forget", "test") if row.group.method == "retrain" else ():
                _, floor = pairwise([row.group.samples[f"{split}_{metric}"]])
                found[-1] |= {f"{split}_floor": floor.mean} if floor else {}
    return found


def csv_text(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """Return rows as CSV: each score's mean, standard deviation and gap to retrain, with all their digits.

    ``low`` and ``high`` are the 95 % interval of the gap to retrain (of the average gap, its own); ``floor`` stands in
    the retrained model's row.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    header = [
        *TableKey._fields[:-1],
        "method",
        "settings",
        "external",
        "status",
        "seeds",
        "verified_runs",
        "submission",
    ]
    for column in columns:
        key = score_key(rows[0], column) if rows else column.key
        header += [key, *(f"{key}_{what}" for what in ("std", "gap_to_retrain", "low", "high", "floor"))]
    writer.writerow(header)
    for row in rows:
        group = row.group
        cells = [getattr(group, name) for name in TableKey._fields[:-1]]
        apart = [json.dumps(found, sort_keys=True) if found else "" for found in (group.differs, group.external)]
        cells += [group.method, *apart, group.status, " ".join(map(str, group.seeds)), row.verified, row.submission]
        for column in columns:
            found = summary(row, column)
            numbers = (found.mean, found.std, gap(row, column), *_bounds(row, column))
            cells += ["" if value is None else value for value in numbers]
        writer.writerow(cells)
    return stream.getvalue()


def _bounds(row: Row, column: Column) -> tuple[float | None, float | None, float | None]:
    """Return the interval of a row's gap to retrain, and the floor if the row is the retrained model's."""
    metric = get_task(row.group.task).metric
    if row.group.method == "retrain":
        found = None if column in TIMES else floor_of(row.group.samples, column, metric)[1]
        return (None, None, None) if found is None else (found.low, found.high, found.mean)
    is_gap = column.key == GAP
    sample = column_sample(row.group, column, metric) if is_gap else row.group.gap_sample(score_key(row, column))
    shown = sample.interval() if sample else None
    return (shown.low, shown.high, None) if shown else (None, None, None)


@dataclass(frozen=True)
class MethodPage:
    """What there is to say of a method.

    Attributes:
        key: Its key.
        title: Its name.
        taxonomy: What it measures on, and what it does to D_f and to D_r.
        source: Where it comes from.
        papers: Addresses of the papers that the source names.
        results: Its row in each table that has it.
    """

    key: str
    title: str
    taxonomy: dict[str, str]
    source: str
    papers: tuple[str, ...]
    results: tuple[tuple[TableKey, Row], ...]


def method_page(board: Board, method: str) -> MethodPage:
    """Return the page of a method.

    Raises:
        BadInput: If there is no such method, and no result of one from outside with this key.
    """
    results = tuple((key, row) for key, rows in board.tables.items() for row in rows if row.group.method == method)
    origins = {origin_text(row.group.external["method"]): None for _, row in results if "method" in row.group.external}
    if method not in list_methods():  # Visitors name methods: what they name is looked up, never imported.
        if not origins:
            raise unknown_name("method", method, list_methods())
        return MethodPage(method, method, {}, f"external, not a part of mubench_hf: {', '.join(origins)}", (), results)
    trainer = get_method(method)
    words = {
        "Measures": trainer.measurement,
        "Corruption on D_f": trainer.corruption,
        "Retention on D_r": trainer.retention,
    }
    papers = tuple(f"https://arxiv.org/abs/{number}" for number in re.findall(r"arXiv (\d{4}\.\d{5})", trainer.source))
    return MethodPage(method, trainer.title, words, trainer.source, papers, results)


def methods_of(board: Board) -> list[tuple[str, str]]:
    """Return title and key of every method, those from outside that there are results of last."""
    groups = [row.group for rows in board.tables.values() for row in rows]
    others = {group.method for group in groups if "method" in group.external}.difference(list_methods())
    own = [(method_title(name), name) for name in list_methods()]
    return own + [(f"{name} (external)", name) for name in sorted(others)]


def row_title(row: Row) -> str:
    """Return a row's name for people: its method's, and what sets it apart."""
    return method_title(row.group.method) + row.label.removeprefix(row.group.method)


def find_row(board: Board, key: TableKey, label: str) -> Row:
    """Return a row of a table.

    Args:
        board: All tables.
        key: Which table.
        label: ``Row.label`` of the row: a method's key, and what sets the row apart from the preset's.

    Raises:
        BadInput: If the table does not have it.
    """
    for row in board.tables.get(key, ()):
        if row.label == label:
            return row
    raise BadInput(f"The table of {key.task} has no {label!r}. Choose another method.")
