"""Rows to forget that a person names: by their numbers, by a file of numbers, or by a column's value."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mubench_hf.data.parquet import column
from mubench_hf.data.splits import check_ratio
from mubench_hf.errors import BadInput, unknown_name
from mubench_hf.tasks import GivenRows

if TYPE_CHECKING:
    from datasets import Dataset

MOST_DIGITS = 20
"""Characters of a line that can be a row number."""

HOW = "Allowed: a percentage from 1% to 10%, a file of row numbers (one per line, the first row is 0), or COLUMN=VALUE"


def parse_forget(forget: str | Path | Iterable[int], train: Dataset) -> int | GivenRows:
    """Return the percentage for the benchmark's rule to draw, or the rows that are named.

    Args:
        forget: ``5%``, the path of a file of row numbers, ``COLUMN=VALUE``, or row numbers.
        train: The train rows with all columns, whose rows are numbered from 0.

    Raises:
        BadInput: If it is none of these, or names no row, all rows, a row that does not exist, or a row twice.
    """
    if not isinstance(forget, str | Path):
        return _checked("row numbers that were given", [(f"Row {row}", row) for row in map(int, forget)], len(train))
    text = str(forget).strip()
    if percent := re.fullmatch(r"(\d+)\s*%", text):
        return check_ratio(percent[1])
    if Path(text).is_file():
        return _checked(f"the row numbers in {Path(text).name}", _numbers(Path(text)), len(train))
    name, equals, value = text.partition("=")
    if not equals:
        raise BadInput(f"{text!r} names no rows to forget, and there is no such file. {HOW}.")
    if name not in train.column_names:
        raise unknown_name("column", name, train.column_names, how=f"{HOW}.")
    return _checked(f"all with {text}", [("", row) for row in _with_value(train, name, value)], len(train))


def _numbers(file: Path) -> list[tuple[str, int]]:
    """Return each row number in a file, with the place where it was found."""
    found = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise BadInput(f"{file.name} is no text: {error.reason} at byte {error.start}. {HOW}.") from error
    for line, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        if not text.strip().isdecimal() or len(text) > MOST_DIGITS:
            raise BadInput(f"{file.name}, line {line} is {text.strip()!r}. Needed: one row number per line.")
        found.append((f"{file.name}, line {line}: row {text.strip()}", int(text)))
    return found


def _with_value(train: Dataset, name: str, value: str) -> list[int]:
    from datasets import ClassLabel

    feature, values = train.features[name], column(train, name).to_pylist()
    if isinstance(feature, ClassLabel):
        values = [
            feature.names[each] if each is not None and 0 <= each < feature.num_classes else None for each in values
        ]
    rows = [row for row, each in enumerate(values) if each is not None and str(each) == value]
    if not rows:
        common = ", ".join(shown for shown, _ in Counter(map(str, values)).most_common(5))
        raise BadInput(f"No train row has {name}={value}. The values of {name} are {common}, ...")
    return rows


def _checked(text: str, rows: list[tuple[str, int]], length: int) -> GivenRows:
    seen: set[int] = set()
    for where, row in rows:
        if not 0 <= row < length or row in seen:
            what = "is named twice" if row in seen else f"is not in train, which has rows 0 to {length - 1}"
            raise BadInput(f"{where} {what}.")
        seen.add(row)
    if not rows or len(rows) == length:
        raise BadInput(f"{'None' if not rows else 'All'} of the {length:,} train rows would be forgotten. Name some.")
    return GivenRows(text, tuple(row for _, row in rows))
