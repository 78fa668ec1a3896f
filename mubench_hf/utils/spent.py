"""What work takes: wall seconds, and the seconds that processors worked on it."""

from __future__ import annotations

import os
import time
from typing import NamedTuple


class Spent(NamedTuple):
    """Seconds of a stretch of work.

    Attributes:
        wall: Seconds on the wall.
        cpu: Seconds of processor time, user and system, of this process and of the children that it has waited for;
            ``None`` if a part of the work did not record them.
    """

    wall: float = 0.0
    cpu: float | None = 0.0

    def plus(self, other: Spent) -> Spent:
        """Return the seconds of both."""
        return Spent(self.wall + other.wall, None if self.cpu is None or other.cpu is None else self.cpu + other.cpu)

    def times(self, share: float) -> Spent:
        """Return the seconds of a share of the work."""
        return Spent(self.wall * share, None if self.cpu is None else self.cpu * share)

    def since(self, start: Spent) -> Spent:
        """Return what was spent since ``start``, of two readings of this process."""
        return self.plus(start.times(-1))


def reading() -> Spent:
    """Return what this process has spent, counted from some moment in the past."""
    children = os.times()
    return Spent(time.perf_counter(), time.process_time() + children.children_user + children.children_system)
