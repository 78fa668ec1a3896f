"""Scores computed again beside the scores that were stated: which agree, and how closely they can be asked to."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from mubench_hf.runs.environment import describe_environment
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.scores import TIME_RATIO, references_of

FLIPPED_ROWS, LEAST = 2, 1e-3
"""What two machines may differ by: the last bits of a sum turn over a row whose two best answers nearly tie, and a
score of two splits counts two such rows. Where rows are many it is ``LEAST``, of 1 or of a value that is larger."""

TIMES = ("unlearn_seconds", TIME_RATIO)
"""Scores that weights do not tell: the times of the records are taken as they are, and must be the stated ones."""

EXACT, CLOSE, UNKNOWN, WRONG = "exactly", "closely", "unknown", "no"


@dataclass(frozen=True)
class Comparison:
    """One score.

    Attributes:
        key: Its name.
        stated: The published value, ``None`` where there is none.
        found: The value computed again, ``None`` where it cannot be.
        agrees: ``exactly``, ``closely`` (within what machines may differ by), ``unknown``, or ``no``.
        note: What there is to say of it.
    """

    key: str
    stated: float | None
    found: float | None
    agrees: str
    note: str = ""


def compare(
    stated: RunResult, found: RunResult, *, rows: int, alike: bool, missing: Collection[str]
) -> list[Comparison]:
    """Compare every score of two results of one run.

    Args:
        stated: The published result.
        found: The one computed again.
        rows: Rows of the smallest split that scores are computed from.
        alike: Whether both were made with the same processor and packages: values must then be equal.
        missing: Which of ``original`` and ``retrain`` there was no result of when scores were computed again.

    Returns:
        One comparison a score, in the order of their names.
    """
    tolerance = 0.0 if alike else max(FLIPPED_ROWS / rows, LEAST)
    return [
        _compare(key, stated, found, tolerance, missing) for key in sorted(stated.scores.keys() | found.scores.keys())
    ]


def _compare(key: str, stated: RunResult, found: RunResult, tolerance: float, missing: Collection[str]) -> Comparison:
    said, value = stated.scores.get(key), found.scores.get(key)
    if said is None and value is None:
        return Comparison(key, said, value, EXACT, stated.reasons.get(key, ""))
    if said is None:
        return Comparison(key, said, value, UNKNOWN, f"not stated: {stated.reasons.get(key, 'it is not in the file')}")
    if value is None:
        lacking = sorted(references_of(key) & set(missing))
        if lacking:
            why = f"compares with {' and '.join(lacking)}, whose published result is not there"
            return Comparison(key, said, value, UNKNOWN, why)
        return Comparison(key, said, value, WRONG, found.reasons.get(key, "there is no such score"))
    note = "time of run.json, not measured again" if key in TIMES else ""
    if said == value:
        return Comparison(key, said, value, EXACT, note)
    difference = abs(said - value)
    close = key not in TIMES and difference <= tolerance * max(1.0, abs(said))
    return Comparison(key, said, value, CLOSE if close else WRONG, f"{note or 'differs'} by {difference:.2g}")


def made_alike(result: RunResult) -> bool:
    """Return whether this process has the processor, the threads and the packages that a result was made with."""
    hardware, versions = describe_environment()
    same = all(result.hardware.get(name) == hardware[name] for name in ("cpu", "machine", "system"))
    return same and result.versions == versions and result.hardware.get("threads", 1) <= hardware["cpu_count"]
