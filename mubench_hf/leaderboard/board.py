"""All tables of the leaderboard: which results stand in which, and which are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mubench_hf.leaderboard import Entry, LeftOut, read_results
from mubench_hf.leaderboard.checks import references_of
from mubench_hf.leaderboard.folders import FLAT
from mubench_hf.results.aggregate import Group, aggregate
from mubench_hf.results.columns import Column, other_columns, table_columns
from mubench_hf.tasks import get_task


class TableKey(NamedTuple):
    """What the rows of one table share; rows of different tables are not comparable.

    Attributes:
        task: Key of the task.
        variant: ``full`` or ``mini``.
        model: Name of the model.
        del_ratio: Percent of train that is deleted.
        references: Id of the submission whose original and retrained model all rows are compared with.
    """

    task: str
    variant: str
    model: str
    del_ratio: int
    references: str = FLAT


@dataclass(frozen=True)
class Row:
    """One method in a table.

    Attributes:
        group: The method's runs, averaged.
        verified: How many of its runs are verified.
        submission: Id of its submission where that is another than its table's references are of.
    """

    group: Group
    verified: int
    submission: str = FLAT

    @property
    def label(self) -> str:
        """What it is called in its table: its group's label, and who else submitted it."""
        return f"{self.group.label} (submission {self.submission})" if self.submission else self.group.label

    @property
    def is_verified(self) -> bool:
        """Whether every run behind the row is verified."""
        return self.verified == len(self.group.seeds)


@dataclass(frozen=True)
class Board:
    """All tables.

    Attributes:
        tables: Rows of each table: original, retrain, then methods by name.
        left_out: Files that are not shown, and why.
    """

    tables: dict[TableKey, tuple[Row, ...]]
    left_out: tuple[LeftOut, ...] = ()

    def columns(self, key: TableKey) -> tuple[Column, ...]:
        """Return the columns of a table that hold anything, other scores of its splits last."""
        metric, groups = get_task(key.task).metric, [row.group for row in self.tables[key]]
        every = (*table_columns(groups, metric), *other_columns(groups, metric))
        return tuple(
            column
            for column in every
            if any(group.score(column.score_key(metric)).mean is not None for group in groups)
        )


def read_board(where: Path | str) -> Board:
    """Read the leaderboard of a folder or of a results data set on the Hub.

    Raises:
        BadInput: If there is neither, or the Hub does not answer. A file that is no valid result is only left out.
    """
    contents = read_results(where)
    board = make_board(contents.entries)
    return Board(board.tables, (*contents.left_out, *board.left_out))


def make_board(entries: Iterable[Entry]) -> Board:
    """Make the tables of some results. Runs of other rows than the rest of their table are left out.

    A submission with originals and retrained models of its own has tables of its own; one that is compared with
    another's has rows of its own in that one's. So no submission's runs are ever averaged, or compared, with others'.
    """
    by_table: dict[TableKey, list[Entry]] = {}
    for entry in entries:
        names = [getattr(entry.result, name) for name in TableKey._fields[:-1]]
        by_table.setdefault(TableKey(*names, entry.compared_with), []).append(entry)
    tables, left_out = {}, []
    for key in sorted(by_table):
        data = _data_of(by_table[key])
        fitting = [entry for entry in by_table[key] if _data(entry) == data]
        left_out += [
            LeftOut(entry.file.name, "It was made with other rows or another deletion list than its table.")
            for entry in by_table[key]
            if _data(entry) != data
        ]
        names = sorted({entry.submission for entry in fitting}, key=lambda name: (name != key.references, name))
        tables[key] = tuple(row for name in names for row in _rows(fitting, name, key.references))
    return Board(tables, tuple(left_out))


def _rows(entries: Sequence[Entry], submission: str, references: str) -> Iterator[Row]:
    """Yield the rows of a submission, averaged over its own runs alone and beside those that it is compared with."""
    mine = [entry for entry in entries if entry.submission == submission]
    beside = [] if submission == references else references_of(references, entries)
    verified = {entry.result.name for entry in mine if entry.verified}
    (groups,) = aggregate(entry.result for entry in (*beside, *mine))
    own = {entry.result.name for entry in mine}
    for group in groups:
        if own.intersection(group.runs):
            yield Row(group, len(verified.intersection(group.runs)), FLAT if submission == references else submission)


def _data(entry: Entry) -> tuple[str, str]:
    return entry.result.data_fingerprint, entry.result.deletion_sha256


def _data_of(entries: Sequence[Entry]) -> tuple[str, str]:
    """Return the data that a table's runs were made with: those of most verified runs, else of most runs."""
    published = get_task(entries[0].result.task).source(entries[0].result.variant).deletion_sha256
    # Whoever is compared with another's retrained models has no say in what these were made with.
    entries = [entry for entry in entries if entry.references is None] or entries
    votes = Counter(_data(entry) for entry in entries)
    verified = Counter(_data(entry) for entry in entries if entry.verified)
    return max(sorted(votes), key=lambda data: (data[1] == published, verified[data], votes[data]))
