"""Defines a metric: a module with a pure function and constants that describe it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from mubench_hf.errors import BadInput
from mubench_hf.metrics.parameters import ANY, REFERENCES, SPLIT, SPLITS, legal_parameters

DIRECTIONS = ("higher", "lower", "match_retrained")

NEEDED = {
    "DIRECTION": f"what the best value is, one of {', '.join(map(repr, DIRECTIONS))}",
    "RANGE": "the least and the largest value, such as (0.0, 1.0)",
    "SOURCE": "where the metric comes from, such as 'arXiv 2406.01257'",
}
"""Constants that every metric declares, and what to write there."""

RESERVED = ("unlearn_seconds", "compute_seconds", *(f"{name}_" for name in (*SPLITS, *REFERENCES)))
"""Scores, and beginnings of scores, that already have a meaning."""


@dataclass(frozen=True)
class Metric:
    """One metric. Its description is known without importing its module, which may need heavy packages.

    Attributes:
        key: Its name, and that of its pure function and its score.
        direction: ``higher``, ``lower`` or ``match_retrained``: what the best value is.
        range: Least and largest value, possibly infinite.
        source: Where it comes from.
        header: Title of its column.
        place: Position of its column: columns are sorted by it.
        digits: Digits after the decimal point that its column shows.
        also: Names of scores that it returns besides its own; they share its direction and range.
        default: Whether it is computed for every run; otherwise for those that ask for it.
        doc: What it measures, in one line.
        load: Imports its module.
        declared: Signature of its function, if that is known without importing the module.
    """

    key: str
    direction: str
    range: tuple[float, float]
    source: str
    header: str
    place: float
    digits: int
    also: tuple[str, ...]
    default: bool
    doc: str
    load: Callable[[], ModuleType] = field(repr=False)
    declared: inspect.Signature | None = field(default=None, repr=False, compare=False)

    @property
    def compute(self) -> Callable[..., dict[str, float]]:
        """The pure function. If there is no score, it raises a ValueError that says why."""
        return getattr(self.load(), self.key)

    @property
    def row_scores(self) -> Callable[..., dict[str, Any]] | None:
        """The function that scores each row by itself, float [n] per score, if the module has one."""
        return getattr(self.load(), "row_scores", None)

    @property
    def row_effects(self) -> Callable[..., dict[str, Any]] | None:
        """The function that says what each row contributes to a score, if the module has one, see ``runs.draws``.

        Of a metric that scores a split it returns float [n] per score, of others a dictionary split → float [n].
        """
        return getattr(self.load(), "row_effects", None)

    @property
    def mean_of(self) -> str | None:
        """The split over whose rows the score is the mean of ``row_effects``, if the module says so in ``MEAN_OF``."""
        return getattr(self.load(), "MEAN_OF", None)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all scores that it returns, its own first."""
        return (self.key, *self.also)

    @property
    def file(self) -> Path:
        """The module's file."""
        return Path(self.load().__file__ or "")

    @cached_property
    def parameters(self) -> Mapping[str, bool]:
        """Name of each parameter that is filled in → whether it is required; the metric's own settings are left out.

        Raises:
            BadInput: If the function takes any number of arguments, or a setting after ``*`` has no default.
        """
        found = {}
        for name, parameter in (self.declared or inspect.signature(self.compute)).parameters.items():
            has_default = parameter.default is not parameter.empty
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise BadInput(f"Metric {self.key} takes {parameter}; every parameter must have a name of its own.")
            if parameter.kind is not parameter.KEYWORD_ONLY:
                found[name] = not has_default
            elif not has_default:
                raise BadInput(f"Metric {self.key} has {name!r} after '*', which is for settings. Give it a default.")
        return found

    @cached_property
    def of_split(self) -> bool:
        """Whether it scores one split by itself; otherwise it compares splits or runs."""
        legal = legal_parameters(())
        return any(name in legal and legal[name].of == SPLIT for name in self.parameters)

    def check(self, scores: Collection[str]) -> None:
        """Check the module's functions; this imports it.

        Args:
            scores: Names of scores that it may ask for.

        Raises:
            BadInput: If the pure function is missing, or a parameter is unknown or does not fit with the others.
        """
        if not callable(getattr(self.load(), self.key, None)):
            raise BadInput(
                f"{self.file.name} has no function {self.key!r}, which would be the metric. Name the function like the "
                "file, or give its name as KEY."
            )
        legal = legal_parameters(scores)
        if unknown := sorted(self.parameters.keys() - legal):
            raise BadInput(
                f"Metric {self.key} has the parameter{'s' * (len(unknown) > 1)} {', '.join(map(repr, unknown))}, which "
                "nothing fills in. Allowed: the names in mubench_hf.metrics.parameters (docs/metrics.md); settings of "
                "the metric's own stand after '*' and have a default."
            )
        others = [name for name in self.parameters if legal[name].of not in (SPLIT, ANY)]
        if self.of_split and others:
            raise BadInput(
                f"Metric {self.key} reads one split, and also {', '.join(map(repr, others))}. Name the split of each "
                "parameter (forget_logits in place of logits) to compare splits or runs."
            )


def describe(
    constants: Mapping[str, Any],
    *,
    key: str,
    where: str,
    doc: str,
    load: Callable[[], ModuleType],
    declared: inspect.Signature | None = None,
    default: bool = False,
) -> Metric:
    """Return the metric that a module's constants describe.

    Args:
        constants: What the module declares.
        key: Its key.
        where: The module's name, for messages.
        doc: Its docstring.
        load: Imports it.
        declared: Signature of its function, if it is known.
        default: Whether every run computes it if it does not say.

    Raises:
        BadInput: If a constant is missing or cannot be used; the message says what to add.
    """
    if lacking := [f"{name} ({what})" for name, what in NEEDED.items() if constants.get(name) is None]:
        raise BadInput(
            f"{where} is no metric yet: it lacks {', '.join(lacking)}. Add what is missing at its top level."
        )
    direction, source = constants["DIRECTION"], constants["SOURCE"]
    if direction not in DIRECTIONS:
        raise BadInput(f"{where}: DIRECTION is {direction!r}. Allowed: {', '.join(map(repr, DIRECTIONS))}.")
    try:
        low, high = (float(limit) for limit in constants["RANGE"])
    except (TypeError, ValueError):
        low = high = math.nan
    if not low < high:
        raise BadInput(f"{where}: RANGE is {constants['RANGE']!r}. Allowed: two numbers, the smaller one first.")
    header, place, digits = (constants.get(name, default) for name, default in _column(key).items())
    also, default = constants.get("ALSO", ()), constants.get("DEFAULT", default)
    for name, value, fits, allowed in (
        ("SOURCE", source, _is_text(source), "text"),
        ("HEADER", header, _is_text(header), "text"),
        ("PLACE", place, isinstance(place, int | float) and not math.isnan(place), "a number"),
        ("DIGITS", digits, isinstance(digits, int) and 0 <= digits <= 15, "a whole number from 0 to 15"),
        ("ALSO", also, isinstance(also, tuple) and all(map(_is_text, also)), "a tuple of names of scores"),
        ("DEFAULT", default, isinstance(default, bool), "True or False"),
    ):
        if not fits:
            raise BadInput(f"{where}: {name} is {value!r}. Allowed: {allowed}.")
    for name in (key, *also):
        taken = name in legal_parameters(()) or name == RESERVED[0] or name.startswith(RESERVED[1:])
        if taken or not name.isidentifier():
            raise BadInput(
                f"{where}: a score cannot be named {name!r}. Allowed: letters, digits and '_', but no parameter's name "
                f"and nothing that begins with {', '.join(RESERVED[1:])}."
            )
    line = doc.strip().partition("\n")[0]
    return Metric(key, direction, (low, high), source, header, place, digits, also, default, line, load, declared)


def _column(key: str) -> dict[str, Any]:
    """Return the defaults of a metric's column: titled by its key, after all columns that have a place."""
    return {"HEADER": key, "PLACE": math.inf, "DIGITS": 3}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
