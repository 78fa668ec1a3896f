"""How sure a mean over seeds is: seeds and rows vary, and a few seeds say little about their own spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations

import numpy as np

LEVEL = 0.95
NORMAL = 1.959964
"""Half-width of the normal distribution's 95 %, in standard deviations."""

METHOD = "Student's t over seeds and a bootstrap of the rows, their squared half-widths added"
METHOD_OF_SEEDS = "Student's t over seeds, on these rows alone: their noise was not recorded"


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95 % interval.

    Attributes:
        mean: The mean.
        low: Lower end of the interval; ``None`` with a single seed, which says nothing about seeds.
        high: Upper end.
        rows: Whether the rows' noise is a part of it.
    """

    mean: float
    low: float | None
    high: float | None
    rows: bool

    @property
    def holds_zero(self) -> bool:
        """Whether zero lies in it; if it is not known, it may."""
        return self.low is None or self.high is None or self.low <= 0 <= self.high


@dataclass(frozen=True)
class Sample:
    """A score of several seeds.

    Attributes:
        values: Seed → score.
        draws: Seed → the score with the rows drawn anew, float ``[draws]``; the same rows in the same draw of any run
            of a table. Seeds whose rows' noise was not recorded are left out.
    """

    values: Mapping[int, float]
    draws: Mapping[int, np.ndarray] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(list(self.values.values())))

    def minus(self, other: Sample) -> Sample:
        """Return the differences to another sample, over the seeds that both have."""
        values = {seed: value - other.values[seed] for seed, value in self.values.items() if seed in other.values}
        drawn = {seed: draw for seed, draw in self.draws.items() if seed in values and seed in other.draws}
        draws = {seed: draw - other.draws[seed] for seed, draw in drawn.items() if len(draw) == len(other.draws[seed])}
        return Sample(values, draws)

    def times(self, factor: float) -> Sample:
        """Return the sample with every score multiplied by ``factor``."""
        values = {seed: factor * value for seed, value in self.values.items()}
        return Sample(values, {seed: factor * draw for seed, draw in self.draws.items()})

    def drawn(self) -> np.ndarray | None:
        """Return the draws, float ``[seeds, draws]``, in the order of ``values``; ``None`` if a seed lacks them."""
        found = [self.draws[seed] for seed in self.values if seed in self.draws]
        whole = len(found) == len(self.values) and len({len(draw) for draw in found}) == 1
        return np.stack(found) if whole else None

    def interval(self) -> Interval:
        """Return the mean and its 95 % interval, see ``interval``."""
        return interval(list(self.values.values()), self.drawn())


def interval(values: Sequence[float], draws: np.ndarray | None = None) -> Interval:
    """Return the mean of a score over seeds, and where its expectation lies, over other seeds and other rows.

    Two half-widths are added as squares: Student's t over the seeds, whose spread holds what rows do to each seed by
    itself, and the normal one of what rows do to all seeds alike. That is the bootstrap's variance of the mean, less
    the part that the seeds' spread holds already (the correction of arXiv 0712.1111 for two factors drawn at once).
    ``docs/statistics.md`` says how often it covers the truth.

    Args:
        values: The score of each seed, float ``[seeds]``.
        draws: The same scores with rows drawn anew, float ``[seeds, draws]``: the same rows in every seed. ``None`` if
            they were not recorded; the interval is then of these rows alone.
    """
    found = np.asarray(values, dtype=float)
    count, mean = len(found), float(np.mean(found))
    if count < 2:
        return Interval(mean, None, None, draws is not None)
    squared = t_quantile(count - 1) ** 2 * float(np.var(found, ddof=1)) / count
    return _around(mean, squared + _shared(draws) if draws is not None else squared, draws is not None)


def pairwise(parts: Sequence[Sample]) -> tuple[dict[int, float], Interval | None]:
    """Return how far two seeds' scores lie apart: the mean absolute difference over all pairs of seeds.

    The interval is Student's t over a jackknife of the seeds (each pair shares its seeds with others), with the
    bootstrap of rows as in ``interval``.

    Args:
        parts: One score, or several whose absolute differences are averaged; seeds that any of them lacks are left out.

    Returns:
        Seed → its mean distance from the others, and the mean over all pairs with its interval, which two seeds, one
        pair, do not have; nothing at all below two seeds.
    """
    seeds = [seed for seed in (parts[0].values if parts else ()) if all(seed in part.values for part in parts)]
    if len(seeds) < 2:
        return {}, None
    values = np.array([[part.values[seed] for seed in seeds] for part in parts])[:, :, None]
    far, mean, spread = _distances(values)
    drawn = [Sample({seed: part.values[seed] for seed in seeds}, part.draws).drawn() for part in parts]
    found = [draw for draw in drawn if draw is not None]
    whole = len(found) == len(parts) and len({draw.shape for draw in found}) == 1
    by_seed = dict(zip(seeds, far[:, 0].tolist(), strict=True))
    if len(seeds) == 2:
        return by_seed, Interval(float(mean[0]), None, None, whole)
    squared = t_quantile(len(seeds) - 1) ** 2 * float(spread[0])
    if whole:
        _, means, spreads = _distances(np.stack(found))
        squared += NORMAL**2 * max(float(np.var(means, ddof=1)) - max(float(np.mean(spreads - spread)), 0.0), 0.0)
    return by_seed, _around(float(mean[0]), squared, whole)


def _distances(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each seed's distance from the others, their mean, and its jackknife variance.

    Of float ``[parts, seeds, draws]`` they are ``[seeds, draws]``, ``[draws]`` and ``[draws]``; with two seeds there is
    one pair, and no variance.
    """
    count = values.shape[1]
    pairs = {(a, b): np.abs(values[:, a] - values[:, b]).mean(axis=0) for a, b in combinations(range(count), 2)}
    total = sum(pairs.values())
    of_seed = np.array([sum(gap for pair, gap in pairs.items() if seed in pair) for seed in range(count)])
    mean = total / len(pairs)
    if count == 2:
        return of_seed, mean, np.full_like(mean, np.nan)
    left_out = (total - of_seed) / (len(pairs) - (count - 1))
    spread = (count - 1) / count * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0)
    return of_seed / (count - 1), mean, spread


def _shared(draws: np.ndarray) -> float:
    """Return the squared half-width of what rows do to the mean over seeds, float ``[seeds, draws]``, beyond chance."""
    means, count = draws.mean(axis=0), len(draws)
    within = float(np.var(draws - means, axis=1, ddof=1).sum()) / (count - 1) / count
    return NORMAL**2 * max(float(np.var(means, ddof=1)) - within, 0.0)


def _around(mean: float, squared: float, rows: bool) -> Interval:
    half = squared**0.5
    return Interval(mean, mean - half, mean + half, rows)


@cache
def t_quantile(freedom: int, level: float = LEVEL) -> float:
    """Return the half-width, in standard errors, that holds a share ``level`` of Student's t distribution.

    Args:
        freedom: Degrees of freedom, 1 or more; beyond 1000 those of 1000.
        level: Share, between 0 and 1.
    """
    freedom = min(freedom, 1000)
    # With t = sqrt(freedom) tan(angle), the density is a power of a cosine on a bounded range.
    angle = np.linspace(0, np.pi / 2, 20_001)
    density = np.cos(angle) ** (freedom - 1)
    share = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return float(freedom**0.5 * np.tan(np.interp(level, share / share[-1], angle)))
