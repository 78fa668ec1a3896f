"""The states: what a model was trained on says how much of D_f it holds, whatever any metric says."""

from __future__ import annotations

from typing import NamedTuple

RETRAINED, NEVER, SHOWN, SAW, OFTEN, MASKED, FILTERED = (
    "retrained", "never_saw", "shown_a_tenth", "saw", "saw_ten_times", "masked", "filtered",
)  # fmt: skip

STATES = {
    RETRAINED: "trained on D_r alone with the run's seed: what metrics compare with, so it is not ranked",
    NEVER: "trained on D_r alone with another seed",
    SHOWN: "retrained, then trained on D_r and a tenth of D_f, whose rows come as often as the original saw them",
    SAW: "trained on D_r and D_f: the original",
    OFTEN: "trained on D_r and ten copies of D_f",
    MASKED: "the original with a mask over its weights that takes D_f's score down to the retrained model's",
    FILTERED: "the original's own weights behind a filter that changes answers to D_f until its score is as low",
}
"""State → how its model was made."""

KNOWN = "known_state"
"""Stands in place of a method's key where such a model is scored."""

RELEARN_STEPS = 4
"""Steps on D_r, where no row of D_f is, that bring back what is hidden; a filter is not in the weights anyway."""


class Pair(NamedTuple):
    """Two states whose order is known.

    Attributes:
        less: The state that holds less of D_f.
        more: The one that holds more.
        hidden: Whether the second hides it.
    """

    less: str
    more: str
    hidden: bool = False


PAIRS = (
    Pair(NEVER, SHOWN),
    Pair(NEVER, SAW),
    Pair(NEVER, OFTEN),
    Pair(SHOWN, SAW),
    Pair(SHOWN, OFTEN),
    Pair(SAW, OFTEN),
    Pair(NEVER, MASKED, hidden=True),
    Pair(NEVER, FILTERED, hidden=True),
)
"""Every pair whose order follows from how its models were made.

The retrained model is in none: what compares with it gives it a gap of zero, whatever it measures. What hides is
ordered only against a model that never saw D_f. The mask was trained with the help of D_f, so it does not follow that
it holds less than the original, nor that it holds more than a model that was shown a tenth.
"""

ROUNDED, REORDERED = "rounded", "reordered"

CHANGED = (RETRAINED, SAW)
"""States that are also scored after harmless changes: weights rounded to 8 bits, rows in another order."""


def changed(state: str, how: str) -> str:
    """Return the name of a state after a harmless change, ``saw+rounded``."""
    return f"{state}+{how}"
