"""The scores of a run with its rows drawn anew: what chance in the choice of rows does to each of them.

Every run of a table draws the same rows in the same draw, so draws of two runs can be subtracted. A score that is a
mean over rows, or an area under a curve, is replaced by the mean of what each row contributes to it: one pass gives
every draw.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from mubench_hf.errors import BadInput

DRAWS = 200
"""Draws of the rows, with replacement: a standard error is then known within 5 %."""

MOST = 2_000
"""Draws that a stranger's result may hold."""

Effects = Mapping[str, Mapping[str, np.ndarray]]
"""Score → split → what each of its rows contributes, float ``[rows]``, whose mean is the score, or a part of it: if a
draw takes row i ``w_i`` times as often, the score moves by the mean of ``(w - 1) * contribution``, over all splits."""


class Drawn(Protocol):
    """A result."""

    @property
    def scores(self) -> Mapping[str, float | None]:
        """Score name → value."""

    @property
    def draws(self) -> Mapping[str, Any]:
        """Score name → what ``row_draws`` made."""


def row_draws(effects: Effects, identity: Iterable[str]) -> dict[str, str]:
    """Return how each score moves in every draw of the rows, packed into text.

    Args:
        effects: What rows contribute.
        identity: What names the rows, and nothing of the run: it seeds the draws.
    """
    keys = sorted(effects)
    moved = np.zeros((DRAWS, len(keys)))
    # Images are generated for some rows of a split only: scores of these are drawn by themselves.
    for split, rows in sorted({(split, len(part)) for parts in effects.values() for split, part in parts.items()}):
        held = [place for place, key in enumerate(keys) if len(effects[key].get(split, ())) == rows]
        contributions = np.stack([np.asarray(effects[keys[place]][split], dtype=float) for place in held], axis=1)
        mean = contributions.mean(axis=0)
        text = " ".join([*identity, split, str(rows)])
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))
        for draw in range(DRAWS):
            times = np.bincount(rng.integers(0, rows, rows), minlength=rows)
            moved[draw, held] += times @ contributions / rows - mean
    return {key: _packed(moved[:, place]) for place, key in enumerate(keys)}


def rows_of(run: Any) -> tuple[str, str]:
    """Return what names the rows of a run, given its record or result."""
    return run.data_fingerprint, run.deletion_sha256


def draws_of(result: Drawn) -> dict[str, np.ndarray]:
    """Return the scores of a result in every draw of its rows, float ``[draws]``; none that was not recorded."""
    stated = {key: result.scores.get(key) for key in result.draws}
    return {key: value + _unpacked(key, result.draws[key]) for key, value in stated.items() if value is not None}


def check_draws(draws: Mapping[str, Any]) -> None:
    """Check draws that anybody may have written.

    Raises:
        BadInput: If some are no packed numbers, not finite, or too many.
    """
    for key, text in draws.items():
        found = _unpacked(key, text)
        if not (2 <= len(found) <= MOST and np.isfinite(found).all()):
            raise BadInput(f"Field 'draws' has {len(found)} numbers of {key}; allowed: 2 to {MOST}, all finite.")


def _packed(moved: np.ndarray) -> str:
    return base64.b64encode(moved.astype("<f2").tobytes()).decode()


def _unpacked(key: str, text: Any) -> np.ndarray:
    try:
        packed = base64.b64decode(text, validate=True)
        return np.frombuffer(packed, dtype="<f2").astype(float)
    except (binascii.Error, ValueError, TypeError) as error:
        raise BadInput(f"Field 'draws' has {str(text)[:40]!r} of {key}; allowed: 16-bit numbers in base64.") from error
