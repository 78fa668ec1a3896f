"""Which values a setting of a config may have, declared where the setting is."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import Field, dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Any

from mubench_hf.errors import BadInput

ALLOWED = "allowed"
"""Key of a field's metadata under which ``setting`` puts its ``Range``; the config's class keeps it."""


MOST_PROCESSES = 1024
"""Threads or processes that may be asked for: of many more, the libraries crash."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """The numbers that a setting may be; never NaN.

    Attributes:
        least: The smallest allowed number.
        above: The largest number that is too small.
        most: The largest allowed number.
        below: The smallest number that is too large.
        finite: Whether it must be finite.
        whole: Whether it must be a whole number.
        per_process: Whether it is the number of rows that each process takes at once.
        tune: What `mubench tune` tries, see ``setting``.
    """

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    finite: bool = True
    whole: bool = False
    per_process: bool = False
    tune: tuple[float, float] | float | None = None

    def __post_init__(self) -> None:
        """Refuse numbers to try that are none, or that the setting may not be.

        Raises:
            BadInput: If there are any.
        """
        if isinstance(self.tune, tuple):
            low, high = self.tune
            if low not in self or high not in self or not low < high:
                raise BadInput(f"tune is {self.tune}; needed: a smaller and a larger number, each {self}.")
        elif self.tune is not None and not self.tune > 1:
            raise BadInput(f"tune is {self.tune}; needed: a factor above 1, or two numbers.")

    def __contains__(self, value: object) -> bool:
        """Return whether ``value`` is a number of the range."""
        if isinstance(value, bool) or not isinstance(value, Integral if self.whole else Real):
            return False
        try:
            number = float(value)
        except OverflowError:  # A whole number of more than 300 digits.
            return False
        return (
            not math.isnan(number)
            and not (self.finite and math.isinf(number))
            and (self.least is None or number >= self.least)
            and (self.above is None or number > self.above)
            and (self.most is None or number <= self.most)
            and (self.below is None or number < self.below)
        )

    @property
    def bounds(self) -> str:
        """What bounds it, in words; empty if nothing does."""
        words = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
        return " and ".join(f"{word} {bound:,}" for word, bound in words.items() if bound is not None)

    def __str__(self) -> str:
        """Return what is allowed, in words."""
        kind = "a whole number" if self.whole else "a number" if self.bounds or not self.finite else "a finite number"
        return f"{kind} {self.bounds}".strip()


def setting(
    default: Any,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    finite: bool = True,
    per_process: bool = False,
    tune: tuple[float, float] | float | None = None,
) -> Any:
    """Return the field of a config for a number, any other value of which is refused when the config is made.

    ``density: float = setting(0.5, above=0, most=1)`` is like ``density: float = 0.5``, and ``--help`` says what is
    allowed. Whether it must be a whole number follows from its type; ``None`` is allowed where it is the default.

    Args:
        default: The default.
        least: The smallest allowed number.
        above: The largest number that is too small.
        most: The largest allowed number.
        below: The smallest number that is too large.
        finite: Whether it must be finite; NaN is never allowed.
        per_process: Whether it is the number of rows that each process takes at once. A preset says it for one process,
            and several divide it.
        tune: What `mubench tune` tries: from one number to another; or, given one number, from the preset's value
            divided by it to that times it. It leaves other settings as they are.
    """
    allowed = Range(least=least, above=above, most=most, below=below, finite=finite, per_process=per_process, tune=tune)
    return field(default=default, metadata={ALLOWED: allowed})


def range_of(spec: Field, declared: Range | None) -> Range | None:
    """Return the range of a config's field: the declared one, or any number if it is a number, or ``None``."""
    kind = spec.type.__name__ if isinstance(spec.type, type) else str(spec.type)
    if declared is None and kind.removesuffix("| None").strip() not in ("int", "float"):
        return None
    return replace(declared or Range(finite=False), whole="float" not in kind)


def check_number(name: str, value: object, allowed: Range, default: object) -> None:
    """Refuse a number that is not allowed.

    Raises:
        BadInput: If ``value`` is not in ``allowed``, nor ``None`` where that is the default.
    """
    if value not in allowed and not (value is None and default is None):
        raise BadInput(f"{name} is {value!r}; allowed: {allowed}{' or None' if default is None else ''}.")


def check_settings(config: Any, but: Collection[str]) -> None:
    """Refuse a number that a field of the config does not allow, and anything but a truth where one is meant.

    Args:
        config: The config.
        but: Names of the fields whose numbers are checked elsewhere.

    Raises:
        BadInput: For the first such value.
    """
    for spec in fields(config):
        value = getattr(config, spec.name)
        # HfArgumentParser changes the types of fields, "str | bool" to bool, so the default tells too.
        truth = spec.type in (bool, "bool") and isinstance(spec.default, bool)
        if truth and not isinstance(value, bool):
            raise BadInput(f"{spec.name} is {value!r}; allowed: True or False.")
        allowed = None if spec.name in but else range_of(spec, config.ranges.get(spec.name))
        if allowed:
            check_number(spec.name, value, allowed, spec.default)
