"""Compares stated scores with the same scores computed again: which agree, and how closely they must."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from mubench_hf.metrics.parameters import ROWS, SPLITS, kept_outputs
from mubench_hf.runs.choice import sources_of
from mubench_hf.runs.cost import TIMES
from mubench_hf.runs.result import RunResult

LAST_DIGITS = 1e-6
"""How far scores of the very same outputs may differ: another processor rounds the last digits of a sum differently."""

FLIPPED_ROWS, LEAST = 2, 1e-3
"""How far scores of the same weights may differ where texts are written: the last bits of a sum can turn over a token
whose two best choices nearly tie, and the whole text after it. With many rows it is ``LEAST``."""

ROUNDING, DRAWS, FACTOR, FLOOR = 1e-4, 4, 2.0, 1e-5
"""Noise on outputs of float32, as a share of their spread; how often it is drawn; what the largest change of a score is
multiplied with; and the least tolerance. Outputs of two instruction sets differ by 3e-7 of their spread."""

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
        tolerance: How far the two may lie apart, relative to the stated value if that is above 1; ``None`` if they were
            not compared.
    """

    key: str
    stated: float | None
    found: float | None
    agrees: str
    note: str = ""
    tolerance: float | None = None

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


def weights_tolerances(
    outputs: Mapping[str, np.ndarray],
    scored: Callable[[dict[str, np.ndarray]], Mapping[str, float | None]],
    *,
    eps: float,
) -> dict[str, float]:
    """Return how far each score may lie from that of the same weights on another machine.

    It is found from what was computed here alone: the scores of outputs with a little noise, far more than rounding
    makes. What somebody says of the hardware that scores were made on cannot be checked, so nothing hangs on it.

    Args:
        outputs: What was measured here.
        scored: Returns the scores of outputs.
        eps: The machine epsilon of the weights' type.

    Returns:
        Score name → tolerance. Where texts are written, at least two rows may turn over.
    """
    rng, known = np.random.default_rng(0), kept_outputs()  # The same question gets the same answer.
    # What says nothing of the model, such as labels, is compared in full where it matters.
    made = {name: value for name, value in outputs.items() if name in known and known[name].shared != ROWS}
    exact = scored(dict(outputs))
    moved = dict.fromkeys((key for key, value in exact.items() if value is not None), 0.0)
    for _ in range(DRAWS):
        noise = {name: _with_noise(value, max(ROUNDING, 5 * eps), rng) for name, value in made.items()}
        found = scored({**outputs, **noise})
        for key, most in moved.items():
            if None not in (exact[key], found.get(key)):
                moved[key] = max(most, abs(found[key] - exact[key]))
    discrete = any(value.dtype.kind != "f" for value in made.values())
    rows = min(len(outputs[f"{split}_labels"]) for split in SPLITS)
    least = max(FLIPPED_ROWS / rows, LEAST) if discrete else FLOOR
    return {key: max(least, FACTOR * most) for key, most in moved.items()}


def _with_noise(values: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """Return an array with normal noise of a share of its spread; what is not finite, or no float, stays."""
    finite = np.isfinite(values) if values.dtype.kind == "f" else np.zeros(values.shape, dtype=bool)
    if not finite.any():
        return values
    held = values[finite].astype(np.float64)
    noisy = np.clip(held + size * held.std() * rng.normal(size=held.shape), held.min(), held.max())
    changed = values.copy()
    changed[finite] = noisy
    return changed


def check_scores(
    stated: RunResult,
    scores: Mapping[str, float | None],
    reasons: Mapping[str, str],
    *,
    tolerance: float | Mapping[str, float],
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
        tolerance: ``LAST_DIGITS`` for the same outputs; for the same weights see ``weights_tolerances``.
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
        allowed = tolerance if isinstance(tolerance, float) else tolerance.get(key, 0.0)
        if said == value:
            return ScoreCheck(key, said, value, EXACT, note, allowed)
        difference = abs(said - value)
        close = key not in TIMES and difference <= allowed * max(1.0, abs(said))
        agrees, note = CLOSE if close else WRONG, f"{note or 'differs'} by {difference:.2g}"
        return ScoreCheck(key, said, value, agrees, note, allowed)

    return [check(key) for key in sorted(stated.scores)]


def external_scores(result: RunResult) -> set[str]:
    """Return the stated scores of metrics from outside this package, as the result itself lists them."""
    return {key for key in result.scores if key in result.metrics or key.partition("_")[2] in result.metrics}
