"""Compares stated scores with the same scores computed again: which agree, and how closely they must."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mubench_hf.runs.choice import TIME_RATIO, sources_of
from mubench_hf.runs.environment import describe_environment
from mubench_hf.runs.result import RunResult

LAST_DIGITS = 1e-6
"""How far scores of the very same outputs may differ: another processor rounds the last digits of a sum differently."""

FLIPPED_ROWS, LEAST = 2, 1e-3
"""How far scores of the same weights may differ: the last bits of a sum can flip a row whose two best answers nearly
tie, and a score over two splits can count two such rows. With many rows it is ``LEAST``."""

TIMES = ("unlearn_seconds", TIME_RATIO)
"""Scores that cannot be measured again: they are taken from the record, and must equal the stated ones exactly."""

EXACT, CLOSE, UNKNOWN, WRONG = "exactly", "closely", "unknown", "no"


@dataclass(frozen=True)
class ScoreCheck:
    """One stated score beside the one computed again.

    Attributes:
        key: Name of the score.
        stated: The stated value; ``None`` if the result gives a reason instead.
        found: The value computed again; ``None`` if there is none.
        agrees: ``exactly``, ``closely`` (within the tolerance), ``unknown`` (not judged), or ``no``.
        note: A remark on the comparison.
    """

    key: str
    stated: float | None
    found: float | None
    agrees: str
    note: str = ""

    @property
    def withheld(self) -> bool:
        """Whether the result states no value although one can be computed."""
        return self.stated is None and self.found is not None

    @property
    def recomputed(self) -> bool:
        """Whether a stated value was compared with one that was computed again."""
        return None not in (self.stated, self.found) and self.key not in TIMES

    def __str__(self) -> str:
        """Return both values in one line."""
        return f"score {self.key}: stated {self.stated}, recomputed {self.found}."


def weights_tolerance(*, rows: int, alike: bool) -> float:
    """Return the tolerance for scores that were computed again from the same weights.

    Args:
        rows: Rows of the smallest split that scores are computed from.
        alike: Whether both were made with the same processor and packages: values must then be equal.
    """
    return 0.0 if alike else max(FLIPPED_ROWS / rows, LEAST)


def check_scores(
    stated: RunResult,
    scores: Mapping[str, float | None],
    reasons: Mapping[str, str],
    *,
    tolerance: float,
    missing: Collection[str] = (),
    outside: Collection[str] = (),
) -> list[ScoreCheck]:
    """Compare every score that a result states with the same score computed again.

    Two values agree if they differ by at most ``tolerance``, relative to the stated value if that is above 1. A score
    that is only in ``scores``, because its metric was added later, was never stated and is not compared.

    Args:
        stated: The result.
        scores: The scores computed again.
        reasons: Why some of those are ``None``.
        tolerance: ``LAST_DIGITS`` for the same outputs; for the same weights see ``weights_tolerance``.
        missing: What was not there when the scores were computed again, as ``sources_of`` names it: ``retrain`` if the
            retrained model had no result, ``retrain outputs`` if its outputs were not kept.
        outside: Scores of metrics that are not known here.

    Returns:
        One check per stated score, in the order of their names.
    """

    def check(key: str) -> ScoreCheck:
        said, value = stated.scores[key], scores.get(key)
        lacking = sorted(sources_of(key) & set(missing))
        if said is None:
            note = stated.reasons.get(key, "")
            return ScoreCheck(key, said, value, *((EXACT, note) if value is None else (UNKNOWN, f"not stated: {note}")))
        if value is None and key in outside:
            return ScoreCheck(key, said, value, UNKNOWN, "its metric is not known here")
        if value is None and lacking:
            why = f"compares with {' and '.join(lacking)}, and that is not here"
            return ScoreCheck(key, said, value, UNKNOWN, why)
        if value is None:
            return ScoreCheck(key, said, value, WRONG, reasons.get(key, "there is no such score"))
        note = "time of run.json, not measured again" if key in TIMES else ""
        if said == value:
            return ScoreCheck(key, said, value, EXACT, note)
        difference = abs(said - value)
        close = key not in TIMES and difference <= tolerance * max(1.0, abs(said))
        return ScoreCheck(key, said, value, CLOSE if close else WRONG, f"{note or 'differs'} by {difference:.2g}")

    return [check(key) for key in sorted(stated.scores)]


def external_scores(result: RunResult) -> set[str]:
    """Return the stated scores of metrics from outside this package, as the result itself lists them."""
    return {key for key in result.scores if key in result.metrics or key.partition("_")[2] in result.metrics}


def measured_alike(stated: Mapping[str, str], found: Mapping[str, str]) -> bool:
    """Return whether two measurements of one checkpoint, see ``RunResult.evaluated``, must give the same bits.

    They must on a CPU, which earlier versions always took; a GPU may sum in any order.
    """
    return stated.get("device", "cpu") == found["device"] == "cpu" and stated.get("dtype") in (None, found["dtype"])


def made_alike(result: RunResult) -> bool:
    """Return whether this process has the same processor, threads and packages as the one that made a result."""
    hardware, versions = describe_environment()
    same = all(result.hardware.get(name) == hardware[name] for name in ("cpu", "machine", "system"))
    return same and result.versions == versions and result.hardware.get("threads", 1) <= hardware["cpu_count"]
