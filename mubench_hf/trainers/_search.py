"""What `mubench tune` may change of a method: its settings, from where to where, as its config declares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mubench_hf.errors import BadInput, unknown_name
from mubench_hf.trainers._arguments import ARGUMENTS
from mubench_hf.trainers._config import UnlearningConfig
from mubench_hf.trainers._identity import NEUTRAL
from mubench_hf.trainers._settings import Range, range_of

DIGITS = 3
"""Digits of a number that is tried: a preset with more would promise what no trial can tell."""

WIDE = 10
"""From this factor between its ends on, a range is searched evenly by ratio."""


@dataclass(frozen=True)
class Searched:
    """The numbers that are tried of one setting.

    Attributes:
        least: The smallest.
        most: The largest.
        usual: The preset's, which is the first trial's.
        allowed: Those that the setting may be.
    """

    least: float
    most: float
    usual: float
    allowed: Range

    @property
    def by_ratio(self) -> bool:
        """Whether numbers are drawn evenly by ratio; else evenly by difference."""
        return self.least > 0 and self.most / self.least >= WIDE

    def rounded(self, value: float) -> float:
        """Return a drawn number as it is tried: with few digits, or whole."""
        found = int(value) if self.allowed.whole else float(f"{value:.{DIGITS}g}")
        return found if found in self.allowed else value


def search_space(
    config: type[UnlearningConfig],
    preset: Mapping[str, Any],
    asked: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Searched]:
    """Return the settings that are tuned: those that declare ``tune``, and those that are asked for.

    A range is made wider where it lacks the preset's value.

    Args:
        config: The method's config.
        preset: Its settings before tuning, where they are not the config's defaults.
        asked: Setting → smallest and largest number, in place of what is declared.

    Raises:
        BadInput: If something is asked for that is no number of the config or not allowed, or nothing is left to tune.
    """
    asked, found, numbers = dict(asked or {}), {}, []
    for spec in fields(config):
        argument = ARGUMENTS.get(spec.name)
        allowed = range_of(spec, config.ranges.get(spec.name) or (argument.allowed if argument else None))
        if allowed is None or not spec.init or spec.name in NEUTRAL:
            continue
        numbers.append(spec.name)
        usual = preset.get(spec.name, spec.default)
        ends = asked.pop(spec.name, None) or _ends(allowed, usual)
        if ends is None:
            continue
        if not (ends[0] in allowed and ends[1] in allowed and ends[0] < ends[1]):
            raise BadInput(
                f"The numbers to try of {spec.name} are {ends[0]} to {ends[1]}; needed: a smaller and a larger one, "
                f"each {allowed}."
            )
        usual = ends[0] if usual is None else usual
        found[spec.name] = Searched(min(ends[0], usual), max(ends[1], usual), usual, allowed)
    if asked:
        raise unknown_name(f"number of {config.__name__}", next(iter(asked)), numbers)
    if not found:
        raise BadInput(
            f"{config.__name__} declares nothing to tune. Say what: --search learning_rate=1e-5:1e-3, or "
            "setting(..., tune=...) in the config."
        )
    return found


def _ends(allowed: Range, usual: Any) -> tuple[float, float] | None:
    """Return the numbers that a setting's declaration says to try; ``None`` if there are none."""
    if allowed.tune is None or isinstance(allowed.tune, tuple):
        return allowed.tune
    if usual is None or usual <= 0:
        return None
    low, high = usual / allowed.tune, usual * allowed.tune
    return (max(1, int(low)), int(high)) if allowed.whole else (low, high)
