"""The columns of a table: which score, under which title, and which way is better. Each metric declares its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mubench_hf.metrics import metrics_by_score, score_metric
from mubench_hf.results.aggregate import MAIN_PREFIXES, Group, split_metrics
from mubench_hf.runs.cost import TIMES as SCORES_OF_TIME

_ARROWS = {"higher": "↑", "lower": "↓", "match_retrained": "→"}


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: Score it shows; a prefix that ends in ``_`` is completed by the task's metric.
        header: Title, without the arrow of its direction.
        direction: ``higher``, ``lower`` or ``match_retrained``: what the best method has; ``None`` if unknown.
        digits: Digits after the decimal point.
        place: Its position: columns are sorted by it.
    """

    key: str
    header: str
    direction: str | None
    digits: int = 3
    place: float = math.inf

    @property
    def title(self) -> str:
        """Header and arrow: ``↑``, ``↓``, ``→`` (towards retrain), or none without a direction."""
        return f"{self.header} {self.arrow}".rstrip()

    @property
    def arrow(self) -> str:
        """Sign of the direction, empty without one."""
        return _ARROWS[self.direction] if self.direction else ""

    def score_key(self, metric: str | None) -> str:
        """Return the name of the score, given the task's metric."""
        return f"{self.key}{metric}" if self.key in MAIN_PREFIXES else self.key


SPLIT_HEADERS = dict(zip(MAIN_PREFIXES, ("D_Test", "D_f", "D_r"), strict=True))
WALL, COMPUTE, _RATIO = SCORES_OF_TIME
TIMES = (
    Column(WALL, "Seconds", "lower", digits=1, place=40),
    Column(COMPUTE, "CPU/GPU s", "lower", digits=1, place=45),
    Column(_RATIO, "× retrain", "lower", place=50),
)


def table_columns(groups: Sequence[Group], metric: str | None) -> tuple[Column, ...]:
    """Return the columns of a table: the task's own score on every split, times, and each other score of a run.

    A score that belongs to no metric known to this process has its name as header, and no direction.

    Args:
        groups: What the table shows.
        metric: The task's metric.
    """
    known, held = metrics_by_score(), set().union(*(group.scores for group in groups))
    main = known.get(metric or "")
    best, digits = (main.direction, main.digits) if main else ("higher" if metric is None else None, 3)
    columns = [
        Column(prefix, header, _direction(prefix, best), digits, place)
        for (prefix, header), place in zip(SPLIT_HEADERS.items(), (10, 20, 30), strict=True)
    ]
    columns += [column for column in TIMES if column.key != COMPUTE or COMPUTE in held]
    columns += [
        Column(each.key, each.header, each.direction, each.digits, each.place)
        for each in dict.fromkeys(known.values())
        if each.key in held
    ]
    told = {column.key for column in columns}
    told |= {f"{prefix}{name}" for prefix in MAIN_PREFIXES for name in split_metrics(groups)}
    unknown = sorted(key for key in held - told if score_metric(key, known) is None)
    columns += [Column(key, key, None) for key in unknown]
    return tuple(sorted(columns, key=lambda column: column.place))


def other_columns(groups: Sequence[Group], metric: str | None) -> tuple[Column, ...]:
    """Return the columns of a task's other scores on its splits: all but the main one, and those that nobody has."""
    known, columns = metrics_by_score(), []
    for name in split_metrics(groups):
        held = any(group.score(f"{prefix}{name}").mean is not None for group in groups for prefix in MAIN_PREFIXES)
        if name != metric and held:
            found = known.get(name)
            header = found.header if found and found.key == name else name
            columns += [
                Column(
                    f"{prefix}{name}",
                    f"{split} {header}",
                    _direction(prefix, found.direction if found else None),
                    found.digits if found else 3,
                )
                for prefix, split in SPLIT_HEADERS.items()
            ]
    return tuple(columns)


def _direction(prefix: str, direction: str | None) -> str | None:
    """Return the direction on one split: on D_f the retrained model's score is the target."""
    return "match_retrained" if direction and prefix == "forget_" else direction
