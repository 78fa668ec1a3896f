"""Which methods of a table can be told apart in a column, and which share a rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mubench_hf.results.aggregate import Group
from mubench_hf.results.columns import COMPUTE, TIMES, WALL, Column
from mubench_hf.results.gap import floor_of, merit_sample
from mubench_hf.results.uncertainty import Interval, Sample
from mubench_hf.runs.cost import SAME_LOAD


@dataclass(frozen=True)
class Standing:
    """How the methods of a table stand in a column.

    Attributes:
        ranks: Rank of each group, in order: one more than the number of methods that are told apart from it, and from
            all that share its rank, as better. ``None`` for one that does not compete.
        floor: How far retrained models of different seeds lie apart; ``None`` for times, and with a single one.
    """

    ranks: tuple[int | None, ...]
    floor: Interval | None

    def is_best(self, place: int) -> bool:
        """Return whether the group at a place is of the best that can be told apart."""
        return self.ranks[place] == 1


def standing(groups: Sequence[Group], column: Column, metric: str | None) -> Standing:
    """Return how methods stand in a column.

    Two methods are told apart if their means, as printed, differ by more than the floor as printed, and the 95 %
    interval of their difference over seeds and rows does not hold 0. All that a chain of pairs which are not told apart
    leads to share a rank, so of two methods within the floor none ever stands before the other.

    Only methods with a score of every seed compete: leaving out seeds that diverged, or that no score could be computed
    of, would flatter a method. Without a floor, and without several seeds, nothing tells methods apart, and none is
    ranked. Processor seconds and their ratios have no floor, and are ranked where all runs are of one machine under
    comparable load; wall seconds are not, since they depend on what else a machine does.

    Args:
        groups: One list of ``aggregate``.
        column: The column.
        metric: The task's metric.
    """
    timed = column in TIMES
    floor = None if timed else _floor(groups, column, metric)
    found = [merit_sample(group, column, metric) if competes(group, column, metric) else None for group in groups]
    places = [place for place, sample in enumerate(found) if sample is not None]
    merits = {place: sample for place, sample in enumerate(found) if sample is not None}
    if timed and not _times_rank(column, [groups[place] for place in places]):
        return Standing((None,) * len(groups), None)
    if (floor is None and not timed) or any(len(sample.values) < 2 for sample in merits.values()):
        return Standing((None,) * len(groups), floor)
    ranks: dict[int, int] = {}
    waiting = sorted(places, key=lambda place: -merits[place].mean)
    while waiting:
        shared = [waiting.pop(0)]
        for one in shared:  # Grows while it is walked through.
            near = [other for other in waiting if not told_apart(merits[one], merits[other], floor, column.digits)]
            shared += near
            waiting = [other for other in waiting if other not in near]
        ranks |= dict.fromkeys(shared, len(ranks) + 1)
    return Standing(tuple(ranks.get(place) for place in range(len(groups))), floor)


def told_apart(one: Sample, other: Sample, floor: Interval | None, digits: int) -> bool:
    """Return whether two methods differ by more than the floor and more than chance.

    Args:
        one: Merits of a method by seed.
        other: Those of another.
        floor: The column's floor; ``None`` for times.
        digits: Digits that the column shows: what a reader can compare is what counts.
    """
    difference = one.minus(other)
    if len(difference.values) < 2:
        return False
    shown = abs(round(one.mean, digits) - round(other.mean, digits))
    if floor is not None and shown <= round(floor.mean, digits) + 0.1 * 10**-digits:
        return False
    return not difference.interval().holds_zero


def better_of(groups: tuple[Group, Group], column: Column, metric: str | None) -> int | None:
    """Return 1 or 2, for the better of two groups in a column; ``None`` if they cannot be told apart."""
    merits = [merit_sample(group, column, metric) for group in groups]
    if merits[0] is None or merits[1] is None:
        return None
    if column in TIMES and not _times_rank(column, groups):
        return None
    floor = None if column in TIMES else _floor(groups, column, metric)
    if (floor is None and column not in TIMES) or not told_apart(merits[0], merits[1], floor, column.digits):
        return None
    return 1 + (merits[1].mean > merits[0].mean)


def competes(group: Group, column: Column, metric: str | None) -> bool:
    """Return whether a group takes part in the comparison of methods."""
    whole = group.score(column.score_key(metric)).count == len(group.seeds)
    return group.is_method and group.status == "ok" and whole


def _floor(groups: Sequence[Group], column: Column, metric: str | None) -> Interval | None:
    """Return the floor by the retrained models that the groups are compared with."""
    retrained = next((group.retrained for group in groups if group.retrained), {})
    return floor_of(retrained, column, metric)[1]


def _times_rank(column: Column, groups: Sequence[Group]) -> bool:
    if column.key == WALL or any(COMPUTE not in group.samples for group in groups):
        return False
    machines = {machine for group in groups for machine in group.made_on}
    busy = [share for group in groups for share in group.busy]
    known = all(share is not None for share in busy)
    return len(machines) == 1 and bool(busy) and known and max(busy) - min(busy) <= SAME_LOAD
